"""``errors/NN-slug.json``, never larger on disk than its limit (docs/reference/files.md, "Error files").

Every text keeps its end. What counts is the encoded size: a control character takes six bytes in
JSON, so a text is cut until the whole file fits.
"""

from __future__ import annotations

from typing import Any

from codex_orchestrator.model.codec import dumps, to_json
from codex_orchestrator.model.definitions import Limits
from codex_orchestrator.model.manifest import CommandEntry, Manifest, Reason, StageError
from codex_orchestrator.rules.stage import StageOutcome

_SHORT_TEXT_BYTES = 1_024


def render_error(
    manifest: Manifest,
    entry: CommandEntry,
    reason: Reason,
    outcome: StageOutcome,
    *,
    created_at: str,
    limits: Limits,
) -> bytes:
    """The bytes of a failed stage's error file."""
    share = limits.error_detail_bytes
    while True:
        error = StageError(
            run_id=manifest.run_id,
            task_id=manifest.task_id,
            command_index=entry.index,
            command_id=end_of(entry.id, min(share, _SHORT_TEXT_BYTES)),
            command=end_of(entry.command or "", min(share, _SHORT_TEXT_BYTES)),
            reason=reason,
            details=_details(outcome, share),
            created_at=created_at,
        )
        body = dumps(to_json(error)).encode()
        if len(body) <= limits.error_file_bytes or share == 0:
            return body
        # Several texts share the room, so take off what is too much and look again.
        share = min(share - 1, share * limits.error_file_bytes // len(body))


def _details(outcome: StageOutcome, share: int) -> dict[str, Any]:
    """What is known of the outcome, no text of it longer than ``share`` bytes."""
    details: dict[str, Any] = {"exit_code": outcome.exit_code, "sandbox_state": "none"}
    if outcome.signal:
        details["signal"] = outcome.signal
    if outcome.status == "timeout":
        details["timed_out"] = True
    if outcome.cancelled_by:
        details["cancelled_by"] = outcome.cancelled_by
    texts = [
        ("stdout", outcome.stdout, outcome.stdout_truncated),
        ("stderr", outcome.stderr, outcome.stderr_truncated),
    ]
    if outcome.cause:
        texts.insert(0, ("cause", outcome.cause, False))
    if outcome.missing:
        texts.insert(0, ("missing", outcome.missing, False))
    for key, text, cut_before in texts:
        details[key] = end_of(text, share)
        if cut_before or details[key] != text:
            details[f"{key}_truncated"] = True
    return details


def end_of(text: str, limit: int) -> str:
    """The longest end of ``text`` whose JSON form takes at most ``limit`` bytes."""
    if len(text) * 6 <= limit:
        return text
    size = 0
    for position in range(len(text) - 1, -1, -1):
        size += _encoded_size(text[position])
        if size > limit:
            return text[position + 1 :]
    return text


def _encoded_size(character: str) -> int:
    if character in '"\\\n\r\t\b\f':
        return 2
    if character < " ":
        return 6
    return len(character.encode())
