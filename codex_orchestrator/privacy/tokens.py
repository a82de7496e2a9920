"""Long words that are tokens: found among all long words, which are few, by how they begin.

What is long enough is found without looking at each byte: all that a token is made of becomes one letter, and
a run of that letter is searched for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from codex_orchestrator.privacy import looks
from codex_orchestrator.privacy.rules import Rule

# The shortest token is a key id of AWS: four letters and sixteen.
LEAST_BYTES = 20
_RUN = b"a" * LEAST_BYTES
_BREAK = b"\0"
_TOKEN_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_CODES = bytes(97 if code in _TOKEN_BYTES else 0 for code in range(256))
# From here on a word without quotation marks may be more than a name.
_LONG_BYTES = 60
# Most words are shorter.
_NEAR_BYTES = 64
# As much as may stand before what follows a literal.
_BEFORE_BYTES = 96
# Where a literal is at least as long, long words are looked up by its beginning.
PREFIX_BYTES = 3

_WORD_END = re.compile(rb"[^A-Za-z0-9_-]")

Area = tuple[int, int]
Match = tuple[int, int, Rule]


class Compiled:
    """A rule that is compiled when it is first needed: most never are."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """What the rule looks for."""
        return re.compile(self.rule.pattern.encode())

    @cached_property
    def before(self) -> re.Pattern[bytes]:
        """What stands before that."""
        return re.compile(b"(?:%b)$" % self.rule.before.encode())

    def taken(self, match: re.Match[bytes] | None) -> tuple[int, int] | None:
        """The secret in what was matched, where it looks like one."""
        if match is None:
            return None
        group = "value" if "value" in self.pattern.groupindex else 0
        return match.span(group) if looks.suffices(match[group], self.rule.least) else None


class Tokens:
    """Rules for long words."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._beginning: dict[bytes, list[Compiled]] = {}
        self._single: dict[bytes, list[Compiled]] = {}
        self._preceded: dict[bytes, list[tuple[bytes, Compiled]]] = {}
        self._whole: dict[int, list[Compiled]] = {}
        for rule in rules:
            compiled = Compiled(rule)
            for literal in (each.encode() for each in rule.literals):
                if rule.place == "precedes":
                    self._preceded.setdefault(literal[-1:], []).append((literal, compiled))
                elif len(literal) < PREFIX_BYTES:
                    _add(self._single, literal[:1], compiled)
                else:
                    _add(self._beginning, literal[:PREFIX_BYTES], compiled)
            for length in rule.lengths:
                self._whole.setdefault(length, []).append(compiled)

    def find(self, text: bytes, areas: Iterable[Area], others: Callable[[int, int], None]) -> Iterator[Match]:
        """Tokens in a text.

        Args:
            text: What to look through.
            areas: Where; words that are in one in part are looked at as a whole.
            others: Told of long words that are no tokens, by where they begin and end: of those in quotation
                marks, and of very long ones.
        """
        reached = 0
        for first, last in areas:
            if last > reached:
                start, reached = _word_start(text, max(reached, first)), _word_end(text, last)
                yield from self._within(text, start, reached, others)

    def _within(
        self, text: bytes, first: int, last: int, others: Callable[[int, int], None]
    ) -> Iterator[Match]:
        runs = text[first:last].translate(_CODES)
        # The loop that output with long words pays for: look-ups first, calls where these have found.
        find, beginning, single, preceded, whole = (
            runs.find,
            self._beginning,
            self._single,
            self._preceded,
            self._whole,
        )
        place = find(_RUN)
        while place >= 0:
            end = find(_BREAK, place + LEAST_BYTES) + first
            place += first
            if end < first:
                end = last
            before = text[place - 1 : place]
            start = place + 1 if before == b"\\" else place + 2 if before == b"%" else place
            found = None
            if text[start : start + PREFIX_BYTES] in beginning:
                found = _first(beginning[text[start : start + PREFIX_BYTES]], text, start)
            elif before in preceded:
                found = _following(preceded[before], text, place)
            if found is None and end - start in whole:
                found = _whole(whole[end - start], text, start, end)
            if found is None and text[start : start + 1] in single:
                found = _first(single[text[start : start + 1]], text, start)
            if found is not None:
                yield found
                end = max(end, found[1])
            elif before == b'"' or end - place >= _LONG_BYTES:
                others(place, end)
            place = find(_RUN, end - first)


def _word_start(text: bytes, place: int) -> int:
    """Where the word begins that goes on at a place, or the place."""
    if not place or text[place - 1] not in _TOKEN_BYTES:
        return place
    near = max(0, place - _NEAR_BYTES)
    before = text[near:place].translate(_CODES).rfind(_BREAK)
    return near + before + 1 if before >= 0 else text[:place].translate(_CODES).rfind(_BREAK) + 1


def _word_end(text: bytes, place: int) -> int:
    if place == len(text):
        return place
    end = _WORD_END.search(text, place)
    return end.start() if end is not None else len(text)


def _add(index: dict[bytes, list[Compiled]], key: bytes, compiled: Compiled) -> None:
    known = index.setdefault(key, [])
    if compiled not in known:
        known.append(compiled)


def _first(likely: list[Compiled], text: bytes, start: int) -> Match | None:
    for each in likely:
        span = each.taken(each.pattern.match(text, start))
        if span is None:
            continue
        if each.rule.before:
            before = each.before.search(text, max(0, start - _BEFORE_BYTES), start)
            if before is None:
                continue
            return before.start(), span[1], each.rule
        return (*span, each.rule)
    return None


def _following(likely: list[tuple[bytes, Compiled]], text: bytes, place: int) -> Match | None:
    for literal, each in likely:
        if text.startswith(literal, place - len(literal)):
            before = each.before.search(text, max(0, place - _BEFORE_BYTES), place)
            span = each.taken(each.pattern.match(text, place)) if before is not None else None
            if before is not None and span is not None:
                return before.start("value" if "value" in each.before.groupindex else 0), span[1], each.rule
    return None


def _whole(likely: list[Compiled], text: bytes, start: int, end: int) -> Match | None:
    for each in likely:
        span = each.taken(each.pattern.fullmatch(text, start, end))
        if span is not None:
            return (*span, each.rule)
    return None
