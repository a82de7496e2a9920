"""Events to manifest: pure, and the same whatever order independent stages' events come in.

Applying an event twice changes nothing (docs/reference/manifest.md, "Status").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import Any

from codex_orchestrator.model import scheduler as instances
from codex_orchestrator.model.events import (
    ApprovalRecorded,
    AttemptFailed,
    ChildChanged,
    Event,
    RunCompleted,
    RunStarted,
    SchedulerStarted,
    StageAssigned,
    StageCompleted,
    StageReleased,
    StageWaiting,
)
from codex_orchestrator.model.exec_events import CommandStart, ExecBegin, PrivacyDecided
from codex_orchestrator.model.manifest import (
    Approval,
    ChildRun,
    CommandEntry,
    Handle,
    HandleMetadata,
    Manifest,
)
from codex_orchestrator.model.privacy_record import PrivacyDecision, empty_record, with_decision, with_totals
from codex_orchestrator.model.scheduler import Scheduler

RESUMING = "resuming"
AWAITING = "awaiting-approval"
PRIVACY_LOG = "privacy-decisions.ndjson"


def apply(manifest: Manifest, event: Event) -> Manifest:
    """The manifest after an event; events that say nothing to it leave it as it is."""
    handler = _HANDLERS.get(type(event))
    return handler(manifest, event) if handler is not None else manifest


def beat(manifest: Manifest, timestamp: str) -> Manifest:
    """The manifest with a heartbeat; nothing else of it changes."""
    return _touched(replace(manifest, heartbeat_at=timestamp), timestamp)


def _begin(manifest: Manifest, event: RunStarted) -> Manifest:
    return _touched(replace(manifest, status="in_progress"), event.timestamp)


def _end(manifest: Manifest, event: RunCompleted) -> Manifest:
    ended = replace(
        manifest,
        status=event.status,
        status_detail=event.status_detail,
        completed_at=event.timestamp,
        summary=event.summary,
        scheduler=manifest.scheduler and instances.ended(manifest.scheduler, timestamp=event.timestamp),
    )
    return _touched(ended, event.timestamp)


def _request_workers(manifest: Manifest, event: SchedulerStarted) -> Manifest:
    scheduler = instances.requested(
        manifest.scheduler,
        min_instances=event.min_instances,
        max_instances=event.max_instances,
        timestamp=event.timestamp,
    )
    return _with_scheduler(manifest, scheduler, event.timestamp)


def _assign(manifest: Manifest, event: StageAssigned) -> Manifest:
    if manifest.scheduler is None:
        return manifest
    scheduler = instances.assigned(manifest.scheduler, event.instance_id, timestamp=event.timestamp)
    placed = _with_place(manifest, event.index, _place(event.instance_id))
    return _with_scheduler(placed, scheduler, event.timestamp)


def _release(manifest: Manifest, event: StageReleased) -> Manifest:
    if manifest.scheduler is None:
        return manifest
    scheduler = instances.released(
        manifest.scheduler,
        event.instance_id,
        event.outcome,
        event.checkpoint,
        assigned_at=event.assigned_at,
        timestamp=event.timestamp,
    )
    if manifest.entry(event.index).summary == _place(event.instance_id):
        manifest = _with_place(manifest, event.index, None)
    return _with_scheduler(manifest, scheduler, event.timestamp)


def _place(instance_id: str) -> str:
    return f"Runs on {instance_id}"


def _with_place(manifest: Manifest, index: int, place: str | None) -> Manifest:
    """Where a stage runs stands where its end will be told."""
    entry = manifest.entry(index)
    if entry.status != "running" or entry.summary == place:
        return manifest
    return _with_entry(manifest, replace(entry, summary=place))


def _with_scheduler(manifest: Manifest, scheduler: Scheduler, timestamp: str) -> Manifest:
    if scheduler is manifest.scheduler:
        return manifest
    return _touched(replace(manifest, scheduler=scheduler), timestamp)


def _start_command(manifest: Manifest, event: CommandStart) -> Manifest:
    return _start(manifest, event.index, event.timestamp)


def _start(manifest: Manifest, index: int, timestamp: str) -> Manifest:
    entry = manifest.entry(index)
    if entry.status not in ("pending", "running"):
        return manifest
    running = replace(entry, status="running", started_at=entry.started_at or timestamp, summary=None)
    started = _with_entry(manifest, running)
    if manifest.status_detail == RESUMING or _waits_for(manifest, entry):
        started = replace(started, status_detail=None)
    return _touched(started, timestamp)


def _wait(manifest: Manifest, event: StageWaiting) -> Manifest:
    entry = replace(manifest.entry(event.index), status="pending", summary=event.reason)
    waiting = _with_entry(manifest, entry)
    if manifest.status_detail in (None, RESUMING):
        waiting = replace(waiting, status_detail=f"stage:{event.stage_id}:{AWAITING}")
    return _touched(waiting, event.timestamp)


def _waits_for(manifest: Manifest, entry: CommandEntry) -> bool:
    return manifest.status_detail == f"stage:{entry.id}:{AWAITING}"


def _child(manifest: Manifest, event: ChildChanged) -> Manifest:
    child = ChildRun(event.child_run_id, event.pipeline_id, event.status, event.manifest)
    known = {run.run_id: run for run in manifest.child_runs}
    if event.index is not None:
        before = manifest.entry(event.index).sub_run_id or ""
        if before != child.run_id and before in known and known[before].status == "queued":
            del known[before]  # It died before it was a run.
    changed = replace(manifest, child_runs=tuple({**known, child.run_id: child}.values()))
    if event.index is not None:
        entry = replace(manifest.entry(event.index), sub_run_id=child.run_id)
        changed = _start(_with_entry(changed, entry), event.index, event.timestamp)
    return _touched(changed, event.timestamp)


def _approve(manifest: Manifest, event: ApprovalRecorded) -> Manifest:
    approval = Approval(actor=event.actor, timestamp=event.timestamp, reason=event.reason)
    if approval in manifest.approvals:
        return manifest
    return _touched(replace(manifest, approvals=(*manifest.approvals, approval)), event.timestamp)


def _complete(manifest: Manifest, event: StageCompleted) -> Manifest:
    entry = replace(
        manifest.entry(event.index),
        status=event.status,
        completed_at=event.timestamp,
        exit_code=event.exit_code,
        summary=event.summary,
        error_file=event.error_file,
    )
    # A stage that could not even be asked to start has no start of its own.
    entry = replace(entry, started_at=entry.started_at or event.timestamp)
    closed = _close_handle(_with_entry(manifest, entry), event)
    if event.status == "failed":
        closed = replace(closed, status_detail=failure_detail(closed, event))
    elif manifest.status_detail == RESUMING or _waits_for(manifest, entry):
        closed = replace(closed, status_detail=None)
    return _touched(closed, event.timestamp)


def failure_detail(manifest: Manifest, event: StageCompleted) -> str | None:
    """``stage:<id>:<how>`` for the first failed stage by index, cancelled ones aside."""
    if event.reason == "command-cancelled":
        return manifest.status_detail
    # Not the first failed entry: that may be a cancelled one, which depends on the order of events.
    named, _, how = (manifest.status_detail or "").rpartition(":")
    earlier = manifest.commands[: event.index - 1]
    if how != AWAITING and any(named == _failure_name(manifest, entry) for entry in earlier):
        return manifest.status_detail
    if event.detail is not None:
        return event.detail
    how = {"command-timeout": "timeout", "command-execution-error": "error"}.get(event.reason or "", "failed")
    return f"stage:{event.stage_id}:{how}"


def _failure_name(manifest: Manifest, entry: CommandEntry) -> str:
    """What ``status_detail`` calls a stage that failed, up to how it did."""
    child = next((run for run in manifest.child_runs if run.run_id == entry.sub_run_id), None)
    return f"stage:{entry.id}" if child is None else f"subpipeline:{child.pipeline_id}"


def _open_handle(manifest: Manifest, event: ExecBegin) -> Manifest:
    handles = manifest.handles or ()
    if event.correlation_id in map(_correlation_id, handles):
        return manifest
    handle = Handle(
        handle_id=_handle_id(event.correlation_id),
        correlation_id=event.correlation_id,
        stage_id=manifest.entry(event.index).id,
        pipeline_id=manifest.pipeline_id,
        status="open",
        frame_count=1,
        latest_sequence=1,
        created_at=event.timestamp,
        metadata=HandleMetadata(manifest.run_id),
    )
    # In the order of the stages, so that independent stages may begin in any order.
    place = len(handles)
    while place and _order(manifest, handles[place - 1], near=event.index) > (event.index, event.timestamp):
        place -= 1
    return replace(manifest, handles=(*handles[:place], handle, *handles[place:]))


def _order(manifest: Manifest, handle: Handle, *, near: int) -> tuple[int, str]:
    """What handles are put in order by; ``near`` is the index of the stage to look at first."""
    indexes = chain(range(near, 0, -1), range(near + 1, len(manifest.commands) + 1))
    index = next((index for index in indexes if manifest.entry(index).id == handle.stage_id), 0)
    return index, handle.created_at


def _close_handle(manifest: Manifest, event: StageCompleted | AttemptFailed) -> Manifest:
    if event.correlation_id is None or manifest.handles is None:
        return manifest
    handles = manifest.handles
    # Mostly it is the newest.
    place = len(handles) - 1
    while place >= 0 and handles[place].correlation_id != event.correlation_id:
        place -= 1
    if place >= 0:
        closed = replace(
            handles[place], status="closed", frame_count=event.frames, latest_sequence=event.frames
        )
        handles = (*handles[:place], closed, *handles[place + 1 :])
    ended = [handle for handle in handles if handle.status == "closed"]
    privacy = manifest.privacy and with_totals(
        manifest.privacy, sum(map(_frame_count, ended)), map(_handle_id_of, ended)
    )
    return replace(manifest, handles=handles, privacy=privacy)


def _decide_on_privacy(manifest: Manifest, event: PrivacyDecided) -> Manifest:
    noted = with_decision(
        manifest.privacy or empty_record("shadow" if event.action == "allow" else "enforce"),
        privacy_decision(manifest, event),
        {entry.id: entry.index for entry in manifest.commands},
        log_path=f"{manifest.artifact_root}/{PRIVACY_LOG}",
    )
    return manifest if noted is manifest.privacy else replace(manifest, privacy=noted)


def privacy_decision(manifest: Manifest, event: PrivacyDecided) -> PrivacyDecision:
    """The event as the manifest and the log of decisions have it."""
    return PrivacyDecision(
        handle_id=_handle_id(event.correlation_id),
        sequence=event.sequence,
        action=event.action,
        rule=event.rule,
        reason=event.reason,
        timestamp=event.timestamp,
        stage_id=manifest.entry(event.index).id,
    )


def _handle_id(correlation_id: str) -> str:
    return f"h-{correlation_id}"


def _with_entry(manifest: Manifest, entry: CommandEntry) -> Manifest:
    position = entry.index - 1
    commands = (*manifest.commands[:position], entry, *manifest.commands[position + 1 :])
    return replace(manifest, commands=commands)


def _touched(manifest: Manifest, timestamp: str) -> Manifest:
    return replace(manifest, updated_at=max(manifest.updated_at, timestamp))


# There may be thousands, and each event asks.
_correlation_id, _frame_count, _handle_id_of = map(attrgetter, ("correlation_id", "frame_count", "handle_id"))

_HANDLERS: dict[type, Callable[[Manifest, Any], Manifest]] = {
    RunStarted: _begin,
    RunCompleted: _end,
    SchedulerStarted: _request_workers,
    StageAssigned: _assign,
    StageReleased: _release,
    CommandStart: _start_command,
    ExecBegin: _open_handle,
    AttemptFailed: _close_handle,
    PrivacyDecided: _decide_on_privacy,
    StageCompleted: _complete,
    StageWaiting: _wait,
    ChildChanged: _child,
    ApprovalRecorded: _approve,
}
