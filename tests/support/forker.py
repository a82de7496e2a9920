"""Runs ``python -m MODULE`` again and again, each time in a fork of this process, which has imported it all.

Started by `tests.support.commands`, with a socket as standard input. It says once which modules it has. A
request is a message with the command and four descriptors: its three streams, and one that the answers
go to: the process id at once, and in the end the exit code, negative for a signal.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import io
import json
import os
import runpy
import select
import socket
import sys
import tempfile
import termios
import threading
from pathlib import Path
from typing import NoReturn

_LONGEST = 1 << 20


def load() -> None:
    """Import what commands and sessions do; what pytest imports for itself, by a session without tests."""
    import pytest

    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        Path("pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        pytest.main(["-q", "-p", "no:cacheprovider"])

    import filelock

    import codex_orchestrator
    import pytest_codex

    filelock.FileLock  # noqa: B018 (it imports the rest when it is asked for)
    for package in (codex_orchestrator, pytest_codex):
        root = Path(package.__file__).parent
        for path in sorted(root.rglob("*.py")):
            name = ".".join([package.__name__, *path.relative_to(root).with_suffix("").parts])
            if "templates" not in path.parts and path.stem not in ("__init__", "__main__"):
                # Where an extra is not installed, what needs it is imported by no command either.
                with contextlib.suppress(ModuleNotFoundError):
                    __import__(name)


def serve(requests: socket.socket) -> dict | None:
    """Fork for each request. In a fork, this is what it has to do; None where there are no more requests."""
    running: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in running:
                poll.unregister(descriptor)
                pid, answers = running.pop(descriptor)
                os.close(descriptor)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                # Who asked may be gone.
                with contextlib.suppress(OSError), answers:
                    answers.send(str(code).encode())
                continue
            message, descriptors, _, _ = socket.recv_fds(requests, _LONGEST, 4)
            if not message:
                return None
            request = json.loads(message)
            *streams, answering = descriptors
            pid = os.fork()
            if pid == 0:
                for other, (_, answers) in running.items():
                    os.close(other)
                    answers.close()
                os.close(answering)
                requests.close()
                become(request, streams)
                return request
            for stream in streams:
                os.close(stream)
            if request["leads"] == "group":
                with contextlib.suppress(OSError):
                    os.setpgid(pid, pid)
            answers = socket.socket(fileno=answering)
            answers.send(str(pid).encode())
            watched = os.pidfd_open(pid)
            running[watched] = (pid, answers)
            poll.register(watched, select.POLLIN)


def become(request: dict, streams: list[int]) -> None:
    """Be what a new interpreter would be before its first line."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if request["leads"] == "group":
        os.setpgid(0, 0)
    elif request["leads"] == "session":
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    further = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[0:0] = [str(Path.cwd()), *(str(Path.cwd() / path) for path in further)]
    sys.argv[1:] = request["words"]
    if not request["syncs"]:
        # Nobody cuts the power here: what is on the disk when, tests/crash shows.
        os.fsync = lambda _descriptor: None


def act(request: dict) -> NoReturn:
    """Run a module, and end as an interpreter does, but for taking apart all that was imported before it.

    That alone is half of what a short command costs.
    """
    code: object = 0
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:  # noqa: BLE001 (what an interpreter does with it)
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    listening = socket.socket(fileno=os.dup(0))
    # The folder of this file; a command has its own in this place.
    del sys.path[0]
    load()
    listening.send(" ".join({name.partition(".")[0] for name in sys.modules}).encode())
    gc.collect()
    gc.freeze()
    if asked := serve(listening):
        act(asked)
