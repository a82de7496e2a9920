"""``errors/NN-slug.json``, never larger on disk than its limit (docs/reference/files.md, "Error files").

Every text keeps its end. What counts is the encoded size: a control character takes six bytes in
JSON, so a text is cut until the whole file fits.
"""

from __future__ import annotations

from typing import Any

from codex_orchestrator.pipelines.model import Limits
from codex_orchestrator.records import dumps, to_json

from .shapes import CommandEntry, Manifest, Reason, StageError
from .stage import StageOutcome

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
    details: dict[str, Any] = {"exit_code": outcome.exit_code, "sandbox_state": "none"}
    if outcome.signal:
        details["signal"] = outcome.signal
    if outcome.status == "timeout":
        details["timed_out"] = True
    if outcome.cancelled_by:
        details["cancelled_by"] = outcome.cancelled_by
    texts = {"cause": outcome.cause or "", "stdout": outcome.stdout, "stderr": outcome.stderr}
    cut_before = {"stdout": outcome.stdout_truncated, "stderr": outcome.stderr_truncated}
    share = limits.error_detail_bytes

    def document() -> bytes:
        shown: dict[str, Any] = dict(details)
        for key, text in texts.items():
            if not text and key == "cause":
                continue
            kept = end_of(text, share)
            shown[key] = kept
            if kept != text or cut_before.get(key):
                shown[f"{key}_truncated"] = True
        error = StageError(
            run_id=manifest.run_id,
            task_id=manifest.task_id,
            command_index=entry.index,
            command_id=end_of(entry.id, min(share, _SHORT_TEXT_BYTES)),
            command=end_of(entry.command or "", min(share, _SHORT_TEXT_BYTES)),
            reason=reason,
            details=shown,
            created_at=created_at,
        )
        return dumps(to_json(error)).encode()

    body = document()
    while len(body) > limits.error_file_bytes and share > 0:
        # Several texts share the room, so take off what is too much and look again.
        share = min(share - 1, share * limits.error_file_bytes // len(body))
        body = document()
    return body


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
