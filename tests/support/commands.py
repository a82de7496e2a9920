"""``python -m MODULE WORD…`` as a process of its own.

An interpreter takes longer to import what a command needs than the command does to run. So most of these are
forks of a process that has imported it all (`tests/support/forker.py`). All else is their own: folder,
environment, streams, id, signals, exit. What an interpreter has to read before its first line gets a new one.
"""

from __future__ import annotations

import atexit
import io
import json
import locale
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from .environment import clean_environment

SECONDS = 100.0
# A message has to fit into the socket's buffer.
_LONGEST = 100_000
# Read by an interpreter before its first line.
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LOCPATH", "COVERAGE_")
# By which a run knows its processes in /proc, where a fork has the environment of the forker.
_MARK = "CODEX_ORCHESTRATOR_RUN_ID"

_TAKE_TERMINAL = """import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def run(
    module: str,
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    together: bool = False,
    fresh: bool = False,
    **options,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Args:
        module: Whose ``__main__`` to run.
        words: Its arguments.
        cwd: Its folder.
        env: All of its environment.
        together: Whether stderr goes where stdout does, as on a terminal.
        fresh: Whether it has to be a new interpreter, which has imported nothing.
        options: More for `subprocess.run`, which then runs a new interpreter.
    """
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT if together else subprocess.PIPE}
    if fresh or options:
        given = {"text": True, "timeout": SECONDS, **streams, **options}
        return subprocess.run(_command(module, words), cwd=cwd, env=env, check=False, **given)
    process = begin(module, words, cwd=cwd, env=env, **streams)
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def begin(
    module: str,
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    leads: str = "",
    syncs: bool = False,
    **streams,
) -> Forked | subprocess.Popen[str]:
    """Start a command.

    Args:
        syncs: Whether it waits until what it wrote is on the disk.
        leads: ``group``, where it is to lead a process group.
        streams: ``stdout`` and ``stderr``, as `subprocess.Popen` takes them.
    """
    command = _command(module, words)
    forker = _forker()
    if forker and forker.can_run(command, Path(cwd), env):
        return forker.begin(command, cwd, env, leads=leads, syncs=syncs, **streams)
    group = {"process_group": 0} if leads else {}
    return subprocess.Popen(command, cwd=cwd, env=env, text=True, **group, **streams)


def begin_on_terminal(
    command: list[str], *, cwd: Path, env: Mapping[str, str], terminal: int
) -> Forked | subprocess.Popen[bytes]:
    """Start a command that leads a session on a terminal, whose inner end is given; any command will do."""
    forker = _forker()
    ours = command[:2] == [sys.executable, "-m"]
    if ours and forker and forker.can_run(command, Path(cwd), env):
        return forker.begin(
            command, cwd, env, leads="session", stdin=terminal, stdout=terminal, stderr=terminal
        )
    return subprocess.Popen(
        [sys.executable, "-c", _TAKE_TERMINAL, *command],
        cwd=cwd,
        env=env,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )


