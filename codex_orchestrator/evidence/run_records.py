"""The records of a finished run in its task's files: queued first, merged when the locks are free."""

from __future__ import annotations

from collections.abc import Callable

from codex_orchestrator import places
from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence.coordinator import mark_recorded
from codex_orchestrator.evidence.drift import DriftReporter
from codex_orchestrator.evidence.journal import Journal
from codex_orchestrator.evidence.metrics import MetricsRecorder
from codex_orchestrator.evidence.pending_records import record_name
from codex_orchestrator.evidence.state import TaskStateStore
from codex_orchestrator.model.control_plane import ControlPlane, Drift
from codex_orchestrator.model.manifest import MetricsLine
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.reviewer import RunSummary

# A manifest is not kept waiting for the drift report any longer.
_BRIEF_SECONDS = 1.0


@dataclass(frozen=True)
class RecordsResult:
    """Whether the run's metrics line was merged, and a warning for each thing that failed."""

    recorded: bool
    warnings: tuple[str, ...]


class RunRecords:
    """Queues the records of one run, and merges them into the task's shared files."""

    def __init__(self, layout: RunLayout, clock: Clock, mark: Callable[[], None]) -> None:
        """Nothing is touched yet.

        Args:
            layout: The run.
            clock: Time.
            mark: Sets ``metrics_recorded`` in this run's own manifest, before its pending record goes.
        """
        self._layout = layout
        self._clock = clock
        self._mark_own = mark
        self._queued = False
        self._name = layout.run_id
        self._metrics = MetricsRecorder(layout.task, clock)
        self._state = TaskStateStore(layout.task)
        self._drift = DriftReporter(layout.task)
        self._is_sampled = True

    def sample(self, found: ControlPlane, attempts: int) -> tuple[Drift | None, list[str]]:
        """Count how the run's request was found, at the latest when the other records are merged.

        Args:
            found: How.
            attempts: How often the run was started.

        Returns:
            The report as it is then, None where there is none; and what could not be left.
        """
        name = self._name = record_name(self._layout.run_id, attempts)
        now = timestamp(self._clock.now())
        warnings = _unqueued(self._drift, name, lambda: self._drift.queue(found, attempts, recorded_at=now))
        # What goes wrong is told if it does so again.
        wrong = _unmerged("", lambda: self._drift.merge(name, _known, patience_seconds=_BRIEF_SECONDS))
        self._is_sampled = not wrong
        return self._drift.read(), warnings

    def queue(self, line: MetricsLine, summary: RunSummary) -> list[str]:
        """Write both records as pending files; returns a warning for each that could not be written."""
        name = self._name = record_name(self._layout.run_id, line.attempts)
        warnings = [
            *_unqueued(self._metrics, name, lambda: self._metrics.queue(line)),
            *_unqueued(self._state, name, lambda: self._state.queue(summary, line.attempts)),
        ]
        self._queued = self._metrics.is_queued(name)
        return warnings

    def merge(self) -> RecordsResult:
        """Merge all pending records of the task, this run's among them."""
        name = self._name
        warnings = [
            *_unmerged("Metrics", lambda: self._metrics.merge(name, self._settle)),
            *_unmerged("State", lambda: self._state.merge(name, _known)),
            *_unmerged("Drift report", self._sample_again),
        ]
        for journal in (self._metrics, self._state, self._drift):
            warnings.extend(journal.notices)
        recorded = self._queued and not self._metrics.is_queued(name)
        return RecordsResult(recorded, tuple(warnings))

    @property
    def is_queued(self) -> bool:
        """Whether one of its records is not merged yet."""
        return any(journal.is_queued(self._name) for journal in (self._metrics, self._state, self._drift))

    def acknowledge(self) -> None:
        """Note that the run's manifest has ``metrics_recorded`` set.

        Raises:
            StorageError: The disk refused; the next merger does it then.
        """
        self._metrics.forget(self._name)

    def retry_merge(self) -> None:
        """Merge what is still queued, once the run's own lock was released: other locks may be free now.

        Raises:
            StorageError: Something could not be written; nothing is lost by it.
        """
        merge_queued(self._layout.task, self._clock)
        if self._metrics.is_merged(self._name) and mark_recorded(self._layout):
            self._metrics.forget(self._name)

    def _sample_again(self) -> bool:
        if self._is_sampled or self._drift.is_queued(self._name):
            return self._drift.merge(self._name, _known)
        # The sample is in, but the report was refused. If somebody else has the lock, they make it.
        self._drift.merge_now(_known)
        return True

    def _settle(self, run_id: str) -> bool:
        if run_id != self._layout.run_id:
            return mark_recorded(self._layout.task.run(run_id))
        # This run's own manifest has one writer, the coordinator.
        self._mark_own()
        return True


def _known(_run_id: str) -> bool:
    return True


def merge_queued(task: TaskLayout, clock: Clock, tell: Callable[[str], object] = _known) -> bool:
    """Merge the queued records of a task if the locks are free at once; returns whether they were.

    Args:
        task: The task.
        clock: Time.
        tell: Called with a message for each file that is no record.

    Raises:
        StorageError: Something could not be written; nothing is lost by it.
    """
    metrics, state, drift = MetricsRecorder(task, clock), TaskStateStore(task), DriftReporter(task)
    merged = [
        metrics.merge_now(lambda run_id: mark_recorded(task.run(run_id))),
        state.merge_now(_known),
    ]
    # Runs of other tools leave none.
    if places.has_folder(task.drift_pending, below=task.environment.out_dir):
        merged.append(drift.merge_now(_known))
    if places.has_folder(task.seals_pending, below=task.environment.out_dir):
        from codex_orchestrator.evidence.sealing import merge_seals

        merged.append(merge_seals(task, clock))
    for notice in (*metrics.notices, *state.notices, *drift.notices):
        tell(notice)
    return all(merged)


def _unqueued(journal: Journal, name: str, queue: Callable[[], None]) -> list[str]:
    try:
        queue()
    except StorageError as error:
        # The last step only makes sure of it: what is there counts, unless the power fails now.
        doubt = "Record perhaps not durable" if journal.is_queued(name) else "Record not queued"
        return [f"{doubt}: {error.message}"]
    return []


def _unmerged(name: str, merge: Callable[[], bool]) -> list[str]:
    try:
        merged = merge()
    except StorageError as error:
        return [f"{name} not merged yet, the record is queued: {error.message}"]
    return [] if merged else [f"{name} not merged yet, the record is queued: another run holds the lock."]
