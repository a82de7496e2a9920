"""Regular expressions of the configuration, on an engine that takes time in proportion to what it reads.

Python's own goes back on its steps, and the guard looks through all output (docs/reference/privacy.md,
"Your own rules").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, cast

from codex_orchestrator.errors import UsageError

# The group that is replaced where a pattern has it, so that what stands around it stays.
VALUE_GROUP = b"value"
_EMPTY_AT = (b"", b"a", b" ", b"\n", b"a b")
MISSING = "needs google-re2, which is not installed"
INSTALL = 'Install it with: pip install "codex-orchestrator[privacy]"'


class Match(Protocol):
    """Where a pattern matches, as in `re`."""

    def span(self, group: int | str = 0, /) -> tuple[int, int]:
        """Where a group is; -1 twice where it took no part."""


class Pattern(Protocol):
    """A compiled pattern, as in `re`."""

    @property
    def groupindex(self) -> Mapping[bytes, int]:
        """The numbers of named groups."""

    def finditer(self, text: bytes, /) -> Iterator[Match]:
        """All places that match, in their order."""

    def search(self, text: bytes, pos: int = 0, /) -> Match | None:
        """The first place that matches, from a place on."""


class _Refused(Exception):
    """Why an expression is not taken."""


def compile_pattern(pattern: str) -> Pattern:
    """A pattern ready to be used on bytes.

    Raises:
        UsageError: google-re2 is not installed: doing without the rule would show what it is to hide.
    """
    try:
        return _compiled(pattern)
    except ImportError:
        raise UsageError(f"A pattern of `privacy.rules` {MISSING}.", hint=INSTALL) from None


def fast_pattern(pattern: str) -> Pattern | None:
    """A pattern of ours that is there for speed alone, or None where google-re2 is not installed."""
    try:
        return _compiled(pattern)
    except ImportError:
        return None


def pattern_problem(pattern: str) -> str | None:
    """Why a regular expression cannot be a rule of the guard, or None where it can."""
    if not pattern.isascii():
        return "holds characters beyond ASCII, and output is bytes: write these as \\xNN"
    try:
        compiled = _compiled(pattern)
    except ImportError:
        return f"{MISSING}. {INSTALL}"
    except _Refused as refused:
        return f"is no regular expression of RE2: {refused}"
    if any(
        start == end for text in _EMPTY_AT for start, end in (each.span() for each in compiled.finditer(text))
    ):
        return "matches the empty text"
    return None


def _compiled(pattern: str) -> Pattern:
    import re2  # Few projects have rules of their own.

    options = re2.Options()
    # It would write to stderr what it raises as well.
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        return cast("Pattern", re2.compile(pattern.encode(), options))
    except re2.error as error:
        reason = error.args[0] if error.args else "it cannot be read"
        raise _Refused(
            reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        ) from None