def _command(module: str, words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", module, *map(os.fsdecode, words)]


class Forked:
    """A process as `subprocess.Popen` has it."""

    def __init__(self, args: list[str], answers: socket.socket, pipes: Sequence[int | None]) -> None:
        self.args = args
        self.returncode: int | None = None
        self._answers = answers
        self._pipes = pipes
        self.pid = int(answers.recv(20))

    def poll(self) -> int | None:
        """How it ended, or None where it goes on."""
        if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            self._take_end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and tell how it ended."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self._take_end()
        return self.returncode

    def _take_end(self) -> None:
        self.returncode = int(self._answers.recv(20))
        self._answers.close()

    def send_signal(self, number: int) -> None:
        """Send a signal, if it goes on."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str | None, str | None]:
        """What it wrote to pipes; waits until nobody can write to them any more, and for its end."""
        deadline = time.monotonic() + timeout
        gathered = {pipe: b"" for pipe in self._pipes if pipe is not None}
        poll = select.poll()
        for pipe in gathered:
            poll.register(pipe, select.POLLIN)
        still = set(gathered)
        while still:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(self.args, timeout)
            for pipe, _ in poll.poll(left * 1000):
                some = os.read(pipe, 1 << 16)
                gathered[pipe] += some
                if not some:
                    poll.unregister(pipe)
                    os.close(pipe)
                    still.remove(pipe)
        out, err = (None if pipe is None else _text(gathered[pipe]) for pipe in self._pipes)
        self._pipes = (None, None)
        self.wait(max(0.0, deadline - time.monotonic()))
        return out, err


class Forker:
    """The process that has imported everything."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._environment = clean_environment()
        program = Path(__file__).with_name("forker.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program)],
            # No project: tests look for processes that work in theirs.
            cwd="/",
            env=self._environment,
            stdin=theirs,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        self._modules = self._requests.recv(_LONGEST).decode().split()
        assert self._modules, "the forker has not started"
        atexit.register(self._close)

    def can_run(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> bool:
        """Whether a fork does what a new interpreter would do."""
        folders = [cwd, *(cwd / path for path in env.get("PYTHONPATH", "").split(os.pathsep))]
        return (
            _read_at_start(env) == _read_at_start(self._environment)
            and _MARK not in env
            and len(json.dumps([command, dict(env)])) < _LONGEST
            and not any(self._is_shadowed_by(folder) for folder in folders)
        )

    def _is_shadowed_by(self, folder: Path) -> bool:
        """Whether a folder has modules that would be imported in place of those that the forker has."""
        paths = list(folder.iterdir()) if folder.is_dir() else []
        found = {path.stem for path in paths if path.suffix == ".py" or (path / "__init__.py").exists()}
        return not found.isdisjoint([*self._modules, "sitecustomize", "usercustomize"])

    def begin(
        self,
        command: list[str],
        cwd: Path,
        env: Mapping[str, str],
        *,
        leads: str,
        syncs: bool = False,
        stdout,
        stderr,
        stdin=subprocess.DEVNULL,
    ) -> Forked:
        """Fork."""
        _, _, module, *words = command
        request = {
            "module": module,
            "words": words,
            "cwd": str(cwd),
            "environment": dict(env),
            "leads": leads,
            "syncs": syncs,
        }
        out, to_out = _stream(stdout)
        err, to_err = (None, os.dup(to_out)) if stderr == subprocess.STDOUT else _stream(stderr)
        answers, answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        given = os.open(os.devnull, os.O_RDONLY) if stdin == subprocess.DEVNULL else os.dup(stdin)
        handed = [given, to_out, to_err, answering.detach()]
        socket.send_fds(self._requests, [json.dumps(request).encode()], handed)
        for descriptor in handed:
            os.close(descriptor)
        return Forked(command, answers, (out, err))

    def _close(self) -> None:
        self._requests.close()
        self._process.wait()


def _stream(given) -> tuple[int | None, int]:
    """The end of a stream that is read here, if any, and the one that is written to."""
    if given == subprocess.PIPE:
        return os.pipe()
    if given == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    return None, os.dup(given if isinstance(given, int) else given.fileno())


def _text(written: bytes) -> str:
    decoded = written.decode(locale.getencoding())
    return io.IncrementalNewlineDecoder(None, translate=True).decode(decoded, final=True)


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    """What of an environment a fork cannot follow; the search path it can."""
    return {
        name: value for name, value in env.items() if name.startswith(_READ_AT_START) and name != "PYTHONPATH"
    }


_MAKING = threading.Lock()


def _forker() -> Forker | None:
    """The one of these tests; None where a system cannot wait for several processes at once."""
    with _MAKING:
        return _made()


@cache
def _made() -> Forker | None:
    return Forker() if hasattr(os, "pidfd_open") else None
