"""Tokens that cite evidence in any text (docs/reference/command-line.md, "cite"). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.identifiers import id_problem

ROOT_DIGITS = 16
# All that a token may be made of, and what a text may go on with that is none of it.
_LIKE = re.compile(r"(?<![A-Za-z0-9])codex:(?!//)[A-Za-z0-9._~%#@/-]+", re.IGNORECASE)
_PART = "[A-Za-z0-9._~%-]+"
_WHOLE = re.compile(rf"codex:({_PART})/({_PART})(?:#({_PART}))?@([0-9a-f]{{{ROOT_DIGITS}}})")
_WORD = re.compile(r"[A-Za-z0-9_]|[^\x00-\x7f]")


@dataclass(frozen=True)
class Token:
    """What a token names.

    Attributes:
        task_id: The task.
        run_id: The run.
        stage_id: The stage; None for the run as a whole.
        root: How the root of the run's seal begins.
    """

    task_id: str
    run_id: str
    stage_id: str | None
    root: str

    @property
    def text(self) -> str:
        """As it is written."""
        stage = "" if self.stage_id is None else f"#{_escaped(self.stage_id)}"
        return f"codex:{_escaped(self.task_id)}/{_escaped(self.run_id)}{stage}@{self.root[:ROOT_DIGITS]}"


@dataclass(frozen=True)
class Citation:
    """Something in a text that is a token, or looks like one.

    Attributes:
        text: As it is written there.
        line: Where, counted from 1.
        token: What it names; None where it is no token as `cite` writes it.
    """

    text: str
    line: int
    token: Token | None


def citations(text: str) -> Iterator[Citation]:
    """All that is a token in a text, or was one before somebody cut it or wrote it otherwise."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _LIKE.finditer(line):
            written = match[0].rstrip(".-~")
            goes_on = _WORD.match(line, match.end()) is not None and written == match[0]
            if not set("/@") & set(written):
                continue  # A word with a colon.
            yield Citation(written, number, None if goes_on else _token(written))


def _token(written: str) -> Token | None:
    match = _WHOLE.fullmatch(written)
    if match is None:
        return None
    named = match.groups()[:3]
    task, run, stage = (None if part is None else unquote(part, errors="replace") for part in named)
    if task is None or run is None or id_problem(task) is not None or id_problem(run) is not None:
        return None
    token = Token(task, run, stage, match[4])
    return token if token.text == written else None  # One thing has one name.


def _escaped(name: str) -> str:
    return quote(name, safe="")
