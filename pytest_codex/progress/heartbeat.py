"""Prints a line for each stage that has been silent for half a minute, so that CI does not end the job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from codex_orchestrator.clock import Clock
from pytest_codex.progress.board import Board, StageProgress, stages_of

# CI services end jobs that are silent; nobody should have to wait for half a minute.
LIMIT_SECONDS = 29.5


class SilenceTracker:
    """Knows when a line about each stage was last printed; the caller passes the time in."""

    def __init__(self, limit: float) -> None:
        """Begin without any line printed.

        Args:
            limit: How long a stage may be silent, in seconds.
        """
        self._limit = limit
        self._said: dict[str, float] = {}

    def said(self, nodeid: str, now: float) -> None:
        """A line about a stage has been printed."""
        self._said[nodeid] = now

    def due(self, running: Iterable[StageProgress], now: float) -> tuple[list[StageProgress], float]:
        """The stages that a line is due for, marked as printed, and in how many seconds to ask again."""
        due, wait = [], self._limit
        for stage in running:
            last = max(self._said.get(stage.nodeid, 0.0), stage.since or 0.0)
            if now - last >= self._limit:
                due.append(stage)
                self._said[stage.nodeid] = now
            else:
                wait = min(wait, self._limit - (now - last))
        return due, wait


class Heartbeat:
    """The thread that prints lines for silent stages."""

    def __init__(
        self,
        board: Board,
        clock: Clock,
        say: Callable[[StageProgress, float], None],
        limit: float = LIMIT_SECONDS,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            board: The stages.
            clock: Time.
            say: Prints a line; called in the thread, with a stage and the time.
            limit: How long a stage may be silent, in seconds.
        """
        self._board = board
        self._clock = clock
        self._say = say
        self._limit = limit
        self._tracker = SilenceTracker(limit)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def said(self, nodeid: str) -> None:
        """A line about a stage has been printed."""
        self._tracker.said(nodeid, self._clock.monotonic())

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="codex-progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; nothing is printed after this."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        wait = self._limit
        while not self._over.wait(wait):
            now = self._clock.monotonic()
            due, wait = self._tracker.due(stages_of(self._board.stages, "running"), now)
            for stage in due:
                self._say(stage, now)
