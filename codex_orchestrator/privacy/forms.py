"""The forms in which a value is looked for: as programs spell it, in base64 at each offset, in hexadecimal.

Of each form there is a run of bytes that no program writes in another way. Where one is in a text, the form
tells whether the rest of the value stands around it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from codex_orchestrator.privacy.spellings import PLAIN, Spellings, digit_spellings, encoded, spellings, wholes

_RUNS = re.compile(rf"{PLAIN}{{3,}}")
_TOKENS = re.compile(rf"({PLAIN}+)")
_BASE64_RUNS = re.compile(rb"[A-Za-z0-9]{4,}")
_BASE64_TOKENS = re.compile(r"([A-Za-z0-9]+)")
# Shorter numbers are in much output.
_DECIMALS = 8
_DECIMAL_RUNS = re.compile(rb"[0-9]{4,}")
# What base64 and hexadecimal are made of, also where their signs are written as in addresses and JSON.
DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=%\\&#;"
# Many runs can be looked for at once where they are as long as this; of shorter ones so many are looked for.
LONG_RUN = 7
_MOST_SHORT = 100
# A run may be that of so many values.
_SHARED = 8
# Where a value may be spelled in several ways, so many are followed at once.
_MOST_PLACES = 16

_DIGIT = rb"(?:[A-Za-z0-9+/_-]|%2[BbFf]|\\/|\\u002[BbFf])"
_DIGIT_BEFORE = re.compile(_DIGIT + rb"\Z")
_DIGIT_AFTER = re.compile(_DIGIT)
# What ends base64: padding, with the rest of a line end that `echo` has added before it, or that rest alone.
_BASE64_END = re.compile(rb"[A-Za-z0-9+/_-]{0,2}(?:=|%3[Dd]|\\u003[Dd]){1,2}|K(?![A-Za-z0-9+/_=-])")

Span = tuple[int, int]
Token = bytes | Spellings
Sides = tuple[list[Token], list[Token]]


class Run(NamedTuple):
    """A part of a form that is always written like this, from ``start`` on in it."""

    form: Form
    start: int
    text: bytes


class Form:
    """A value as bytes."""

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

    def pattern(self, run: Run) -> re.Pattern[bytes]:
        """What finds a run, as far as one can tell by the bytes beside it."""
        return re.compile(re.escape(run.text))

    def _spelled(self, text: bytes, place: int, run: Run) -> Span | None:  # noqa: ARG002
        """Where it is, but not byte for byte."""
        return None


class _Stretched(Form):
    """A value of which some characters may be written in other ways."""

    def _spelled(self, text: bytes, place: int, run: Run) -> Span | None:
        before, after = self._sides
        begin = _begin_of(before, text, place)
        end = _end_of(after, text, place + len(run.text)) if begin is not None else None
        return (begin, end) if begin is not None and end is not None else None

    def pattern(self, run: Run) -> re.Pattern[bytes]:
        """What finds a run, as far as one can tell by the bytes beside it."""
        before, after = self._sides
        previous = before[-1] if before else None
        following = after[0] if after else None
        return re.compile(
            (b"(?<=%b)" % _any_of(previous.by_last) if isinstance(previous, Spellings) else b"")
            + re.escape(run.text)
            + (b"(?=%b)" % _any_of(following.by_first) if isinstance(following, Spellings) else b"")
        )

    @cached_property
    def _sides(self) -> Sides:
        return self._split()

    def _split(self) -> Sides:
        """What is before the run, and what is after it."""
        raise NotImplementedError


class Spelled(_Stretched):
    """A value as it is, or with some of its characters written in other ways."""

    def __init__(self, value: str, run: str) -> None:
        """Know it.

        Args:
            value: The value.
            run: A part of it that is always written like this.
        """
        self._value = value
        self._run = run
        super().__init__(encoded(value))

    def runs(self) -> Iterator[Run]:
        """The one that was given."""
        before = self._value[: self._value.index(self._run)]
        yield Run(self, len(encoded(before)), self._run.encode())

    def _split(self) -> Sides:
        before, _, after = self._value.partition(self._run)
        return _tokens(before, _TOKENS, spellings), _tokens(after, _TOKENS, spellings)


class Base64(_Stretched):
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

    def _split(self) -> Sides:
        (run,) = self.runs()
        before, after = self._canonical[: run.start], self._canonical[run.start + len(run.text) :]
        return (
            _tokens(before.decode(), _BASE64_TOKENS, digit_spellings),
            _tokens(after.decode(), _BASE64_TOKENS, digit_spellings),
        )


class Hexadecimal(Form):
    """A value as pairs of hexadecimal digits, in either case."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw.hex().encode())

    def runs(self) -> Iterator[Run]:
        """The longest without letters; without one, in each case."""
        match = max(_DECIMAL_RUNS.finditer(self._canonical), key=_length, default=None)
        if match is not None and len(match[0]) >= _DECIMALS:
            yield Run(self, match.start(), match[0])
        else:
            yield Run(self, 0, self._canonical)
            yield Run(self, 0, self._canonical.upper())

    def _spelled(self, text: bytes, place: int, run: Run) -> Span | None:
        start = place - run.start
        end = start + len(self._canonical)
        return (start, end) if start >= 0 and text[start:end].lower() == self._canonical else None


