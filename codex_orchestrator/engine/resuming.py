"""Taking a run up again, or refusing to (docs/reference/manifest.md, "Resuming")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from codex_orchestrator import places
from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.loader import pipeline_digest
from codex_orchestrator.definitions.planner import Planned
from codex_orchestrator.engine.lifecycle import LiveRun, checked_request, end_processes, recording_of
from codex_orchestrator.engine.options import RunOptions
from codex_orchestrator.errors import Busy, StorageError, UnknownRun, UsageError
from codex_orchestrator.evidence.manifests import is_owned_elsewhere
from codex_orchestrator.evidence.owner import is_owned_here
from codex_orchestrator.evidence.recording import Observe, RunRecording, unobserved
from codex_orchestrator.evidence.resuming import (
    number_error_files,
    prepare_folder,
    read_known,
    read_plan,
    read_receipts,
    read_whole_manifest,
)
from codex_orchestrator.evidence.run_folder import write_plan
from codex_orchestrator.execution.leftovers import named
from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.model.definitions import ExecutionMode, Pipeline
from codex_orchestrator.model.events import RunResumed
from codex_orchestrator.model.manifest import CommandEntry, Manifest, ResumeEvent
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.rules.approvals import approved_stages
from codex_orchestrator.rules.first_manifest import with_request
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.replay import Replay
from codex_orchestrator.rules.resumption import (
    changes,
    changes_by_entries,
    resumed_manifest,
    token_fits,
    with_resume_event,
)


@dataclass(frozen=True)
class Resume:
    """A request to take a run up again.

    Attributes:
        run_id: The run.
        actor: Who asks.
        reason: Why.
        token: The run's resume token, to be checked; None where none was given.
        accept_changes: Whether a pipeline that has changed since may be gone on with.
    """

    run_id: str
    actor: str = "cli"
    reason: str = "manual-resume"
    token: str | None = None
    accept_changes: bool = False

    def for_run(self, run_id: str) -> Resume:
        """The same for another run: the token is that of the run it was given for."""
        return self if run_id == self.run_id else replace(self, run_id=run_id, token=None)


def resume_run(
    layout: RunLayout,
    planned: Planned,
    request: Resume,
    options: RunOptions,
    *,
    target: str | None,
    clock: Clock,
    notify: Callable[[str], None],
    observe: Observe = unobserved,
) -> LiveRun:
    """Take a run up again: what succeeded stays, all else will be run.

    Of the options, those count that the run's manifest does not have: the parent to tell, the guard, the
    limit of its logs.

    Raises:
        UnknownRun: There is no such run, or its manifest cannot be gone on with.
        Busy: A live process owns it; nothing was touched.
        UsageError: The token is wrong (which the manifest records), or a pipeline has changed.
        StorageError: The evidence cannot be written.
    """
    manifest = read_resumable(layout)
    if is_owned_elsewhere(layout, now=clock.now()):
        raise Busy(f"A live process owns the run ({layout.folder}).", hint="Wait for it to end.")
    if not is_owned_here(layout) and _may_ask(manifest, request):
        # Before the lock is taken too, so that a refusal leaves no trace.
        _refuse_changes(layout, manifest, planned, request, options.guard)
    recording = recording_of(layout, options, clock, notify=notify, observe=observe)
    try:
        return _resumed(
            layout, planned, request, recording, clock, target=target, mode=options.execution_mode
        )
    except BaseException:
        recording.abandon()
        raise


def read_resumable(layout: RunLayout) -> Manifest:
    """The manifest of a run that may be gone on with.

    Raises:
        UnknownRun: There is none, or it is another run's.
    """
    if not places.has_file(layout.manifest, below=layout.base):
        raise UnknownRun(f'Unknown run "{layout.run_id}": {layout.manifest} is missing.')
    manifest = read_whole_manifest(layout)
    if manifest.run_id != layout.run_id:
        raise UnknownRun(f'{layout.manifest} is the manifest of another run, "{manifest.run_id}".')
    return manifest


def _resumed(
    layout: RunLayout,
    planned: Planned,
    request: Resume,
    recording: RunRecording,
    clock: Clock,
    *,
    target: str | None,
    mode: ExecutionMode | None,
) -> LiveRun:
    manifest, replay = read_known(layout)
    pipeline = planned.pipeline
    event = ResumeEvent(
        actor=recording.guard.line(request.actor) or "cli",
        reason=recording.guard.line(request.reason) or "manual-resume",
        outcome="accepted",
        timestamp=timestamp(clock.now()),
    )
    if not _may_ask(manifest, request):
        _block(recording, manifest, event, "resume token does not match")
    digest = pipeline_digest(pipeline)
    if manifest.status == "succeeded":
        recording.amend(with_resume_event(manifest, event))
        return LiveRun(layout, recording, digest, done=True)
    _refuse_changes(layout, manifest, planned, request, recording.guard)
    left = end_processes(layout, clock=clock)
    prepare_folder(layout)
    _renew_plan(layout, pipeline, recording.guard, clock, mode)
    approved = approved_stages(read_receipts(layout), digest)
    shown = recording.guard.pipeline(pipeline)
    found = checked_request(
        layout, shown, approval_policy=manifest.approval_policy, requested_at=event.timestamp
    )
    going_on = resumed_manifest(
        manifest,
        shown,
        layout,
        event,
        approved=approved,
        privacy_mode=recording.guard.policy.mode,
    )
    going_on = with_request(replace(going_on, plan_target_id=target), found)
    recording.begin(
        going_on,
        RunResumed(
            run_id=layout.run_id,
            actor=event.actor,
            reason=event.reason,
            stages=tuple(stage.id for stage in pipeline.stages),
            timestamp=event.timestamp,
        ),
    )
    _number_errors(recording, manifest, replay)
    told = named(left, recording.guard.line)
    warnings = (f"Ended what the interrupted run left running: {told}.",) if left else ()
    return LiveRun(
        layout,
        recording,
        digest,
        attempts=_by_new_index(manifest, going_on, replay),
        ended=replay.ended,
        persisted_session=replay.persisted_session,
        starts=1 + sum(event.outcome == "accepted" for event in going_on.resume_events),
        warnings=warnings,
    )


def _renew_plan(
    layout: RunLayout, pipeline: Pipeline, guard: PrivacyGuard, clock: Clock, mode: ExecutionMode | None
) -> None:
    plan = read_plan(layout)
    if plan is None or (plan.digest, plan.execution_mode) != (pipeline_digest(pipeline), mode):
        write_plan(layout, pipeline, guard, clock, mode=mode)


def _number_errors(recording: RunRecording, before: Manifest, replay: Replay) -> None:
    """Rename error files after the manifest: who is killed in between leaves none that names what is gone."""
    try:
        number_error_files(recording.layout, before, replay.attempts)
    except StorageError:
        recording.close()
        raise


def _block(recording: RunRecording, manifest: Manifest, event: ResumeEvent, detail: str) -> None:
    blocked = ResumeEvent(
        actor=event.actor,
        reason=event.reason,
        outcome="blocked",
        detail=detail,
        timestamp=event.timestamp,
    )
    recording.amend(with_resume_event(manifest, blocked))
    raise UsageError(
        f"Run {manifest.run_id} is not resumed: the token is not this run's.",
        hint="The token is in resume-token.json in the run's folder; without --token none is asked for.",
    )


def _may_ask(manifest: Manifest, request: Resume) -> bool:
    return request.token is None or token_fits(manifest, request.token)


def _refuse_changes(
    layout: RunLayout, manifest: Manifest, planned: Planned, request: Resume, guard: PrivacyGuard
) -> None:
    """Refuse before anything is run, also what a run further down would be refused for.

    Raises:
        UsageError: A pipeline has changed, and that was not accepted.
        UnknownRun: The manifest of a run further down cannot be gone on with.
    """
    found = list(_changed(layout, manifest, planned, guard))
    if found and not request.accept_changes:
        name, listed = planned.pipeline.id, "; ".join(found)
        raise UsageError(
            f'Run {layout.run_id} is not resumed: pipeline "{name}" has changed since: {listed}.',
            hint="Pass --accept-changes to go on with the pipeline as it is now, or start a new run.",
        )


def _changed(layout: RunLayout, manifest: Manifest, planned: Planned, guard: PrivacyGuard) -> Iterator[str]:
    """What is different in the pipeline of a run that has not succeeded, and in those below it."""
    if manifest.status == "succeeded":
        return
    plan = read_plan(layout)
    if plan is None:
        yield from changes_by_entries(manifest.commands, planned.pipeline)
    elif plan.digest != pipeline_digest(planned.pipeline):
        yield from changes(plan.pipeline, guard.pipeline(planned.pipeline)) or [
            "values that the plan does not show"
        ]
    for entry in manifest.commands:
        child = planned.children.get(entry.id)
        below = child_of(layout.task, entry, child.pipeline.id) if child is not None else None
        if child is not None and below is not None and entry.status != "succeeded":
            for line in _changed(below, read_resumable(below), child, guard):
                yield f'pipeline "{child.pipeline.id}" of stage "{entry.id}": {line}'


def child_of(task: TaskLayout, entry: CommandEntry, pipeline_id: str) -> RunLayout | None:
    """The run of a pipeline that a stage's entry names, or None where there is none to go on with.

    Raises:
        UnknownRun: What is there is not that run's manifest.
    """
    if entry.sub_run_id is None or id_problem(entry.sub_run_id) is not None:
        return None
    layout = task.run(entry.sub_run_id)
    if not places.has_file(layout.manifest, below=layout.base):
        return None  # It died before it was one.
    return layout if read_resumable(layout).pipeline_id == pipeline_id else None


def _by_new_index(before: Manifest, after: Manifest, replay: Replay) -> dict[int, int]:
    """Attempts by the places that stages have now."""
    by_id = {entry.id: replay.attempts.get(entry.index, 0) for entry in before.commands}
    return {entry.index: by_id.get(entry.id, 0) for entry in after.commands}
