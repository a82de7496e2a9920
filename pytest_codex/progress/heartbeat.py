"""A line now and then for each stage that runs, so that nobody takes it for dead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from codex_orchestrator.clock import Clock
from pytest_codex.progress.board import Board, Stage, stages_of

# CI services end jobs that are silent; nobody should have to wait for half a minute.
LIMIT_SECONDS = 29.5


class Silences:
    """Knows how long ago each stage was last spoken of; pure but for what it is told."""

    def __init__(self, limit: float) -> None:
        """Nothing was said yet.

        Args:
            limit: How long a stage may be silent, in seconds.
        """
        self._limit = limit
        self._said: dict[str, float] = {}

    def said(self, nodeid: str, now: float) -> None:
        """A line about a stage has been printed."""
        self._said[nodeid] = now

    def due(self, running: Iterable[Stage], now: float) -> tuple[list[Stage], float]:
        """The stages to speak of now, which counts as said, and after how many seconds to ask again."""
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
    """A thread that speaks of stages that are silent."""

    def __init__(
        self, board: Board, clock: Clock, say: Callable[[Stage, float], None], limit: float = LIMIT_SECONDS
    ) -> None:
        """Nothing happens before `start`.

        Args:
            board: The stages.
            clock: Time.
            say: Called in the thread, with a stage and the time.
            limit: How long a stage may be silent, in seconds.
        """
        self._board = board
        self._clock = clock
        self._say = say
        self._limit = limit
        self._silences = Silences(limit)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def said(self, nodeid: str) -> None:
        """A line about a stage has been printed."""
        self._silences.said(nodeid, self._clock.monotonic())

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="codex-progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Nothing is said after this."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        wait = self._limit
        while not self._over.wait(wait):
            now = self._clock.monotonic()
            due, wait = self._silences.due(stages_of(self._board.stages, "running"), now)
            for stage in due:
                self._say(stage, now)
