"""The journal of a task: records of finished runs, taken up into three aggregates under one lock.

A run leaves a line for the metrics and its summary, which holds how its request was found. Whoever has the
lock takes up all that wait, in one pass (docs/reference/files.md, "Metrics and state").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from codex_orchestrator import places
from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence.coordinator import mark_recorded
from codex_orchestrator.evidence.drift import DriftReporter
from codex_orchestrator.evidence.ledger import Ledger, Settle
from codex_orchestrator.evidence.locks import held_lock
from codex_orchestrator.evidence.metrics import MetricsRecorder
from codex_orchestrator.evidence.pending_records import record_name
from codex_orchestrator.evidence.state import TaskStateStore
from codex_orchestrator.model.control_plane import ControlPlane, Drift
from codex_orchestrator.model.manifest import MetricsLine
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.reviewer import RunSummary

_PATIENCE_SECONDS = 10.0
_LOOKS = 3


class Journal:
    """The records of a task's runs.

    Attributes:
        metrics: A line per run, and what they add up to.
        history: A summary per run, and the latest of them.
        drift: How each run's request was found, and the report.
    """

    def __init__(self, task: TaskLayout, clock: Clock) -> None:
        """Nothing is touched yet."""
        self._lock = partial(held_lock, task.journal_lock, below=task.environment.runs_dir)
        self.metrics = MetricsRecorder(task, clock)
        self.history = TaskStateStore(task)
        self.drift = DriftReporter(task)

    @property
    def notices(self) -> list[str]:
        """A message for each pending file that is no record, and was left alone."""
        return [notice for ledger in self._ledgers for notice in ledger.notices]

    def is_queued(self, name: str) -> bool:
        """Whether a record of a run is not merged yet."""
        return any(ledger.is_queued(name) for ledger in self._ledgers)

    def report_with(self, found: ControlPlane, attempts: int) -> Drift:
        """The drift report with a run that is about to end, and with all that wait; nothing is written.

        Raises:
            StorageError: What is there cannot be read.
        """
        return self.drift.report_with(found, attempts, self.drift.waiting_beside(self.history.waiting()))

    def merge(self, name: str, settle: Settle, *, patience_seconds: float = _PATIENCE_SECONDS) -> bool:
        """Merge all pending records, or find that another process has merged this run's.

        Args:
            name: The record on whose behalf this is done.
            settle: Called with the id of each merged run; whether that run knows of it, so that its
                pending file may go.
            patience_seconds: How long to try for the lock.

        Returns:
            False where the record still waits, as the lock could not be had.

        Raises:
            StorageError: Something could not be written; nothing is lost by it.
        """
        if not self.is_queued(name):
            return True
        with self._lock(patience_seconds=patience_seconds, unless=lambda: not self.is_queued(name)) as held:
            if held:
                self._merge_locked(settle)
        if held and self._is_anything_waiting():
            self.merge_now(settle)
        return held or not self.is_queued(name)

    def merge_now(self, settle: Settle) -> bool:
        """Merge all pending records if the lock is free at once; returns whether it was.

        Raises:
            StorageError: Something could not be written; nothing is lost by it.
        """
        merged = False
        for _ in range(_LOOKS):
            with self._lock() as held:
                if not held:
                    break
                self._merge_locked(settle)
                merged = True
            # A run may have queued while the lock was held, and found it taken for the last time.
            if not self._is_anything_waiting():
                break
        return merged

    def _merge_locked(self, settle: Settle) -> None:
        try:
            self.metrics.take_up(self.metrics.waiting(), settle)
        except StorageError:
            # They may be in another place, where all is well.
            self._take_up_summaries()
            raise
        self._take_up_summaries()

    def _take_up_summaries(self) -> None:
        summaries = self.history.waiting()
        # First, as a summary's pending file is its sample's, too.
        self.drift.take_up(self.drift.waiting_beside(summaries), _known)
        self.history.take_up(summaries, _known)

    def _is_anything_waiting(self) -> bool:
        return any(ledger.waiting() for ledger in self._ledgers)

    @property
    def _ledgers(self) -> tuple[Ledger, ...]:
        return self.metrics, self.history, self.drift


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
        self._journal = Journal(layout.task, clock)

    def report_with(self, found: ControlPlane, attempts: int) -> Drift | None:
        """The drift report with this run in it, as it will be when its records are merged.

        Args:
            found: How the run's request was found.
            attempts: How often the run was started.

        Returns:
            None where it cannot be read; merging then says why.
        """
        try:
            return self._journal.report_with(found, attempts)
        except StorageError:
            return None

    def queue(self, line: MetricsLine, summary: RunSummary) -> list[str]:
        """Write both records as pending files; returns a warning for each that could not be written."""
        name = self._name = record_name(self._layout.run_id, line.attempts)
        metrics, history = self._journal.metrics, self._journal.history
        doubts = _unqueued(metrics, name, lambda: metrics.queue(line))
        # One that is there no more by now was merged by another run.
        self._queued = not doubts or metrics.is_queued(name)
        return [*doubts, *_unqueued(history, name, lambda: history.queue(summary, line.attempts))]

    def merge(self) -> RecordsResult:
        """Merge all pending records of the task, this run's among them."""
        problem = None
        try:
            if not self._journal.merge(self._name, self._settle):
                problem = "another run holds the lock."
        except StorageError as error:
            problem = error.message
        warnings = [f"Records not merged yet, they stay queued: {problem}"] if problem else []
        warnings.extend(self._journal.notices)
        recorded = self._queued and not self._journal.metrics.is_queued(self._name)
        return RecordsResult(recorded, tuple(warnings))

    @property
    def is_queued(self) -> bool:
        """Whether one of its records is not merged yet."""
        return self._journal.is_queued(self._name)

    def acknowledge(self) -> None:
        """Note that the run's manifest has ``metrics_recorded`` set.

        Raises:
            StorageError: The disk refused; the next merger does it then.
        """
        self._journal.metrics.forget(self._name)

    def retry_merge(self) -> None:
        """Merge what is still queued, once the run's own lock was released: other locks may be free now.

        Raises:
            StorageError: Something could not be written; nothing is lost by it.
        """
        merge_queued(self._layout.task, self._clock)
        if self._journal.metrics.is_merged(self._name) and mark_recorded(self._layout):
            self._journal.metrics.forget(self._name)

    def _settle(self, run_id: str) -> bool:
        if run_id != self._layout.run_id:
            return mark_recorded(self._layout.task.run(run_id))
        # This run's own manifest has one writer, the coordinator.
        self._mark_own()
        return True


