"""Where in output a closer look pays: one pass over all of it, by an engine that knows all rules at once.

That engine is google-re2, which an installation may lack, and which takes longer to load than a few megabytes
take to be looked through without it. Until then all of a text is worth a closer look.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from codex_orchestrator.model.patterns import Pattern, fast_pattern
from codex_orchestrator.privacy.keys import LONG_WORD_CLUES
from codex_orchestrator.privacy.rules import Rule
from codex_orchestrator.privacy.tokens import LEAST_BYTES, PREFIX_BYTES, Area
from codex_orchestrator.privacy.words import WORD_CLUES

# From here on, loading and compiling have paid for themselves.
PAYS_BYTES = 2_000_000
# A look into a short text takes as long as a search of it.
_SHORT_BYTES = 2_048
# Around what was found, so that whoever looks closer sees what the words before and after it are.
_BEFORE_BYTES = 8
_AFTER_BYTES = 64
# Where there is one in so many bytes, looking at all of them takes no longer, and so it is with what follows.
_DENSE_BYTES = 1_024
_PAUSE_BYTES = 500_000

_TOKEN = "[A-Za-z0-9_-]"
# Where a long word begins, also after an escaped character.
_BEGIN = r"(?:\A|[^A-Za-z0-9_-]|\\.|%..)"
_LOOK_AROUND = re.compile(r"\(\?<?[=!](?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)")
_REPEATED = re.compile(r"\{(\d+),\d+\}")


class Areas:
    """What finds the areas of a text that may hold something."""

    def __init__(self, long_words: Sequence[Rule], places: Sequence[Rule], pays_bytes: int) -> None:
        """Make it ready.

        Args:
            long_words: Rules for long words.
            places: Rules for what stands at certain places.
            pays_bytes: After how many bytes the engine is loaded.
        """
        self._long_words = long_words
        self._places = places
        self._until_it_pays = pays_bytes

    def of(self, text: bytes) -> list[Area]:
        """Where to look closer, in their order and none touching another: clues elsewhere lead to nothing."""
        if self._until_it_pays > 0:
            self._until_it_pays -= len(text)
        elif len(text) >= _SHORT_BYTES and self._pattern is not None:
            return self._found(self._pattern, text)
        return [(0, len(text))]

    def _found(self, pattern: Pattern, text: bytes) -> list[Area]:
        areas: list[Area] = []
        most = len(text) // _DENSE_BYTES
        for count, (start, end) in enumerate(_spans(pattern, text)):
            first, last = max(0, start - _BEFORE_BYTES), min(len(text), end + _AFTER_BYTES)
            if count == most:
                self._until_it_pays = _PAUSE_BYTES
                last = len(text)
            if areas and first <= areas[-1][1]:
                areas[-1] = areas[-1][0], max(areas[-1][1], last)
            else:
                areas.append((first, last))
            if count == most:
                break
        return areas

    @cached_property
    def _pattern(self) -> Pattern | None:
        begins: dict[int, list[str]] = {}
        ways = [WORD_CLUES, LONG_WORD_CLUES]
        preceded: list[str] = []
        for rule in self._long_words:
            for literal in rule.literals:
                if len(literal) >= PREFIX_BYTES and rule.place == "precedes":
                    preceded.append(re.escape(literal))
                elif len(literal) >= PREFIX_BYTES:
                    begins.setdefault(len(literal), []).append(re.escape(literal))
            if rule.place == "precedes" and min(map(len, rule.literals)) < PREFIX_BYTES:
                preceded.append(_loose(rule.before))
            elif rule.place == "whole" or min(map(len, rule.literals)) < PREFIX_BYTES:
                ways.append((_loose(rule.before) or _BEGIN) + _loose(rule.pattern))
        ways += [
            f"{_BEGIN}(?:{'|'.join(literals)}){_TOKEN}{{{max(0, LEAST_BYTES - length)}}}"
            for length, literals in begins.items()
        ]
        ways.append(f"(?:{'|'.join(preceded)}){_TOKEN}{{{LEAST_BYTES}}}")
        ways += [_loose(rule.pattern) for rule in self._places]
        return fast_pattern("|".join(ways))


def _spans(pattern: Pattern, text: bytes) -> Iterator[Area]:
    match = pattern.search(text)
    while match is not None:
        yield match.span()
        # What begins within it may be longer.
        match = pattern.search(text, match.span()[0] + 1)


def _loose(pattern: str) -> str:
    """A pattern in the engine's dialect that matches wherever this one does, whatever is around it."""
    return _REPEATED.sub(r"{\1,}", _LOOK_AROUND.sub("", pattern).replace("(?P<value>", "(?:"))
