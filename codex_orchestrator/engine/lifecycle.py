"""A run that this process owns, and how a new one is opened; `resuming` takes one up again."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import field, replace

from codex_orchestrator import places
from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.loader import pipeline_digest
from codex_orchestrator.engine.instructions import read_instructions
from codex_orchestrator.engine.options import RunOptions
from codex_orchestrator.environment import PREFIX, Environment
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence.lineage import live_owners
from codex_orchestrator.evidence.recording import Observe, RunRecording, unobserved
from codex_orchestrator.evidence.run_folder import create_run_folder, write_first_files
from codex_orchestrator.execution.leftovers import LeftProcess, end_left
from codex_orchestrator.model.control_plane import ControlPlane, EnforcementMode, control_plane_of
from codex_orchestrator.model.definitions import Pipeline
from codex_orchestrator.model.events import RunStarted
from codex_orchestrator.model.privacy_record import empty_record
from codex_orchestrator.rules.first_manifest import first_manifest, with_request
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.run_request import build_request, problems_of


@dataclass(frozen=True)
class LiveRun:
    """A run that this process owns.

    Attributes:
        layout: Where it lives.
        recording: What writes it.
        plan_digest: Of the pipeline that is run.
        attempts: By stage index, how often its command was tried before.
        ended: By stage id, when it last ended, as a timestamp.
        persisted_session: The label of the last session of a command that was to be persisted, or None.
        starts: How often the run was started, this time included.
        done: Whether it had succeeded before, so that there is nothing left to do.
        warnings: For its summary.
    """

    layout: RunLayout
    recording: RunRecording
    plan_digest: str
    attempts: Mapping[int, int] = field(default_factory=dict)
    ended: Mapping[str, str] = field(default_factory=dict)
    persisted_session: str | None = None
    starts: int = 1
    done: bool = False
    warnings: tuple[str, ...] = ()


def recording_of(
    layout: RunLayout, options: RunOptions, clock: Clock, *, notify: Callable[[str], None], observe: Observe
) -> RunRecording:
    """What writes a run, which this process then owns.

    Raises:
        Busy: A live process owns it.
        StorageError: Its lock cannot be made.
    """
    return RunRecording(
        layout,
        clock,
        notify=notify,
        observe=observe,
        parent=options.parent,
        guard=options.guard,
        log_bytes=options.log_bytes,
    )


def end_processes(layout: RunLayout, groups: Collection[int] = (), *, clock: Clock) -> list[LeftProcess]:
    """End what stages of a run left running; runs among it get the time to close themselves.

    Args:
        layout: The run.
        groups: The process groups of its stages, as far as they are known.
        clock: Measures that time.
    """
    patient = live_owners(layout)
    return end_left(mark_of(layout), groups, clock=clock, patient=patient, folder=layout.folder)


def mark_of(layout: RunLayout, stage_id: str | None = None) -> str:
    """What every process of a run, or of one stage, has in its environment, unless it changed that itself."""
    run, stage = f"{PREFIX}RUN_ID", f"{PREFIX}STAGE_ID"
    mark = f"{run}={layout.run_id}"
    return mark if stage_id is None else f"{mark}\0{stage}={stage_id}"


def owner_mark(layout: RunLayout) -> str:
    """What every process of a run that this process started has in its environment, as `mark_of`.

    Whoever takes the run up again starts others, which are not to be ended with this process.
    """
    return f"{mark_of(layout)}\0{PREFIX}OWNER_PID={os.getpid()}"


def checked_request(
    layout: RunLayout, pipeline: Pipeline, *, approval_policy: str | None, requested_at: str
) -> ControlPlane:
    """Build the request of a run and hold it to its schema (docs/reference/manifest.md, "Control plane").

    Args:
        layout: The run.
        pipeline: What it runs, as it may be shown.
        approval_policy: As asked for, or None.
        requested_at: Now, as a timestamp.
    """
    request = build_request(layout, pipeline, approval_policy=approval_policy, requested_at=requested_at)
    enforced = layout.task.environment.enforces("CODEX_CONTROL_PLANE")
    mode: EnforcementMode = "enforce" if enforced else "shadow"
    return control_plane_of(layout.run_id, problems_of(request), mode=mode, timestamp=requested_at)


def open_run(
    environment: Environment,
    pipeline: Pipeline,
    options: RunOptions,
    *,
    target: str | None,
    clock: Clock,
    notify: Callable[[str], None],
    observe: Observe = unobserved,
    announce: Callable[[RunLayout], None] | None = None,
) -> LiveRun:
    """Make a run's folder and first files, and start its heartbeat.

    ``announce`` is told of the run before its first manifest is there.

    Raises:
        StorageError: The evidence cannot be written.
    """
    task = TaskLayout(environment, options.task_id)
    swept = _sweep(task)
    layout = create_run_folder(task, clock)
    if announce is not None:
        announce(layout)
    recording = recording_of(layout, options, clock, notify=notify, observe=observe)
    shown = options.guard.pipeline(pipeline)
    token = write_first_files(layout, pipeline, options.guard, clock, mode=options.execution_mode)
    instructions = read_instructions(environment.root)
    manifest = first_manifest(
        layout,
        shown,
        started_at=timestamp(clock.now()),
        token=token,
        target=target,
        parent_run_id=options.parent_run_id,
        approval_policy=options.approval_policy,
        instructions_hash=instructions.digest,
        instructions_sources=instructions.sources,
    )
    if options.task_slug is not None:
        manifest = replace(manifest, task_slug=options.task_slug)
    found = checked_request(
        layout, shown, approval_policy=options.approval_policy, requested_at=manifest.started_at
    )
    manifest = with_request(manifest, found)
    manifest = replace(manifest, privacy=empty_record(options.guard.policy.mode))
    started = RunStarted(
        run_id=layout.run_id,
        pipeline_id=pipeline.id,
        stages=tuple(stage.id for stage in pipeline.stages),
        timestamp=manifest.started_at,
    )
    recording.begin(manifest, started)
    warnings = (*swept, *instructions.warnings)
    return LiveRun(layout, recording, pipeline_digest(pipeline), warnings=warnings)


def _sweep(task: TaskLayout) -> tuple[str, ...]:
    """Remove what dead runs left; the answer is a warning for each thing that could not be removed."""
    try:
        # Whatever has died has left a marker there.
        if not places.listed(task.live_dir, below=task.environment.runs_dir):
            return ()
    except StorageError as error:
        return (error.in_a_line,)
    from codex_orchestrator.evidence.sweep import sweep

    return sweep(task).warnings
