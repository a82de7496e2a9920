"""Many runs of one task at once, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import commands
from tests.support.environment import clean_environment

from .processes import TASK

DEADLINE_SECONDS = 600.0
# Says that it is up and waits for a line of its own. The shell reads byte by byte: nobody takes another's.
GATE = ": > up/$$; read _ < gate"


class Crowd:
    """Runs that are all there before the first may end, in a project whose only stage is `GATE`."""

    def __init__(self, root: Path, count: int) -> None:
        (root / "up").mkdir()
        os.mkfifo(root / "gate")
        self._up = root / "up"
        self._stderr = root.parent / "stderr"
        self._stderr.mkdir(exist_ok=True)
        # Read and write, so that opening waits for nobody, and what is written stays until it is read.
        self._gate = os.open(root / "gate", os.O_RDWR)
        self._processes = [self._start(root, number) for number in range(count)]

    def _start(self, root: Path, number: int) -> commands.Forked | subprocess.Popen[str]:
        with (self._stderr / str(number)).open("wb") as stderr:
            return commands.begin(
                "codex_orchestrator",
                ["start", "work"],
                cwd=root,
                env={**clean_environment(), "MCP_RUNNER_TASK_ID": TASK},
                syncs=True,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def let_go(self) -> None:
        """Wait until all are at the gate, and open it for all at once."""
        count = len(self._processes)
        patiently(lambda: len(list(self._up.iterdir())) == count, "all runs at the gate", self._processes)
        os.write(self._gate, b"\n" * count)

    def failed(self) -> list[str]:
        """What those that did not exit with 0 said; waits for the end of all."""
        codes = [process.wait(DEADLINE_SECONDS) for process in self._processes]
        return [(self._stderr / str(number)).read_text() for number, code in enumerate(codes) if code]

    def end(self) -> None:
        """End whatever is left."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait(DEADLINE_SECONDS)
        # Stages of runs that were killed read the end of the file now.
        os.close(self._gate)


@contextmanager
def crowd(root: Path, count: int) -> Iterator[Crowd]:
    """A `Crowd` that is gone after the block."""
    made = Crowd(root, count)
    try:
        yield made
    finally:
        made.end()


def patiently(condition: Callable[[], bool], what: str, processes: Sequence[subprocess.Popen] = ()) -> None:
    """Wait for a condition as long as a busy machine may need, or until one of the processes fails."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline or any(process.poll() for process in processes):
            pytest.fail(f"waited in vain: {what}")
        time.sleep(0.02)
