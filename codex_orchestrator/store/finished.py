"""A finished run's two records: queued first, merged when the locks can be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codex_orchestrator.clock import Clock
from codex_orchestrator.errors import StorageError
from codex_orchestrator.run.layout import RunLayout
from codex_orchestrator.run.reviewer import RunSummary
from codex_orchestrator.run.shapes import MetricsLine

from .coordinator import mark_recorded
from .metrics import MetricsRecorder
from .state import TaskStateStore


@dataclass(frozen=True)
class Recording:
    """Whether the run's metrics line is in, and what went wrong."""

    recorded: bool
    warnings: tuple[str, ...]


class FinishedRun:
    """Brings one run's records to the task's shared files."""

    def __init__(self, layout: RunLayout, clock: Clock, mark: Callable[[], None]) -> None:
        """Nothing is touched yet.

        Args:
            layout: The run.
            clock: Time.
            mark: Sets ``metrics_recorded`` in this run's own manifest, before its pending record goes.
        """
        self._layout = layout
        self._mark_own = mark
        self._queued = False
        self._metrics = MetricsRecorder(layout.task, clock)
        self._state = TaskStateStore(layout.task)

    def queue(self, line: MetricsLine, summary: RunSummary) -> list[str]:
        """Leave both records as pending files, and say what could not be left."""
        warnings = []
        try:
            self._metrics.queue(line)
            self._queued = True
        except StorageError as error:
            warnings.append(f"Record not queued: {error.message}")
        try:
            self._state.queue(summary)
        except StorageError as error:
            warnings.append(f"Record not queued: {error.message}")
        return warnings

    def merge(self) -> Recording:
        """Merge all pending records of the task, this run's among them."""
        warnings = [
            *self._merged("Metrics", self._metrics.merge, self._mark),
            *self._merged("State", self._state.merge, lambda _: None),
        ]
        recorded = self._queued and not self._metrics.is_queued(self._layout.run_id)
        return Recording(recorded, tuple(warnings))

    def _merged(
        self, name: str, merge: Callable[[Callable[[str], None]], bool], merged: Callable[[str], None]
    ) -> list[str]:
        try:
            held = merge(merged)
        except StorageError as error:
            return [f"{name} not merged yet, the record is queued: {error.message}"]
        return [] if held else [f"{name} not merged yet, the record is queued: another run holds the lock."]

    def _mark(self, run_id: str) -> None:
        # This run's own manifest has one writer, the coordinator.
        if run_id == self._layout.run_id:
            self._mark_own()
        else:
            mark_recorded(self._layout.task.run(run_id).manifest)