def merge_queued(task: TaskLayout, clock: Clock, tell: Callable[[str], object] = str) -> bool:
    """Merge the queued records of a task if the lock is free at once; returns whether it was.

    Args:
        task: The task.
        clock: Time.
        tell: Called with a message for each file that is no record.

    Raises:
        StorageError: Something could not be written; nothing is lost by it.
    """
    journal = Journal(task, clock)
    merged = journal.merge_now(lambda run_id: mark_recorded(task.run(run_id)))
    if places.has_folder(task.seals_pending, below=task.environment.out_dir):
        from codex_orchestrator.evidence.sealing import merge_seals

        merged = merge_seals(task, clock) and merged
    for notice in journal.notices:
        tell(notice)
    if places.has_folder(task.seals_pending, below=task.environment.out_dir):
        from codex_orchestrator.evidence.sealing import merge_seals

        merged = merge_seals(task, clock) and merged
    return merged


def _known(_run_id: str) -> bool:
    return True


def _unqueued(ledger: Ledger, name: str, queue: Callable[[], None]) -> list[str]:
    try:
        queue()
    except StorageError as error:
        # The last step only makes sure of it: what is there counts, unless the power fails now.
        doubt = "Record perhaps not durable" if ledger.is_queued(name) else "Record not queued"
        return [f"{doubt}: {error.message}"]
    return []
