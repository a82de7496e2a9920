"""Events as they may be recorded: what the guard has not seen on its way is looked through here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from codex_orchestrator.model.events import (
    ApprovalRecorded,
    Event,
    RunCompleted,
    RunResumed,
    StageCompleted,
    StageSkipped,
    StageWaiting,
)
from codex_orchestrator.model.exec_events import CommandStart, ExecBegin, ExecRetry
from codex_orchestrator.privacy.guard import Scrub

# The texts of events that people or commands have written; output was filtered where it was read.
_TEXTS: Mapping[type, tuple[str, ...]] = {
    CommandStart: ("command",),
    ExecBegin: ("command", "cwd", "session_id"),
    ExecRetry: ("error",),
    StageCompleted: ("summary",),
    StageSkipped: ("reason",),
    StageWaiting: ("reason",),
    ApprovalRecorded: ("actor", "reason"),
    RunResumed: ("actor", "reason"),
    RunCompleted: ("summary",),
}


def scrubbed_event(event: Event, scrub: Scrub) -> Event:
    """The event without secrets in its texts."""
    texts = _TEXTS.get(type(event))
    if texts is None:
        return event
    scrubbed: dict[str, Any] = {name: scrub(getattr(event, name)) for name in texts}
    return replace(event, **scrubbed)
