"""TaskManager: one run from its opening to its close.

It never loops over stages; the engine does: it asks what to run, tells what happened, and closes
the run (docs/explanation/architecture.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.graph import Dependencies, reached_failure
from codex_orchestrator.definitions.planner import Plan
from codex_orchestrator.engine.endings import StageEndings
from codex_orchestrator.engine.lifecycle import LiveRun, end_processes, mark_of, owner_mark
from codex_orchestrator.engine.requests import StageRequests
from codex_orchestrator.engine.source import SourceRecord
from codex_orchestrator.environment import Environment
from codex_orchestrator.evidence.lineage import changes_in_children, live_owners
from codex_orchestrator.execution.late import LateOutput
from codex_orchestrator.execution.leftovers import named
from codex_orchestrator.model.definitions import CommandStage, Limits, Pipeline
from codex_orchestrator.model.events import ChildChanged, Event, StageSkipped, StageWaiting
from codex_orchestrator.model.exec_events import CommandStart
from codex_orchestrator.model.manifest import CommandEntry, Manifest
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.rules.stage import END_OF_SESSION, LOSS_OF_EVIDENCE, StageOutcome, StageRequest
from codex_orchestrator.rules.verdict import RunEndFacts, Verdict, cancelled, execution_error, finish, judge


@dataclass(frozen=True)
class Obstacle:
    """Why a stage cannot run: the stage that keeps it, none where its run does, and what that does."""

    stage_id: str
    what: str


class TaskManager:
    """Owns one run: what of it may run, what becomes of it, and its end.

    Attributes:
        layout: Where the run lives.
        pipeline: What it runs.
        live: How it came to life.
        late: Reads what processes write that stages left running.
    """

    def __init__(
        self,
        environment: Environment,
        pipeline: Pipeline,
        plan: Plan,
        live: LiveRun,
        *,
        limits: Limits,
        requirements: Dependencies,
        selected: Collection[str],
        clock: Clock,
        source: SourceRecord,
    ) -> None:
        """Take charge of a run that was opened or taken up again.

        Args:
            environment: Where things are.
            pipeline: What to run.
            plan: Its plan.
            live: The run.
            limits: Bounds on memory and error files.
            requirements: For each stage, those without whose good end it does not run.
            selected: The ids of the stages that this session means to run.
            clock: Time.
            source: Records of which source it is.
        """
        self.layout = live.layout
        self.pipeline = pipeline
        self.live = live
        self._plan = plan
        self._recording = live.recording
        self._selected = frozenset(selected)
        self._clock = clock
        self._source = source
        self._requirements = requirements
        self._index = {stage.id: index for index, stage in enumerate(pipeline.stages, start=1)}
        self._stages = {stage.id: stage for stage in pipeline.stages}
        self._failed = {entry.id for entry in live.recording.manifest.commands if entry.status == "failed"}
        self._requests = StageRequests(environment, pipeline.id, live, limits=limits)
        self._endings = StageEndings(live.recording, self._index, limits=limits, clock=clock)
        self.late = LateOutput(live.recording.record_late, clock)
        self._waiting: set[str] = set()
        self._warnings = list(live.warnings)

    @property
    def manifest(self) -> Manifest:
        """The run as it is now."""
        return self._recording.manifest

    @property
    def guard(self) -> PrivacyGuard:
        """What keeps secrets out of the run's evidence."""
        return self._recording.guard

    @property
    def mark(self) -> str:
        """What every process of this run that this one starts has in its environment."""
        return owner_mark(self.layout)

    def mark_of(self, stage_id: str) -> str:
        """What every process of one stage has in its environment, unless it changed that itself."""
        return mark_of(self.layout, stage_id)

    def nested(self) -> set[int]:
        """The processes of runs that stages have started and that still live."""
        return live_owners(self.layout)

    def entry(self, stage_id: str) -> CommandEntry:
        """A stage's entry as it is now."""
        return self.manifest.entry(self._index[stage_id])

    def obstacle(self, stage_id: str) -> Obstacle | None:
        """What keeps a stage from running: one that it requires, or that its run was refused."""
        control_plane = self.manifest.control_plane
        if control_plane is not None and control_plane.refuses:
            return Obstacle("", "was refused by the control plane")
        root = reached_failure(self._requirements, stage_id, self._failed)
        if root is not None:
            return Obstacle(root, "failed")
        root = reached_failure(self._requirements, stage_id, self._waiting)
        return Obstacle(root, "waits for a decision") if root is not None else None

    def waits(self, stage_id: str) -> bool:
        """Whether a stage waits for a decision, its own or one in a run of its."""
        return stage_id in self._waiting

    def skip(self, stage_id: str, root: str) -> None:
        """Note that a stage is not run because of ``root``, or of its run itself; it stays ``pending``."""
        reason = f"blocked by {root or 'the control plane'}"
        index = self._index[stage_id]
        self.record(StageSkipped(stage_id=stage_id, reason=reason, timestamp=self._now(), index=index))

    def start(self, stage_id: str) -> StageRequest:
        """Record that a command stage starts; the answer is what execution needs to run it, wherever.

        Raises:
            StorageError: The manifest cannot be written.
        """
        stage, index = self._command_stage(stage_id), self._index[stage_id]
        self._source.begin()
        self.record(CommandStart(command=stage.command, timestamp=self._now(), index=index))
        return self._requests.of(stage, index)

    def record(self, event: Event) -> None:
        """Take up what happens while a stage runs.

        Raises:
            StorageError: The manifest cannot be written.
        """
        self._requests.note(event)
        self._recording.record(event)

    def complete(self, stage_id: str, outcome: StageOutcome) -> CommandEntry:
        """Turn a command's outcome into the stage's final entry, its error file included.

        Raises:
            StorageError: The manifest cannot be written.
        """
        return self.end_stage(stage_id, judge(self._command_stage(stage_id), outcome), outcome)

    def fail(self, stage_id: str, cause: str) -> CommandEntry:
        """End a stage that something other than its command made impossible.

        Raises:
            StorageError: The manifest cannot be written.
        """
        cause = self.guard.scrub(cause)
        outcome = StageOutcome(status="failed", exit_code=None, cause=cause)
        return self.end_stage(stage_id, execution_error(cause), outcome)

    def fail_attempt(self, stage_id: str, outcome: StageOutcome) -> None:
        """Keep how an attempt failed that another one follows; the stage goes on.

        Raises:
            StorageError: The manifest cannot be written.
        """
        reason = judge(self._command_stage(stage_id), outcome).reason or "command-failed"
        self._endings.fail_attempt(stage_id, reason, outcome)

    def wait(self, stage_id: str, reason: str) -> None:
        """Note that a stage can go on only when somebody has decided.

        Raises:
            StorageError: The manifest cannot be written.
        """
        index = self._index[stage_id]
        waiting = StageWaiting(stage_id=stage_id, reason=reason, timestamp=self._now(), index=index)
        self._waiting.add(stage_id)
        self.record(waiting)

    def end_stage(self, stage_id: str, verdict: Verdict, outcome: StageOutcome) -> CommandEntry:
        """Give a stage its final entry, its error file included.

        Raises:
            StorageError: The manifest cannot be written.
        """
        self._waiting.discard(stage_id)
        self._take_up_children()
        self._endings.end(stage_id, verdict, outcome)
        if (entry := self.entry(stage_id)).status == "failed":
            self._failed.add(stage_id)
        return entry

    def close(
        self, *, cancelled_by: str | None = None, groups: Collection[int] = (), warnings: Sequence[str] = ()
    ) -> Manifest:
        """Give the run its final status and leave every record of it; one that waits stays open.

        Args:
            cancelled_by: The signal that cancelled the run, or None.
            groups: The process groups of stages that still have members.
            warnings: What the summary has to say of how the stages were run.

        Raises:
            StorageError: The manifest cannot be written.
        """
        if self.live.done:
            self._recording.abandon()
            return self.manifest
        try:
            # First, as nothing that goes wrong with the evidence may keep processes alive.
            self._end_left_processes(groups)
            self._source.begin_end()
            self._end_running_entries(cancelled_by)
            self._take_up_children()
            told = [*self._warnings, *warnings, *self._recording.stop_heartbeat()]
            told = [self.guard.line(warning) for warning in told]
            if self._has_to_wait(cancelled_by):
                self._recording.pause()
            else:
                self._finish(cancelled_by, told)
        finally:
            self._recording.close()
        return self.manifest

    def _finish(self, cancelled_by: str | None, warnings: Sequence[str]) -> None:
        sampled = self._recording.with_drift_report(self.live.starts)
        self._source.end()
        warnings = [*warnings, *map(self.guard.line, self._source.warnings)]
        lines, interrupted = self._endings.lines, self._endings.interrupted
        manifest, completed = finish(
            sampled,
            RunEndFacts(self._selected, cancelled_by, lines, interrupted, warnings),
            now=self._now(),
            run_summary_path=self.layout.relative(self.layout.run_summary),
        )
        partial = len(self._selected) < len(self._index)
        self._recording.finish(manifest, completed, self._plan, partial=partial, starts=self.live.starts)

    def _has_to_wait(self, cancelled_by: str | None) -> bool:
        failed = any(entry.status == "failed" for entry in self.manifest.commands)
        return cancelled_by is None and not failed and bool(self._waiting)

    def _end_running_entries(self, cancelled_by: str | None) -> None:
        """Whatever tore the session down in the middle of a stage, its entry has an end."""
        if self._recording.failure:
            self._warnings.append(f"Evidence could not be written: {self._recording.failure}")
        for entry in self.manifest.commands:
            if entry.status == "running":
                why = cancelled_by or (LOSS_OF_EVIDENCE if self._recording.failure else END_OF_SESSION)
                outcome = StageOutcome(status="cancelled", exit_code=None, cancelled_by=why)
                self.end_stage(entry.id, cancelled(entry.title, outcome), outcome)

    def _take_up_children(self) -> None:
        """Runs that were started from within a stage have left word; their owners write nothing here."""
        for child in changes_in_children(self.layout, self.manifest.child_runs):
            changed = ChildChanged(
                child_run_id=child.run_id,
                pipeline_id=child.pipeline_id,
                status=child.status,
                manifest=child.manifest,
                timestamp=self._now(),
            )
            self.record(changed)

    def _end_left_processes(self, groups: Collection[int]) -> None:
        left = end_processes(self.layout, groups, clock=self._clock)
        if left:
            self._warnings.append(f"Ended what stages left running: {named(left, self.guard.line)}.")
        self.late.finish()
        self._warnings += self.late.warnings

    def _command_stage(self, stage_id: str) -> CommandStage:
        stage = self._stages[stage_id]
        if not isinstance(stage, CommandStage):
            raise TypeError(f"stage {stage_id} is of kind {stage.kind}, which has no command")
        return stage

    def _now(self) -> str:
        return timestamp(self._clock.now())
