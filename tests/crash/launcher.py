"""Runs `start` again and again, each time in a fork of this process, which has loaded everything.

Read by `tests.crash.processes`: a request is a line of JSON on stdin; answered are ``pid N``, once the fork
stands still before its first step if that was asked for, and ``exit N``, negative for a signal.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback

from codex_orchestrator.cli import main


def load() -> None:
    """Import what a run imports, so that no fork does it anew; a run that needs nothing loads the rest."""
    import filelock  # noqa: F401

    import codex_orchestrator.cli.start  # noqa: F401
    import pytest_codex.session  # noqa: F401


def allow_tracing() -> None:
    """Let strace attach though it is no ancestor of ours, where the kernel (Yama) is strict about that."""
    if sys.platform == "linux":
        set_ptracer, anybody = 0x59616D61, ctypes.c_ulong(-1)
        ctypes.CDLL(None).prctl(set_ptracer, anybody, 0, 0, 0)


def child(request: dict) -> int:
    """One run, as ``python -m codex_orchestrator`` would do it from here on."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, path in enumerate(("/dev/null", request["stdout"], request["stderr"])):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    if request["stopped"]:
        allow_tracing()
        os.kill(os.getpid(), signal.SIGSTOP)
    try:
        code = main(request["words"])
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 (what the interpreter would do; the loop below is not the fork's)
        traceback.print_exc()
        code = 1
    return code


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(child(request))
        if request["stopped"]:
            os.waitpid(pid, os.WUNTRACED)
        print(f"pid {pid}", flush=True)
        print(f"exit {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}", flush=True)


if __name__ == "__main__":
    load()
    serve()
