"""Processes that tests wait for, look at and end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

DEADLINE_SECONDS = 60.0


def until(condition: Callable[[], object], what: str) -> object:
    """The condition's first true answer; what it waits for takes as long as the machine needs."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.01)
    pytest.fail(f"waited in vain: {what}")


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def processes_in(folder: Path) -> list[int]:
    """The processes that work in a folder or below it, whatever else they are, but for the tests' own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        pid = int(path.parent.name)
        with suppress(OSError):
            if pid != os.getpid() and path.readlink().is_relative_to(folder) and is_alive(pid):
                found.append(pid)
    return found


def parent_of(pid: int) -> int:
    """A process's parent."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return int(stat.rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text().split())
    return [child for child in found if is_alive(child)]


def all_gone(folder: Path) -> None:
    """Wait until no process works in a folder or below it."""
    until(lambda: not processes_in(folder), "the end of all processes")


def leaving(name: str) -> str:
    """A Python program that leaves a process behind, and ends once that has its name: an expression."""
    # The pipe ends with the exec.
    become = (
        "import os, sys; os.set_inheritable(int(sys.argv[2]), False); "
        "os.execv('/bin/sleep', [sys.argv[1], '600'])"
    )
    return f"""
import os, subprocess, sys
ours, theirs = os.pipe()
words = [sys.executable, "-c", {become!r}, {name}, str(theirs)]
subprocess.Popen(words, pass_fds=[theirs])
os.close(theirs)
os.read(ours, 1)
"""
