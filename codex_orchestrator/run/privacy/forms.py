"""The forms in which a value is looked for: as programs spell it, in base64 at each offset, in hexadecimal.

Of each form there is a run of bytes that no program writes in another way. Where one is in a text, the form
tells whether the rest of the value stands around it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .spellings import PLAIN, encoded, spellings, wholes

LEAST_RUN = 4
_RUNS = re.compile(rf"{PLAIN}{{{LEAST_RUN},}}")
_TOKENS = re.compile(rf"({PLAIN}+)")
_BASE64_RUNS = re.compile(rb"[A-Za-z0-9]{4,}")
_BASE64_TOKENS = re.compile(r"([A-Za-z0-9]+)")
_DECIMAL_RUNS = re.compile(rb"[0-9]{4,}")
# Where a value may be spelled in several ways, so many are followed at once.
_MOST_PLACES = 16

_DIGIT = rb"(?:[A-Za-z0-9+/_-]|%2[BbFf]|\\/|\\u002[BbFf])"
_DIGIT_BEFORE = re.compile(_DIGIT + rb"\Z")
_DIGIT_AFTER = re.compile(_DIGIT)
# What ends base64: padding, with the rest of a line end that `echo` has added before it, or that rest alone.
_BASE64_END = re.compile(rb"[A-Za-z0-9+/_-]{0,2}(?:=|%3[Dd]|\\u003[Dd]){1,2}|K(?![A-Za-z0-9+/_=-])")

Span = tuple[int, int]
Written = Callable[[str], tuple[bytes, ...]]


class Run(NamedTuple):
    """A part of a form that is always written like this, from ``start`` on in it."""

    form: Form
    start: int
    text: bytes


class Form:
    """A value as bytes, each of which may be spelled in several ways."""

    def __init__(self, canonical: bytes) -> None:
        self._canonical = canonical

    def runs(self) -> Iterator[Run]:
        """What to look for; any of it leads to the form."""
        yield Run(self, 0, self._canonical)

    def around(self, text: bytes, place: int, run: Run) -> Span | None:
        """Where the form is in a text that has a run of it at a place."""
        start = place - run.start
        if start >= 0 and text.startswith(self._canonical, start):
            return start, start + len(self._canonical)
        return self._spelled(text, place, run)

    def _spelled(self, text: bytes, place: int, run: Run) -> Span | None:  # noqa: ARG002
        return None


class Spelled(Form):
    """A value as it is, or with some of its characters written in other ways."""

    def __init__(self, value: str) -> None:
        self._value = value
        super().__init__(encoded(value))

    def runs(self) -> Iterator[Run]:
        """The longest run."""
        longest = max(_RUNS.findall(self._value), key=len, default="")
        if longest:
            before = self._value[: self._value.index(longest)]
            yield Run(self, len(encoded(before)), longest.encode())

    def _spelled(self, text: bytes, place: int, run: Run) -> Span | None:
        at = self._value.index(run.text.decode())
        before, after = self._value[:at], self._value[at + len(run.text) :]
        return _stretched(
            text, (place, place + len(run.text)), _tokens(before, _TOKENS), _tokens(after, _TOKENS)
        )


class Base64(Form):
    """What base64 has of a value after 0, 1 or 2 other bytes, whatever these are and whatever follows."""

    def __init__(self, raw: bytes, offset: int) -> None:
        digits = b64encode(bytes(offset) + raw)
        bits = 8 * (offset + len(raw))
        self._offset = offset
        self._cut = bits % 6 != 0
        super().__init__(digits[(8 * offset + 5) // 6 : bits // 6])

    def runs(self) -> Iterator[Run]:
        """The longest run that both alphabets have."""
        match = max(_BASE64_RUNS.finditer(self._canonical), key=_length, default=None)
        if match is not None:
            yield Run(self, match.start(), match[0])
        else:
            yield from super().runs()

    def around(self, text: bytes, place: int, run: Run) -> Span | None:
        """Where it is, with the digits that it shares with what is around it."""
        found = super().around(text, place, run)
        if found is None:
            return None
        start, end = found
        if self._offset:
            shared = _DIGIT_BEFORE.search(text, max(0, start - 6), start)
            start = shared.start() if shared else start
        shared = _DIGIT_AFTER.match(text, end) if self._cut else None
        end = shared.end() if shared else end
        last = _BASE64_END.match(text, end)
        return start, last.end() if last else end

    def _spelled(self, text: bytes, place: int, run: Run) -> Span | None:
        before, after = self._canonical[: run.start], self._canonical[run.start + len(run.text) :]
        return _stretched(
            text,
            (place, place + len(run.text)),
            _tokens(before.decode(), _BASE64_TOKENS, _digits),
            _tokens(after.decode(), _BASE64_TOKENS, _digits),
        )


class Hexadecimal(Form):
    """A value as pairs of hexadecimal digits, in either case."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw.hex().encode())

    def runs(self) -> Iterator[Run]:
        """The longest without letters; without one, in each case."""
        match = max(_DECIMAL_RUNS.finditer(self._canonical), key=_length, default=None)
        if match is not None and len(match[0]) >= 2 * LEAST_RUN:
            yield Run(self, match.start(), match[0])
        else:
            yield Run(self, 0, self._canonical)
            yield Run(self, 0, self._canonical.upper())

    def _spelled(self, text: bytes, place: int, run: Run) -> Span | None:
        start = place - run.start
        end = start + len(self._canonical)
        return (start, end) if start >= 0 and text[start:end].lower() == self._canonical else None


def forms_of(value: str) -> Iterator[Form]:
    """All forms of a value."""
    raw = encoded(value)
    spelled = Spelled(value)
    if next(spelled.runs(), None) is None:
        # Nothing of it stays as it is.
        yield from (Form(whole) for whole in dict.fromkeys(wholes(value)))
    else:
        yield spelled
    for offset in range(3):
        yield Base64(raw, offset)
    yield Hexadecimal(raw)


def _length(match: re.Match[bytes]) -> int:
    return match.end() - match.start()


def _digits(digit: str) -> tuple[bytes, ...]:
    """What is one digit in both alphabets, in all spellings."""
    return (*spellings(digit), b"-" if digit == "+" else b"_")


def _tokens(text: str, runs: re.Pattern[str], written: Written = spellings) -> list[tuple[bytes, ...]]:
    """A text as runs and characters, each with its spellings."""
    tokens: list[tuple[bytes, ...]] = []
    for place, token in enumerate(runs.split(text)):
        if place % 2:
            tokens.append((token.encode(),))
        else:
            tokens += map(written, token)
    return tokens


def _stretched(
    text: bytes, span: Span, before: list[tuple[bytes, ...]], after: list[tuple[bytes, ...]]
) -> Span | None:
    """A place with what is before and after it; None where that is something else."""
    starts: set[int] = {span[0]}
    for token in reversed(before):
        starts = {
            place - len(written) for place in starts for written in token if text.endswith(written, 0, place)
        }
        if not starts:
            return None
        if len(starts) > _MOST_PLACES:
            starts = set(sorted(starts)[-_MOST_PLACES:])
    ends: set[int] = {span[1]}
    for token in after:
        ends = {
            place + len(written) for place in ends for written in token if text.startswith(written, place)
        }
        if not ends:
            return None
        if len(ends) > _MOST_PLACES:
            ends = set(sorted(ends)[:_MOST_PLACES])
    return min(starts), max(ends)
