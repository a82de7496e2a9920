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
# Line ends that programs put into base64 and hexadecimal.
_WRAPPED_AT = 32
_WRAPPED = rb"[A-Za-z0-9+/]{%d}" % _WRAPPED_AT
# What may stand within a value without being a part of it, each after a byte without which it is not there:
# marks of no width, C1 forms of sequences (other letters have their byte, too), letters printed twice.
_UNSEEN = (
    (b"\x1b", _ALL),
    (b"\xe2", re.compile(rb"\xe2\x80[\x8b-\x8f\xaa-\xae]")),
    (b"\xe2", re.compile(rb"\xe2\x81\xa0")),
    (b"\xef", re.compile(rb"\xef\xbb\xbf")),
    (b"\xc2", re.compile(rb"\xc2\xad")),
    (b"\xc2", re.compile(rb"\xc2\x9b[0-?]*[ -/]*[@-~]")),
    (b"\x9b", re.compile(rb"\x9b(?<![\x80-\xff]\x9b)[0-?]*[ -/]*[@-~]")),
    (b"\b", re.compile(rb"[^\n]\x08|\x08")),
)
_UNSEEN_BYTES = b"\r\t\0"
_UNSEEN_BYTE = re.compile(rb"[\r\t\0]")
# As they are, and as JSON has them.
_LINE_ENDS = tuple(
    re.compile(rb"%b(?<=%b%b)" % (written, _WRAPPED, written)) for written in (rb"\n", rb"\\n", rb"\\r\\n")
)
_WRAPPED_LINE = re.compile(_WRAPPED + rb"\r?\Z")
_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_DIGITS_ALIKE = bytes(0 if byte in _DIGITS else byte or 1 for byte in range(256))
# The most that is held back of several lines.
LINES_BYTES = 4_096


class View:
    """Bytes with some of them left out.

    Attributes:
        text: What is left.
    """

    def __init__(
        self, raw: bytes | View, left_out: re.Pattern[bytes] | None = None, text: bytes | None = None
    ) -> None:
        """Leave out what a pattern matches.

        Args:
            raw: The bytes, or another view of them.
            left_out: The pattern.
            text: What is left, where that is known.
        """
        self._below = raw if isinstance(raw, View) else None
        self._raw: bytes = raw.text if isinstance(raw, View) else raw
        self._left_out = left_out
        if text is None:
            text = left_out.sub(b"", self._raw) if left_out is not None else self._raw
        self.text: bytes = text

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left out."""
        return self._left_out is None and self._below is None

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
        if self._left_out is not None:
            starts, gaps = self._pieces
            known = bisect_right(starts, place)
            place += gaps[known - 1] if known else 0
        return place if self._below is None else self._below.raw_start(place)

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
    seen = view = View(raw)
    for needed, pattern in _UNSEEN:
        if needed in raw and pattern.search(view.text):
            view = View(view, pattern)
            # Without escape sequences, and with all else, others look at it.
            seen = view if needed == b"\x1b" else seen
    if any(byte in raw for byte in _UNSEEN_BYTES):
        view = View(view, _UNSEEN_BYTE, view.text.translate(None, _UNSEEN_BYTES))
    if _has_rows(view.text):
        for pattern in _LINE_ENDS:
            if pattern.search(view.text):
                view = View(view, pattern)
    return view if view is not seen else None


def _has_rows(text: bytes) -> bool:
    """Whether there are as many digits together as a line of base64 or hexadecimal has."""
    return bytes(_WRAPPED_AT) in text.translate(_DIGITS_ALIKE)


def wrapped_from(text: bytes) -> int:
    """Where lines of base64 or hexadecimal begin that may go on after the end of the text, or its length."""
    begin = len(text)
    line_end = text.rfind(b"\n")
    while line_end >= 0 and _WRAPPED_LINE.search(text, max(0, line_end - 40), line_end):
        line = text.rfind(b"\n", 0, line_end) + 1
        begin = line + len(text[line:line_end].rstrip(_DIGITS + b"=\r"))
        if begin > line or len(text) - begin > LINES_BYTES:
            break
        line_end = line - 1
    return begin


def colours(raw: bytes) -> bytes:
    """The sequences that set colours: what is taken out must not leave the rest in them."""
    return b"".join(_COLOURS.findall(raw)) if b"\x1b" in raw else b""
