"""Task ids, run ids and file slugs (docs/reference/files.md, "Identifiers").

Ids become folder names, so they are refused and never repaired.
"""

from __future__ import annotations

import os
import re

from codex_orchestrator.clock import parse_timestamp, timestamp
from codex_orchestrator.errors import UsageError
from codex_orchestrator.text import is_hidden

_RESERVED = ("local-mcp", "latest")
_FORBIDDEN = '/\\<>:"|?*'
_MAX_BYTES = 128
_RUN_ID = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}-[0-9]{3}Z-[0-9a-f]{8}")
_SLUG_LENGTH = 80
_RUN_ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z-[0-9a-f]{8}")


def id_problem(value: str) -> str | None:
    """Why ``value`` cannot be a task or run id, or None where it can."""
    if not value:
        return "it is empty"
    if len(value.encode("utf-8", "surrogatepass")) > _MAX_BYTES:
        return f"it is longer than {_MAX_BYTES} bytes"
    if value.startswith("."):
        return "it starts with '.'"
    if is_hidden(value):
        return "it contains a control character"
    for character in _FORBIDDEN:
        if character in value:
            return f"it contains {character!r}"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "it is not valid Unicode"
    if value in _RESERVED:
        return f"{value!r} is reserved"
    return None


def is_run_id(value: str) -> bool:
    """Whether an id is of the form that ours have, so that it tells when its run began; see `new_run_id`."""
    return _RUN_ID.fullmatch(value) is not None


def check_id(value: str, *, name: str) -> str:
    """``value`` itself, if it can be an id.

    Args:
        value: The id to check.
        name: What the message calls it, such as ``task ID`` or ``MCP_RUNNER_TASK_ID``.

    Raises:
        UsageError: The id is empty, too long, reserved or could name a path outside its folder.
    """
    problem = id_problem(value)
    if problem is not None:
        raise UsageError(f'Invalid {name} "{value}": {problem}.')
    return value


def new_run_id(now: float) -> str:
    """A fresh run id, such as ``2026-11-21T02-44-32-979Z-6f1e3102``; it sorts by time."""
    moment = timestamp(now).replace(":", "-").replace(".", "-")
    return f"{moment}-{os.urandom(4).hex()}"


def born(run_id: str) -> float | None:
    """When a run id was made, in seconds since the epoch; None where it is not of our form."""
    if _RUN_ID.fullmatch(run_id) is None:
        return None
    day, hour, minute, second, rest = run_id[:10], *run_id[11:].split("-", 3)
    return parse_timestamp(f"{day}T{hour}:{minute}:{second}.{rest[:3]}Z")


def slug(value: str, *, fallback: str = "command") -> str:
    """``value`` with each run of characters other than ASCII letters and digits as one ``-``."""
    text = re.sub(r"[^A-Za-z0-9]+", "-", value).strip("-")[:_SLUG_LENGTH]
    return text or fallback


def stage_file_stem(index: int, stage_id: str) -> str:
    """The stem of a stage's files, such as ``03-test``; ``index`` counts from 1."""
    return f"{index:02d}-{slug(stage_id)}"
