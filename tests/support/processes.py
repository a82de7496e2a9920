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
