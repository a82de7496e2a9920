"""Runs of a project's pipeline as processes of their own, some of them watched and hit by strace."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.environment import clean_environment

WORKERS = 2
PATIENCE_SECONDS = 60.0
TASK = "t"
STAGES = [
    {"id": "prints", "command": "echo one; echo two >&2"},
    {"id": "fails", "command": "echo why >&2; exit 3", "allowFailure": True},
    {"id": "last", "command": "true"},
]
# Calls that change what is on disk; between two of them a death leaves the same files behind.
_CHANGES = {
    "ftruncate",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "unlink",
    "unlinkat",
    "write",
}
_CALL = re.compile(r"^(\w+)\((.*)$")


@dataclass(frozen=True)
class Done:
    """How a run ended; the exit code is minus the signal's number where one ended it."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Call:
    """A system call of a run's main thread that touches the runs or the out folder.

    Attributes:
        name: The call.
        place: Which of the calls of that name that touch the folders it is, from 1.
        number: Which of all calls of that name it is, from 1: strace's ``when``.
        text: What strace printed.
    """

    name: str
    place: int
    number: int
    text: str

    @property
    def changes(self) -> bool:
        """Whether it can change what is on disk."""
        return self.name in _CHANGES or "O_CREAT" in self.text

    def __str__(self) -> str:
        return f"{self.name}/{self.place}"


class Launcher:
    """A process that forks runs, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("launcher.py"))],
            # The order of a set must not decide which call is the n-th.
            env={**clean_environment(), "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, root: Path, *strace: str) -> Done:
        """``start`` in a project, under strace where it is given options, and its end."""
        streams = [root.parent / name for name in ("stdout", "stderr")]
        for stream in streams:
            stream.unlink(missing_ok=True)
        request = {
            "cwd": str(root),
            "words": ["start", "work"],
            "environment": {**clean_environment(), "MCP_RUNNER_TASK_ID": TASK},
            "stdout": str(streams[0]),
            "stderr": str(streams[1]),
            "stopped": bool(strace),
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        pid = int(self._answer("pid"))
        if strace:
            with attached(pid, *strace):
                os.kill(pid, signal.SIGCONT)
        code = int(self._answer("exit"))
        return Done(code, *(stream.read_text(encoding="utf-8", errors="replace") for stream in streams))

    def _answer(self, word: str) -> str:
        said, _, value = self._process.stdout.readline().partition(" ")
        assert said == word, f"the launcher said {said!r} where {word!r} was due"
        return value

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(PATIENCE_SECONDS)
        self._process.stdout.close()


class Pool:
    """Launchers for as many runs at a time as there are workers."""

    def __init__(self) -> None:
        self._made = [Launcher() for _ in range(WORKERS)]
        self._idle: queue.Queue[Launcher] = queue.Queue()
        for launcher in self._made:
            self._idle.put(launcher)

    def start(self, root: Path, *strace: str) -> Done:
        """`Launcher.start` on one that is idle."""
        launcher = self._idle.get(timeout=10 * PATIENCE_SECONDS)
        try:
            return launcher.start(root, *strace)
        finally:
            self._idle.put(launcher)

    def calls(self, root: Path) -> list[Call]:
        """Run, and list the calls on the runs and out folders in their order."""
        log = root.parent / "calls"
        done = self.start(root, "-o", str(log))
        assert done.exit_code == 0, done.stderr
        return list(calls_in(log.read_text(encoding="utf-8"), root))

    def close(self) -> None:
        for launcher in self._made:
            launcher.close()


def calls_in(log: str, root: Path) -> Iterator[Call]:
    """The calls of a strace log that touch a project's runs and out folders."""
    touches = re.compile(re.escape(str(root)) + r'/(?:\.runs|out)[/>"]')
    seen: Counter[str] = Counter()
    touching: Counter[str] = Counter()
    for line in log.splitlines():
        if call := _CALL.match(line):
            seen[call[1]] += 1
            # A folder that is opened on the way to a file is no moment of its own.
            if touches.search(call[2]) and "O_DIRECTORY" not in call[2]:
                touching[call[1]] += 1
                yield Call(call[1], touching[call[1]], seen[call[1]], line)


@contextmanager
def attached(pid: int, *options: str) -> Iterator[None]:
    """Have strace watch the one thread until it ends; what it starts is left alone."""
    # -y names the file of each descriptor; with -s 0 no content can be taken for a path.
    strace = subprocess.Popen(
        ["strace", "-y", "-s", "0", *options, "-p", str(pid)], stderr=subprocess.PIPE, text=True
    )
    said = strace.stderr.readline()
    if "attached" not in said:
        strace.kill()
        os.kill(pid, signal.SIGKILL)
    yield
    _, rest = strace.communicate(timeout=PATIENCE_SECONDS)
    assert "attached" in said, said + rest


@cache
def why_not_traced(*, as_it_is: bool = False) -> str | None:
    """Why strace cannot be attached to a run, or None where it can.

    Args:
        as_it_is: To one that did not ask for it, as those of the launcher do.
    """
    if sys.platform != "linux" or shutil.which("strace") is None:
        return "strace is not installed"
    ask = "" if as_it_is else "from launcher import allow_tracing; allow_tracing();"
    program = f"import sys; {ask} print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as probed:
        probed.stdout.readline()
        strace = subprocess.Popen(
            ["strace", "-o", os.devnull, "-p", str(probed.pid)], stderr=subprocess.PIPE, text=True
        )
        said = strace.stderr.readline()
        probed.stdin.close()
        strace.communicate(timeout=PATIENCE_SECONDS)
    return None if "attached" in said else f"strace may not trace: {said.strip()}"


def side_by_side(work: Callable, items: Iterable) -> list:
    """The answers for all items, `WORKERS` at a time."""
    with ThreadPoolExecutor(WORKERS) as workers:
        return list(workers.map(work, items))
