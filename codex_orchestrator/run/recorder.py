"""Events to manifest: pure, and the same whatever order independent stages' events come in.

Applying an event twice changes nothing (docs/reference/manifest.md, "Status").
"""

from __future__ import annotations

from dataclasses import replace

from .events import CommandStart, Event, ExecBegin, RunCompleted, RunStarted, StageCompleted
from .shapes import CommandEntry, Handle, HandleMetadata, Manifest


def apply(manifest: Manifest, event: Event) -> Manifest:
    """The manifest after an event; events that say nothing to it leave it as it is."""
    if isinstance(event, RunStarted):
        return _touched(replace(manifest, status="in_progress"), event.timestamp)
    if isinstance(event, RunCompleted):
        return _touched(
            replace(
                manifest,
                status=event.status,
                status_detail=event.status_detail,
                completed_at=event.timestamp,
                summary=event.summary,
            ),
            event.timestamp,
        )
    if isinstance(event, CommandStart):
        return _start(manifest, event)
    if isinstance(event, ExecBegin):
        return _open_handle(manifest, event)
    if isinstance(event, StageCompleted):
        return _complete(manifest, event)
    return manifest


def beat(manifest: Manifest, timestamp: str) -> Manifest:
    """The manifest with a heartbeat; nothing else of it changes."""
    return _touched(replace(manifest, heartbeat_at=timestamp), timestamp)


def _start(manifest: Manifest, event: CommandStart) -> Manifest:
    entry = manifest.entry(event.index)
    if entry.status not in ("pending", "running"):
        return manifest
    running = replace(entry, status="running", started_at=entry.started_at or event.timestamp)
    return _touched(_with_entry(manifest, running), event.timestamp)


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
    return _touched(closed, event.timestamp)


def failure_detail(manifest: Manifest, event: StageCompleted) -> str | None:
    """``stage:<id>:<how>`` for the first failed stage by index, cancelled ones aside."""
    if event.reason == "command-cancelled":
        return manifest.status_detail
    # Not the first failed entry: that may be a cancelled one, which depends on the order of events.
    named, _, _ = (manifest.status_detail or "").rpartition(":")
    if any(named == f"stage:{entry.id}" for entry in manifest.commands[: event.index - 1]):
        return manifest.status_detail
    how = {"command-timeout": "timeout", "command-execution-error": "error"}.get(event.reason or "", "failed")
    return f"stage:{event.stage_id}:{how}"


def _open_handle(manifest: Manifest, event: ExecBegin) -> Manifest:
    handles = manifest.handles or ()
    if any(handle.correlation_id == event.correlation_id for handle in handles):
        return manifest
    handle = Handle(
        handle_id=f"h-{event.correlation_id}",
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
    order = {entry.id: entry.index for entry in manifest.commands}
    placed = sorted((*handles, handle), key=lambda item: (order.get(item.stage_id or "", 0), item.created_at))
    return replace(manifest, handles=tuple(placed))


def _close_handle(manifest: Manifest, event: StageCompleted) -> Manifest:
    if event.correlation_id is None or manifest.handles is None:
        return manifest
    handles = tuple(
        replace(handle, status="closed", frame_count=event.frames, latest_sequence=event.frames)
        if handle.correlation_id == event.correlation_id
        else handle
        for handle in manifest.handles
    )
    return replace(manifest, handles=handles)


def _with_entry(manifest: Manifest, entry: CommandEntry) -> Manifest:
    position = entry.index - 1
    commands = (*manifest.commands[:position], entry, *manifest.commands[position + 1 :])
    return replace(manifest, commands=commands)


def _touched(manifest: Manifest, timestamp: str) -> Manifest:
    return replace(manifest, updated_at=max(manifest.updated_at, timestamp))