def written_forms(values: Iterable[str]) -> Iterator[Form]:
    """Values as they are, and with characters written in other ways."""
    runs = {value: set(_RUNS.findall(value)) for value in values}
    shared = Counter(chain.from_iterable(runs.values()))
    short = 0
    for value, own in runs.items():
        # The longest; but where one is in many values, it would lead to each of them.
        run = min(own, key=lambda run: (max(_SHARED, shared[run]), -len(run), run), default="")
        short += 0 < len(run) < LONG_RUN
        if not run:
            # Nothing of it stays as it is.
            yield from (Form(whole) for whole in dict.fromkeys(wholes(value)))
        elif shared[run] > _SHARED or (len(run) < LONG_RUN and short > _MOST_SHORT):
            yield Form(encoded(value))
        else:
            yield Spelled(value, run)


def digit_forms(values: Iterable[str]) -> Iterator[Form]:
    """Values in base64 and in hexadecimal."""
    for raw in map(encoded, values):
        for offset in range(3):
            yield Base64(raw, offset)
        yield Hexadecimal(raw)


def least_digits(value: str) -> int:
    """How many `DIGITS` each of the `digit_forms` has together, at least."""
    return 8 * len(encoded(value)) // 6 - 1


class Ending:
    """What a text ends with, however it is spelled.

    Attributes:
        last: The bytes that it may end with.
    """

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text, _TOKENS, spellings)
        last = self._tokens[-1] if self._tokens else b""
        self.last = set(last[-1:]) if isinstance(last, bytes) else set(last.by_last)

    def is_at(self, text: bytes, end: int) -> bool:
        """Whether a text has it up to a place."""
        return _begin_of(self._tokens, text, end) is not None


def _any_of(values: Iterable[int]) -> bytes:
    return b"[%b]" % b"".join(re.escape(bytes([value])) for value in values)


def _length(match: re.Match[bytes]) -> int:
    return match.end() - match.start()


def _tokens(text: str, runs: re.Pattern[str], of: Callable[[str], Spellings]) -> list[Token]:
    """A text as runs that stay as they are, and characters."""
    tokens: list[Token] = []
    for place, token in enumerate(runs.split(text)):
        if not place % 2:
            tokens += map(of, token)
        elif token:
            tokens.append(token.encode())
    return tokens


def _begin_of(tokens: list[Token], text: bytes, end: int) -> int | None:
    """Where tokens begin that end at a place of a text; None where they do not."""
    places = {end}
    for token in reversed(tokens):
        if isinstance(token, bytes):
            places = {place - len(token) for place in places if text.endswith(token, 0, place)}
        else:
            places = {
                place - len(spelling)
                for place in places
                if place
                for spelling in token.by_last.get(text[place - 1], ())
                if text.endswith(spelling, 0, place)
            }
        if len(places) > _MOST_PLACES:
            places = set(sorted(places)[-_MOST_PLACES:])
        if not places:
            return None
    return min(places)


def _end_of(tokens: list[Token], text: bytes, begin: int) -> int | None:
    """Where tokens end that begin at a place of a text; None where they do not."""
    places = {begin}
    for token in tokens:
        if isinstance(token, bytes):
            places = {place + len(token) for place in places if text.startswith(token, place)}
        else:
            places = {
                place + len(spelling)
                for place in places
                if place < len(text)
                for spelling in token.by_first.get(text[place], ())
                if text.startswith(spelling, place)
            }
        if len(places) > _MOST_PLACES:
            places = set(sorted(places)[:_MOST_PLACES])
        if not places:
            return None
    return max(places)
