"""RunRecording: everything that one run writes, from its first event to its records in the task's files."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from codex_orchestrator.clock import Clock, Stopwatch, timestamp
from codex_orchestrator.definitions.planner import Plan
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.coordinator import HeartbeatWriter, PersistenceCoordinator
from codex_orchestrator.evidence.journal import RunRecords
from codex_orchestrator.evidence.lineage import ParentLink, adopt_children
from codex_orchestrator.evidence.locks import RunLock
from codex_orchestrator.evidence.run_folder import EventLog
from codex_orchestrator.evidence.sealing import kept_sealed, seal_or_warn
from codex_orchestrator.model.codec import dumps, to_json
from codex_orchestrator.model.events import ChildChanged, Event, RunCompleted, StageCompleted, StageWaiting
from codex_orchestrator.model.exec_events import CommandStart, ExecEvent, PrivacyDecided
from codex_orchestrator.model.manifest import TERMINAL, Manifest
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.rules import recorder
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.rules.reviewer import CommandReviewer, RunSummary, metrics_line
from codex_orchestrator.rules.verdict import add_warnings

_NOT_TOLD = "The parent run was not told"
_MOST_PRIVACY_EVENTS = "CODEX_METRICS_PRIVACY_EVENTS_MAX"
# Told of each event once it is recorded: the run before it, the event, the run after it.
Observe = Callable[[Manifest, Event, Manifest], object]


def unobserved(_before: Manifest, _event: Event, _after: Manifest) -> None:
    """The default observer: does nothing."""


class RunRecording:
    """Holds the run's lock, and brings its manifest, logs and heartbeat to disk.

    Attributes:
        layout: Where the run lives.
        manifest: The run as it is now.
        guard: Keeps secrets out of all that is written.
        failure: Why the run had to end, as its evidence could not be written; None where it could.
    """

    def __init__(
        self,
        layout: RunLayout,
        clock: Clock,
        *,
        notify: Callable[[str], None],
        observe: Observe = unobserved,
        parent: RunLayout | None = None,
        guard: PrivacyGuard | None = None,
        log_bytes: int | None = None,
    ) -> None:
        """Become the run's owner.

        Args:
            layout: The run.
            clock: Time.
            notify: Told at once when the disk is too slow.
            observe: Told of each event; it raises nothing.
            parent: The run that this one leaves its record with; None where there is none, or where it
                is a run of the same session, which knows anyway.
            guard: Keeps secrets out of all that is written.
            log_bytes: How much of each stage's output is logged; None for all of it.

        Raises:
            Busy: A live process owns it.
            StorageError: The lock cannot be made.
        """
        self.layout = layout
        self.guard = guard or PrivacyGuard()
        self._clock = clock
        self._log_bytes = log_bytes
        self._lock = RunLock(layout.lock, below=layout.base)
        self._lock.acquire()
        self._coordinator = PersistenceCoordinator(layout, clock, notify=notify)
        self._records = RunRecords(layout, clock, self._mark_recorded)
        self._heartbeat = HeartbeatWriter(self._coordinator, clock)
        self._notify = notify
        self._observe = observe
        self._link = ParentLink(parent, layout, clock)
        self._warnings: list[str] = []
        self._told: set[str] = set()
        self._ended = False
        self.failure: str | None = None
        self._turn = threading.Lock()
        if self._lock.soft:
            self._warnings.append(f"No file locks in {layout.folder}: files stand for them.")

    def begin(self, manifest: Manifest, started: Event) -> None:
        """Write the first manifest, and begin to beat.

        Raises:
            StorageError: The manifest cannot be written.
        """
        self._log = EventLog(self.layout, manifest.commands, most_bytes=self._log_bytes)
        self._stopwatch = Stopwatch(self._clock, since=manifest.started_at)
        self._heartbeat.start()
        self.manifest = recorder.apply(manifest, started)
        # Before there is a run: no child is without its parent's knowing, whoever dies when.
        _warned(lambda: self._link.report(self.manifest), self._warnings, _NOT_TOLD)
        try:
            # Before the log: whoever reads that back goes no further than to the last start.
            self._coordinator.save(self.manifest)
        except StorageError:
            self.close()
            raise
        self._log.write(started)
        _warned(self._link.adopt, self._warnings, _NOT_TOLD)
        self._observe(manifest, started, self.manifest)

    def record(self, event: Event) -> None:
        """Log an event and apply it to the manifest.

        A stage's start waits until the log is on disk, and with it the end of the stage before: whatever
        changed is durable before the next command runs, and the manifest follows in a moment. What a
        child does is in the manifest at once, as its readers come by way of its parent.

        Raises:
            StorageError: Neither log nor manifest can be written.
        """
        if self.guard.enforces:
            from codex_orchestrator.privacy.scrubbing import scrubbed_event

            event = scrubbed_event(event, self.guard.scrub)
        before, after = self._take_up(event)
        self._observe(before, event, after)

    def record_late(self, event: ExecEvent) -> None:
        """Record output of a process that outlived its stage; in any thread, and observers are not told."""
        self._take_up(event)

    def _take_up(self, event: Event) -> tuple[Manifest, Manifest]:
        """Log an event and apply it; the run before and after."""
        with self._turn:
            self._log.write(event)
            before = self.manifest
            after = self.manifest = recorder.apply(before, event)
            if isinstance(event, PrivacyDecided) and after is not before:
                self._log.decide(recorder.privacy_decision(before, event))
            starts = isinstance(event, CommandStart)
            if _is_awaited(after, event) or (starts and not self._coordinator.may_wait(self._log.is_durable)):
                try:
                    self._coordinator.save(after)
                except StorageError as error:
                    # A stage whose start is nowhere does not begin.
                    self.manifest = before if starts else after
                    self._coordinator.note(self.manifest)
                    self.failure = error.message
                    raise
            elif after is not before:
                self._coordinator.note(after)
        return before, after

    def amend(self, manifest: Manifest) -> None:
        """Write the manifest of a run that does not go on; only the attempt to resume it is new.

        Raises:
            StorageError: It cannot be written.
        """
        self.manifest = manifest
        with kept_sealed(self.layout, self._clock):
            self._coordinator.save(manifest)
        # Its last owner may have died before it could.
        self._tidy(lambda: self._link.report(manifest))
        self._tidy(self._link.adopt)

    def pause(self) -> None:
        """Write the manifest of a run that waits for somebody: it has not ended, but its process does.

        Raises:
            StorageError: It cannot be written.
        """
        self._log.close()
        self._coordinator.save(self.manifest)
        self._ended = True

    def close_stage(self, index: int) -> None:
        """Close the log of a stage that has ended; processes that outlive it may still write."""
        with self._turn:
            self._log.close_stage(index)

    def write_error(self, path: Path, body: bytes) -> str | None:
        """Write an error file; its path, or None where it could not be written, which is a warning."""
        try:
            files.make_folder(path.parent, below=self.layout.base)
            files.replace(path, body, below=self.layout.base)
        except StorageError as error:
            self._warnings.append(f"No error file: {error.message}")
            return None
        return self.layout.relative(path)

    def stop_heartbeat(self) -> list[str]:
        """Stop the heartbeat once no stage writes any more; returns the warnings of recording so far."""
        self._log.end_output(timestamp(self._clock.now()))
        # The manifest is written right after this.
        self._heartbeat.stop(alone=True)
        if self._coordinator.heartbeat_failures:
            self._warnings.append(f"{self._coordinator.heartbeat_failures} heartbeat writes failed.")
        return self._untold_warnings()

    def with_drift_report(self, starts: int) -> Manifest:
        """The manifest with the drift report, as it will be when this run's request is counted in it."""
        found = self.manifest.control_plane
        if found is None:
            return self.manifest
        drift = self._records.report_with(found, starts)
        return replace(self.manifest, control_plane=replace(found, drift=drift))

    def finish(
        self, manifest: Manifest, completed: RunCompleted, plan: Plan, *, partial: bool, starts: int
    ) -> None:
        """Queue the run's records, write its final manifest even where that failed, then merge them.

        Raises:
            StorageError: The manifest cannot be written.
        """
        self._log.write(completed)
        self._log.close()
        if self.failure:
            # It may have been removed: what is known of the run is written all the same.
            files.make_folder(self.layout.folder, below=self.layout.base)
        reviewer = CommandReviewer(manifest, plan, manifest_path=manifest.path, partial=partial)
        manifest = self._queue(manifest, reviewer.summarize(), starts)
        before, self.manifest = self.manifest, manifest
        self._coordinator.save(manifest)
        recording = self._records.merge()
        self._warnings.extend(recording.warnings)
        ended = add_warnings(
            replace(self.manifest, metrics_recorded=recording.recorded), self._untold_warnings()
        )
        if ended != self.manifest:
            self.manifest = ended
            self._coordinator.save(ended)
        self._ended = True
        if recording.recorded:
            self._tidy(self._records.acknowledge)
        self._observe(before, completed, self.manifest)
        self.manifest = seal_or_warn(self.layout, self.manifest, self._clock, self._coordinator.save, partial)

    def abandon(self) -> None:
        """Give up a run that was never begun here."""
        self._lock.release()

    def close(self) -> None:
        """Stop beating, close the logs and give up the lock, whatever happened before."""
        self._heartbeat.stop()
        self._log.close()
        self._lock.release()
        if not self._ended:
            return  # What it leaves behind is swept by a later run.
        self._tidy(lambda: self._link.report(self.manifest))
        self._tidy(self._link.adopt)
        # Children that ended while this was the owner have left it to it.
        self._tidy(lambda: adopt_children(self.layout, self._clock, as_owner=True))
        recorded = self.manifest.metrics_recorded and not self._records.is_queued
        if self.manifest.status in TERMINAL and not recorded:
            self._tidy(self._records.retry_merge)
        self._tidy(lambda: files.remove(self.layout.live_marker, below=self.layout.base))

    def _queue(self, manifest: Manifest, summary: RunSummary, starts: int) -> Manifest:
        """Leave what later runs and readers find this run by, which then names what is there."""
        line = metrics_line(
            manifest,
            recorded_at=timestamp(self._clock.now()),
            heartbeat_writes=self._coordinator.heartbeat_writes,
            heartbeat_failures=self._coordinator.heartbeat_failures,
            attempts=starts,
            privacy_events=_most_privacy_events(self.layout),
            duration_seconds=self._stopwatch.seconds,
        )
        self._warnings.extend(self._records.queue(line, summary))
        trouble = _write_summary(self.layout, summary)
        self._warnings.extend(trouble)
        return replace(manifest, run_summary_path=None) if trouble else manifest

    def _mark_recorded(self) -> None:
        self.manifest = replace(self.manifest, metrics_recorded=True)
        self._coordinator.save(self.manifest)

    def _untold_warnings(self) -> list[str]:
        known = dict.fromkeys([*self._warnings, *self._log.warnings, *self._coordinator.warnings])
        untold = [warning for warning in known if warning not in self._told]
        self._told.update(untold)
        return untold

    def _tidy(self, action: Callable[[], object]) -> None:
        """Do what a later run does too where it fails."""
        try:
            action()
        except StorageError as error:
            self._notify(f"Left to a later run: {error.message}")


def _is_awaited(manifest: Manifest, event: Event) -> bool:
    """Whether somebody may be about to read of an event: who decides, or who reads a run below this one."""
    if isinstance(event, StageCompleted):
        return manifest.entry(event.index).kind == "subpipeline"
    return isinstance(event, ChildChanged | StageWaiting)


def _warned(action: Callable[[], object], warnings: list[str], words: str) -> None:
    """Do something that a run can go on without; its failure is a warning."""
    try:
        action()
    except StorageError as error:
        warnings.append(f"{words}: {error.message}")


def _write_summary(layout: RunLayout, summary: RunSummary) -> list[str]:
    """Write the run summary; returns warnings."""
    try:
        files.replace(layout.run_summary, dumps(to_json(summary)).encode(), below=layout.base)
    except StorageError as error:
        return [f"No run summary: {error.message}"]
    return []


def _most_privacy_events(layout: RunLayout) -> int | None:
    """How many decisions of the guard a metrics line holds; what is no number counts as unset."""
    setting = (layout.task.environment.setting(_MOST_PRIVACY_EVENTS) or "").strip()
    return int(setting) if setting.isascii() and setting.isdecimal() else None
