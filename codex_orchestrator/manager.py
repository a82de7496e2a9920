"""TaskManager: one run from its opening to its close.

It never loops over stages; the engine does: it asks what to run, tells what happened, and closes
the run (docs/explanation/architecture.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from .clock import Clock, timestamp
from .environment import PREFIX, Environment, stage_variables
from .execution.leftovers import end_left
from .governance.instructions import read_instructions
from .pipelines.graph import dependencies, reached_failure
from .pipelines.model import CommandStage, Limits, Pipeline
from .pipelines.planner import Plan
from .run.ending import Ending, finish
from .run.errorfile import render_error
from .run.events import Event, RunStarted, StageCompleted, StageSkipped
from .run.layout import TaskLayout
from .run.opening import first_manifest
from .run.shapes import CommandEntry, Manifest
from .run.stage import StageOutcome, StageRequest
from .run.verdict import judge
from .store.evidence import create_run_folder, write_first_files
from .store.recording import RunRecording
from .store.sweep import sweep


@dataclass(frozen=True)
class RunOptions:
    """What the user asked of this run, beyond the pipeline."""

    task_id: str
    parent_run_id: str | None = None
    approval_policy: str | None = None


class TaskManager:
    """Owns one run: what of it may run, what becomes of it, and its end.

    Attributes:
        layout: Where the run lives.
    """

    def __init__(
        self,
        environment: Environment,
        pipeline: Pipeline,
        plan: Plan,
        options: RunOptions,
        *,
        limits: Limits,
        selected: Collection[str],
        clock: Clock,
        notify: Callable[[str], None],
    ) -> None:
        """Open the run: make its folder and first files, and start its heartbeat.

        Args:
            environment: Where things are.
            pipeline: What to run.
            plan: Its plan.
            options: What the user asked.
            limits: Bounds on memory and error files.
            selected: The ids of the stages that this session means to run.
            clock: Time.
            notify: Told at once of what a person should not have to wait for.

        Raises:
            StorageError: The evidence cannot be written.
        """
        self._environment = environment
        self._pipeline = pipeline
        self._plan = plan
        self._options = options
        self._limits = limits
        self._selected = frozenset(selected)
        self._clock = clock
        self._waits = dependencies(pipeline.stages)
        self._index = {stage.id: index for index, stage in enumerate(pipeline.stages, start=1)}
        self._causes: dict[int, str] = {}
        task = TaskLayout(environment, options.task_id)
        self._warnings = list(sweep(task).warnings)
        self.layout = create_run_folder(task, clock)
        self._recording = RunRecording(self.layout, clock, notify=notify)
        manifest = self._first_manifest(write_first_files(self.layout, pipeline, clock))
        started = RunStarted(
            run_id=self.layout.run_id, pipeline_id=pipeline.id, timestamp=manifest.started_at
        )
        self._recording.begin(manifest, started)

    @property
    def manifest(self) -> Manifest:
        """The run as it is now."""
        return self._recording.manifest

    @property
    def mark(self) -> str:
        """What every process of this run has in its environment, unless it changed that itself."""
        name = f"{PREFIX}RUN_ID"
        return f"{name}={self.layout.run_id}"

    def blocked_by(self, stage_id: str) -> str | None:
        """The failed stage that keeps this one from running, or None."""
        failed = {entry.id for entry in self.manifest.commands if entry.status == "failed"}
        return reached_failure(self._waits, stage_id, failed)

    def skip(self, stage_id: str, root: str) -> None:
        """Note that a stage is not run because ``root`` failed; it stays ``pending``."""
        reason = f"blocked by {root}"
        index = self._index[stage_id]
        self.record(StageSkipped(stage_id=stage_id, reason=reason, timestamp=self._now(), index=index))

    def request(self, stage_id: str) -> StageRequest:
        """What execution needs to run a command stage."""
        stage = self._command_stage(stage_id)
        return StageRequest(
            index=self._index[stage_id],
            stage_id=stage_id,
            command=stage.command,
            cwd=str(self._environment.root / (stage.cwd or "")),
            environ=stage_variables(
                self._environment,
                task_id=self._options.task_id,
                run_id=self.layout.run_id,
                pipeline_id=self._pipeline.id,
                run_dir=self.layout.folder,
                own=stage.env or {},
            ),
            timeout_seconds=stage.timeout_seconds,
            stream_bytes=self._limits.stream_bytes,
            session_id=stage.session.id if stage.session else None,
            persisted=bool(stage.session and stage.session.persist),
        )

    def record(self, event: Event) -> None:
        """Take up what happens while a stage runs.

        Raises:
            StorageError: The manifest cannot be written.
        """
        self._recording.record(event)

    def complete(self, stage_id: str, outcome: StageOutcome) -> CommandEntry:
        """Turn an outcome into the stage's final entry, its error file included.

        Raises:
            StorageError: The manifest cannot be written.
        """
        index, now = self._index[stage_id], self._now()
        verdict = judge(self._command_stage(stage_id), outcome)
        if verdict.reason == "command-execution-error":
            self._causes[index] = outcome.cause or verdict.summary
        error_file = None
        if verdict.reason is not None:
            entry = self.manifest.entry(index)
            body = render_error(
                self.manifest, entry, verdict.reason, outcome, created_at=now, limits=self._limits
            )
            error_file = self._recording.write_error(index, stage_id, body)
        completed = StageCompleted(
            stage_id=stage_id,
            status=verdict.status,
            exit_code=outcome.exit_code,
            summary=verdict.summary,
            reason=verdict.reason,
            error_file=error_file,
            correlation_id=outcome.correlation_id,
            frames=outcome.frames,
            timestamp=now,
            index=index,
        )
        self._recording.record(completed)
        self._recording.close_stage(index)
        return self.manifest.entry(index)

    def fail(self, stage_id: str, cause: str) -> CommandEntry:
        """End a stage that something other than its command made impossible.

        Raises:
            StorageError: The manifest cannot be written.
        """
        return self.complete(stage_id, StageOutcome(status="failed", exit_code=None, cause=cause))

    def close(
        self, *, cancelled_by: str | None = None, groups: Collection[int] = (), warnings: Sequence[str] = ()
    ) -> Manifest:
        """Give the run its final status and leave every record of it.

        Args:
            cancelled_by: The signal that cancelled the run, or None.
            groups: The process groups of stages that still have members.
            warnings: What the summary has to say of how the stages were run.

        Raises:
            StorageError: The manifest cannot be written.
        """
        try:
            # First, as nothing that goes wrong with the evidence may keep processes alive.
            self._end_left_processes(groups)
            self._end_running_entries(cancelled_by)
            warnings = [*self._warnings, *warnings, *self._recording.stop_heartbeat()]
            manifest, completed = finish(
                self.manifest,
                Ending(self._selected, cancelled_by, self._causes, warnings),
                now=self._now(),
                run_summary_path=self.layout.relative(self.layout.run_summary),
            )
            partial = len(self._selected) < len(self._index)
            self._recording.finish(manifest, completed, self._plan, partial=partial)
        finally:
            self._recording.close()
        return self.manifest

    def _first_manifest(self, token: str) -> Manifest:
        instructions = read_instructions(self._environment.root)
        self._warnings.extend(instructions.warnings)
        return first_manifest(
            self.layout,
            self._pipeline,
            started_at=self._now(),
            token=token,
            target=self._plan.targetId,
            parent_run_id=self._options.parent_run_id,
            approval_policy=self._options.approval_policy,
            instructions_hash=instructions.digest,
            instructions_sources=instructions.sources,
        )

    def _end_running_entries(self, cancelled_by: str | None) -> None:
        """Whatever tore the session down in the middle of a stage, its entry has an end."""
        for entry in self.manifest.commands:
            if entry.status == "running":
                outcome = StageOutcome(
                    status="cancelled", exit_code=None, cancelled_by=cancelled_by or "an interrupt"
                )
                self.complete(entry.id, outcome)

    def _end_left_processes(self, groups: Collection[int]) -> None:
        left = end_left(self.mark, groups)
        if left:
            named = ", ".join(f"{process.command} (pid {process.pid})" for process in left)
            self._warnings.append(f"Ended what stages left running: {named}.")

    def _command_stage(self, stage_id: str) -> CommandStage:
        stage = self._pipeline.stage(stage_id)
        if not isinstance(stage, CommandStage):
            raise TypeError(f"stage {stage_id} is of kind {stage.kind}, which has no command")
        return stage

    def _now(self) -> str:
        return timestamp(self._clock.now())
