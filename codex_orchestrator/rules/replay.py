"""Reads a run's log for what its manifest lacks after a crash, and for counts over all its starts.

The manifest is written once per stage, the log with every event: where the owner was killed in between, the
log has the end of a stage and the manifest has not (docs/reference/event-logs.md, "After a crash").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import Mismatch, from_json, loads
from codex_orchestrator.model.events import AnyEvent, Event
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.rules import recorder

# By far the most lines, and none of them says anything to a manifest.
_CHUNK = b'{"type":"exec:chunk"'
# Not a class to mypy, but what the reader takes.
_EVENT: Any = AnyEvent
_STARTS = ("run:started", "run:resumed")
# A run's end is more than its event: one that died in it ends anew.
_END = "run:completed"


@dataclass(frozen=True)
class Replay:
    """The contents of a run's log.

    Attributes:
        events: What happened since the run was last started or resumed.
        attempts: By stage index, the highest number of an attempt.
        ended: By stage id, when it last ended, as a timestamp.
        persisted_session: The label of the last session of a command that was to be persisted, or None.
    """

    events: tuple[Event, ...]
    attempts: dict[int, int]
    ended: dict[str, str]
    persisted_session: str | None = None


def parse_log(lines: Iterable[bytes]) -> Replay:
    """Read a log; lines that are torn, or another tool's, are passed over."""
    events: list[Event] = []
    attempts: dict[int, int] = {}
    ended: dict[str, str] = {}
    persisted_session = None
    for line in lines:
        document = None if line.startswith(_CHUNK) else _parse(line)
        if document is None:
            continue
        kind, index, attempt = (document.get(key) for key in ("type", "index", "attempt"))
        if kind in _STARTS:
            events.clear()
        if kind in _STARTS or kind == _END:
            continue
        if kind == "exec:begin" and isinstance(index, int) and isinstance(attempt, int):
            attempts[index] = max(attempt, attempts.get(index, 0))
        if kind == "exec:begin" and document.get("persisted") is True:
            persisted_session = str(document.get("session_id"))
        if kind == "stage:completed":
            ended[str(document.get("stage_id"))] = str(document.get("timestamp"))
        event = _event(document)
        if event is not None:
            events.append(event)
    return Replay(tuple(events), attempts, ended, persisted_session)


def catch_up(manifest: Manifest, replay: Replay) -> Manifest:
    """The manifest with all events of the log applied; those that it has already change nothing."""
    for event in replay.events:
        if not _is_outdated(manifest, event):
            manifest = recorder.apply(manifest, event)
    return manifest


def _is_outdated(manifest: Manifest, event: Event) -> bool:
    """Whether an event must not be applied: the plan has changed, or another tool has run the stage."""
    index = getattr(event, "index", None)
    if index is None:
        return False
    if index > len(manifest.commands):
        return True
    entry = manifest.entry(index)
    if getattr(event, "stage_id", entry.id) != entry.id:
        return True
    return entry.completed_at is not None and event.timestamp < entry.completed_at


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        document = loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _event(document: dict[str, Any]) -> Event | None:
    try:
        event: Event = from_json(_EVENT, document, strict=False)
    except Mismatch:
        return None
    return event
