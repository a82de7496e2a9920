"""Where secrets are in output: bytes in, places out (docs/reference/privacy.md, "What is found")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from codex_orchestrator.dataclass import dataclass

from .policy import Action, PrivacyPolicy
from .values import Values
from .views import LINES_BYTES, wrapped_from
from .words import find_clues, find_value

# The longest line that is looked at as a whole, and so the most that is ever held back of one.
LINE_BYTES = 4_096
# The longest private key that is looked for an end of; one of 16384 bits is a fifth of it.
BLOCK_BYTES = 65_536

_KEY_END = rb"PRIVATE KEY(?: BLOCK)?-----"
_BLOCK_BEGIN = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}" + _KEY_END, re.IGNORECASE)
_BLOCK_END = re.compile(rb"-----END [A-Z0-9 ]{0,40}" + _KEY_END, re.IGNORECASE)
# What follows the first line of a key and not a mention of it: a header line, or much base64.
# The last form is for what puts the time or a name before each line.
_BLOCK_BODY = re.compile(
    rb"(?:\\+[nrt]|[^A-Za-z0-9+/\\]){0,64}"
    rb"(?:[A-Za-z0-9+/]{16}|(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):)"
    rb"|[\s\S]{0,160}?[A-Za-z0-9+/]{40}",
    re.IGNORECASE,
)
# A body that has only just begun.
_BODY_BEGUN = re.compile(rb"(?:\\+[nrt]|\s){0,64}([A-Za-z0-9+/]{1,15})(?:\\+[nr]|[\r\n]){0,8}\Z")
_WORD_END = re.compile(rb"\s")

_KEY_ID = re.compile(rb"A[KS]IA(?<![A-Z0-9]....)[A-Z0-9]{16,112}")


_REASONS = {
    "private-key": "private key",
    "aws-key-id": "AWS key id",
    "sensitive-token": "value after a word that says secret",
    "environment-value": "value of a secret environment variable",
}


def reason_of(rule: str) -> str:
    """Why a rule takes what it matches, in words."""
    return _REASONS.get(rule, "rule of this project")


class Hit(NamedTuple):
    """Where a secret is, and by which rule.

    One that touches the end of what is known goes on until ``until`` matches.
    """

    start: int
    end: int
    rule: str
    action: Action
    until: re.Pattern[bytes] | None = None

    @property
    def is_key(self) -> bool:
        """Whether it is a private key of which the end is still to come."""
        return self.until is _BLOCK_END


@dataclass(frozen=True)
class Found:
    """What is in a piece of output.

    Attributes:
        hits: Secrets, in the order of their places, none overlapping another.
        held: From where on the piece may hold the beginning of one of several lines, at most its length.
    """

    hits: list[Hit]
    held: int


class Finder:
    """The rules of a policy, ready to be used."""

    def __init__(self, policy: PrivacyPolicy) -> None:
        self._values = Values(policy.secrets)
        self._rules = [(rule.name, re.compile(rule.pattern.encode()), rule.action) for rule in policy.rules]

    def find(self, text: bytes) -> Found:
        """The secrets in ``text``, which holds no escape sequences."""
        clues = find_clues(text)
        hits, held = _blocks(text) if clues.marks else ([], len(text))
        if clues.ends:
            hits += _named(text, clues.ends)
        if clues.key_ids:
            hits += _key_ids(text)
        if self._values:
            hits += self.values(text)
            held = min(held, self._values.begun(text), wrapped_from(text))
        if self._rules:
            hits += self._custom(text)
        return Found(merged(hits) if hits else hits, held)

    @property
    def looks_for_values(self) -> bool:
        """Whether there are values to look for."""
        return bool(self._values)

    def values(self, text: bytes) -> Iterator[Hit]:
        """The values of secrets in ``text``."""
        for start, end in self._values.places(text):
            yield Hit(start, end, "environment-value", "redact")

    def _custom(self, text: bytes) -> Iterator[Hit]:
        for start, line in _lines(text):
            for name, pattern, action in self._rules:
                for match in pattern.finditer(line):
                    if match.end() > match.start():
                        yield Hit(
                            start + match.start(),
                            start + match.end(),
                            name,
                            action,
                            _until(text, start + match.end()),
                        )


def _blocks(text: bytes) -> tuple[list[Hit], int]:
    """Private keys, and from where on the text may hold one that cannot be told yet."""
    hits = []
    begin = _BLOCK_BEGIN.search(text)
    while begin is not None:
        end = _BLOCK_END.search(text, begin.end(), begin.end() + BLOCK_BYTES)
        if end is not None:
            hits.append(Hit(begin.start(), end.end(), "private-key", "block"))
        elif _BLOCK_BODY.match(text, begin.end()):
            hits.append(Hit(begin.start(), len(text), "private-key", "block", _BLOCK_END))
            break
        elif len(text) - begin.start() < LINES_BYTES:
            return hits, begin.start()
        begin = _BLOCK_BEGIN.search(text, end.end() if end else begin.end())
    return hits, len(text)


def begun_key(text: bytes, held: int) -> Iterator[Hit]:
    """The first bytes of a private key at the end of a text, too few to tell that they are that."""
    for begin in _BLOCK_BEGIN.finditer(text, held):
        body = _BODY_BEGUN.match(text, begin.end())
        if body is not None:
            yield Hit(*body.span(1), "private-key", "block")


def _key_ids(text: bytes) -> Iterator[Hit]:
    for match in _KEY_ID.finditer(text):
        yield Hit(*match.span(), "aws-key-id", "redact", _until(text, match.end()))


def _named(text: bytes, ends: list[int]) -> Iterator[Hit]:
    """What follows ``secret:``, ``password=`` and the like."""
    reached = 0
    for end in ends:
        # What stands within a value is a part of it, and looking at it again could take for ever.
        value = find_value(text, end) if end >= reached else None
        if value is not None:
            reached = value.reaches
            yield Hit(value.start, value.end, "sensitive-token", "redact", _until(text, value.reaches))


def _until(text: bytes, end: int) -> re.Pattern[bytes] | None:
    """A word that touches the end of the text may go on."""
    return _WORD_END if end == len(text) else None


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines and where they begin; long ones in pieces, each of which holds half of the one before."""
    start = 0
    for line in text.split(b"\n"):
        for piece in range(0, max(1, len(line) - LINE_BYTES // 2), LINE_BYTES // 2):
            yield start + piece, line[piece : piece + LINE_BYTES]
        start += len(line) + 1


def merged(hits: list[Hit]) -> list[Hit]:
    """The same places, none overlapping another: a block counts for more than what is in it."""
    result: list[Hit] = []
    for hit in sorted(hits, key=lambda each: (each.start, -each.end)):
        last = result[-1] if result else None
        if last is None or hit.start >= last.end:
            result.append(hit)
            continue
        named = hit if hit.action == "block" and last.action != "block" else last
        longer = hit if hit.end > last.end else last
        result[-1] = Hit(last.start, longer.end, named.rule, named.action, longer.until)
    return result
