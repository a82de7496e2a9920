"""Output without the escape sequences of terminals, and where its bytes come from."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

# Colours, the most by far; cursor moves, character sets, and other short ones.
_SHORT_PATTERN = rb"\x1b(?:\[[0-9;:]*m|\[[0-?]*[ -/]*[@-~]|[()*+][ -~]|[ -/]*[0-OQ-WYZ\\`-~])"
# Titles and links, which may hold secrets themselves.
_LONG_PATTERN = rb"\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"
_SHORT = re.compile(_SHORT_PATTERN)
_ALL = re.compile(_SHORT_PATTERN + rb"|" + _LONG_PATTERN)
_COLOURS = re.compile(rb"\x1b\[[0-9;:]*m")


class View:
    """Bytes with some of them left out.

    Attributes:
        text: What is left.
    """

    def __init__(self, raw: bytes, left_out: re.Pattern[bytes] | None = None) -> None:
        self._raw = raw
        self._left_out = left_out
        self.text = left_out.sub(b"", raw) if left_out is not None else raw

    @cached_property
    def _pieces(self) -> tuple[list[int], list[int]]:
        """Where each piece of the text begins in it, and how much was left out before it."""
        starts: list[int] = []
        gaps: list[int] = []
        gap = 0
        for match in self._left_out.finditer(self._raw) if self._left_out else ():
            starts.append(match.start() - gap)
            gap += match.end() - match.start()
            gaps.append(gap)
        return starts, gaps

    def raw_start(self, place: int) -> int:
        """Where the byte at ``place`` of the text is in what it was made of."""
        starts, gaps = self._pieces
        known = bisect_right(starts, place)
        return place + gaps[known - 1] if known else place

    def raw_end(self, place: int) -> int:
        """Where the byte before ``place`` of the text ends there."""
        return self.raw_start(place - 1) + 1 if place else 0


def views(raw: bytes) -> Iterator[View]:
    """The bytes as a person sees them; where links and titles are in them, with these and without."""
    if b"\x1b" not in raw:
        yield View(raw)
        return
    view = View(raw, _SHORT)
    yield view
    if b"\x1b" in view.text:
        yield View(raw, _ALL)


def colours(raw: bytes) -> bytes:
    """The sequences that set colours: what is taken out must not leave the rest in them."""
    return b"".join(_COLOURS.findall(raw)) if b"\x1b" in raw else b""
