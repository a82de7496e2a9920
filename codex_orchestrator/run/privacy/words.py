"""Words that say what follows them, and where its value is: ``password: hunter2`` and the like.

All output is looked through here, so it is done in one search, in which classes of characters stand for
characters: three letters of each word, and of what key ids begin with, are of the same three classes, of
which the first is rare.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .policy import LEAST_CHARACTERS

REDACTED = b"[REDACTED]"
_QUOTED_BYTES = 1_024


def _coded(classes: Mapping[int, str]) -> bytes:
    codes = bytearray(range(256))
    for code, characters in classes.items():
        codes[code] = 0
        for character in characters:
            codes[ord(character)] = code
    return bytes(codes)


# SECret, passWORd, toKEN and KEY, in either case; aKIA and aSIA in upper case only.
_CODES = _coded({1: "kwsKWS", 2: "eoEOI", 3: "rcnyRCNYA", 4: "\"'`\\]-", 5: ":=", 6: " \t"})
# What may follow a word: a separator, perhaps after spaces; or the mark of a key, whose second word is BLOCK.
_FOLLOWED = rb"(?:[\x04\x05]|\x06+(?:\x05|[Bb][Ll]))"
# ken, key; word; secret; or the rest of an id.
_CANDIDATE = re.compile(
    rb"\x01\x02\x03(?:%b|[Dd]%b|\x03\x02[Tt]%b|[\x01-\x03A-Z0-9]{16})" % (_FOLLOWED, _FOLLOWED, _FOLLOWED)
)
_LENGTHS = {ord("k"): 3, ord("w"): 4, ord("s"): 6}
_WORDS = (
    b"secret",
    b"password",
    b"token",
    *(
        first + space + b"key"
        for first in (b"api", b"access", b"secret")
        for space in (b"", b" ", b"_", b"-")
    ),
)
_LONGEST_WORD = max(map(len, _WORDS))
_KEY_MARK = re.compile(rb"(?: block)?-----", re.IGNORECASE)
_NEEDED = (b":", b"=", b"-", b"I")
_KEY_IDS = (b"AKIA", b"ASIA")

# Two colons lead on to a name, as in `token::parse`.
_SEPARATOR = re.compile(rb"(\\*[\"'`])?\]?[ \t]{0,16}(?:=>|:=|==|=|:(?!:))[ \t]{0,64}")
_QUOTED = re.compile(
    rb"(?P<quote>\\*[\"'`])(?=[^\s,;)\]}&|+])(?P<value>(?:\\.|(?!(?P=quote))[^\n]){1,%d}?)(?P=quote)"
    % _QUOTED_BYTES
)
_UNQUOTED = re.compile(rb"\\*[\"'`]?(?P<value>\S+)")
_JSON_LITERAL = re.compile(rb"(?P<value>\[REDACTED\]|[^\s,}\]\"']{6,})")
_QUOTES = (b'"', b"'", b"`", b"\\")
_CLOSING = b"\"'`,;)]}>\\"


class Clues(NamedTuple):
    """Where words end that say secret, and whether marks of keys and key ids may be there."""

    ends: list[int]
    marks: bool
    key_ids: bool


class Value(NamedTuple):
    """Where a value is; ``reaches`` is where what it was taken from ends."""

    start: int
    end: int
    reaches: int


def find_clues(text: bytes) -> Clues:
    """What in a text makes it worth a closer look."""
    ends: list[int] = []
    marks = key_ids = False
    # One byte is searched for at the speed of memory.
    if not any(byte in text for byte in _NEEDED):
        return Clues(ends, marks, key_ids)
    for match in _CANDIDATE.finditer(text.translate(_CODES)):
        start = match.start()
        end = start + _LENGTHS[text[start] | 0x20]
        if text[max(0, end - _LONGEST_WORD) : end].lower().endswith(_WORDS):
            ends.append(end)
        elif _KEY_MARK.match(text, end):
            marks = True
        elif text.startswith(_KEY_IDS, start - 1):
            key_ids = True
    return Clues(ends, marks, key_ids)


def find_value(text: bytes, end: int) -> Value | None:
    """The value after a word that ends at ``end``, or None where there is none long enough."""
    separator = _SEPARATOR.match(text, end)
    if separator is None:
        return None
    start = separator.end()
    match = _QUOTED.match(text, start)
    if match is not None:
        long_enough = len(b"".join(match["value"].split())) >= LEAST_CHARACTERS
        return Value(*match.span("value"), -1) if long_enough and match["value"] != REDACTED else None
    if separator[1] and text[start : start + 1] not in _QUOTES:
        match = _JSON_LITERAL.match(text, start)
    else:
        match = _UNQUOTED.match(text, start)
    if match is None or match.end() - start < LEAST_CHARACTERS or _is_redacted(match["value"]):
        return None
    value = match["value"].rstrip(_CLOSING)
    length = len(value) if len(value) >= LEAST_CHARACTERS else len(match["value"])
    return Value(match.start("value"), match.start("value") + length, match.end())


def _is_redacted(value: bytes) -> bool:
    """Whether another guard was here."""
    return value.startswith(REDACTED) and not value.removeprefix(REDACTED).strip(_CLOSING)
