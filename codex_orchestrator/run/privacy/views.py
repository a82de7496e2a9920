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
# What a person does not see within a value, and what programs put into long ones: C1 forms of sequences
# (behind whole characters only, as others hold these bytes), letters that are printed twice, marks of no
# width, and line ends in base64 and hexadecimal, also as JSON has them.
_WRAPPED = rb"[A-Za-z0-9+/_-]{32}"
_LINE_END = re.compile(rb"\n(?:(?<=%b\n)|(?<=%b\r\n))" % (_WRAPPED, _WRAPPED))
_WRITTEN_LINE_END = re.compile(rb"\\n(?:(?<=%b\\n)|(?<=%b\\r\\n))" % (_WRAPPED, _WRAPPED))
_UNSEEN_BYTES = b"\r\t\0"
_UNSEEN_MARKS = (b"\xe2\x80", b"\xe2\x81\xa0", b"\xef\xbb\xbf", b"\xc2\xad", b"\x9b", b"\b")
_SQUEEZED = re.compile(
    b"|".join(
        (
            rb"[\r\t\0]|[^\n]\x08|\x08",
            rb"\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81\xa0|\xef\xbb\xbf|\xc2\xad",
            rb"(?:\xc2|(?<![\x80-\xff]))\x9b[0-?]*[ -/]*[@-~]",
            _LINE_END.pattern,
            rb"(?:\\r)?" + _WRITTEN_LINE_END.pattern,
            _SHORT_PATTERN,
            _LONG_PATTERN,
        )
    )
)
_WRAPPED_LINE = re.compile(_WRAPPED + rb"\r?\Z")
_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-\r"
# The most that is held back of several lines.
LINES_BYTES = 2_048


class View:
    """Bytes with some of them left out.

    Attributes:
        text: What is left.
    """

    def __init__(
        self, raw: bytes, left_out: re.Pattern[bytes] | None = None, text: bytes | None = None
    ) -> None:
        self._raw = raw
        self._left_out = left_out
        if text is None:
            text = left_out.sub(b"", raw) if left_out is not None else raw
        self.text = text

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


def squeezed(raw: bytes) -> View | None:
    """The bytes without what may stand within a value and is none of it; None where all may be of one."""
    if _LINE_END.search(raw) or any(mark in raw for mark in _UNSEEN_MARKS) or _WRITTEN_LINE_END.search(raw):
        return View(raw, _SQUEEZED)
    if all(byte not in raw for byte in _UNSEEN_BYTES):
        return None
    # Tabs are frequent.
    return View(raw, _SQUEEZED, None if b"\x1b" in raw else raw.translate(None, _UNSEEN_BYTES))


def wrapped_from(text: bytes) -> int:
    """Where lines of base64 or hexadecimal begin that may go on after the end of the text, or its length."""
    begin = len(text)
    line_end = text.rfind(b"\n")
    while line_end >= 0 and _WRAPPED_LINE.search(text, max(0, line_end - 40), line_end):
        line = text.rfind(b"\n", 0, line_end) + 1
        begin = line + len(text[line:line_end].rstrip(_DIGITS))
        if begin > line or len(text) - begin > LINES_BYTES:
            break
        line_end = line - 1
    return begin


def colours(raw: bytes) -> bytes:
    """The sequences that set colours: what is taken out must not leave the rest in them."""
    return b"".join(_COLOURS.findall(raw)) if b"\x1b" in raw else b""
