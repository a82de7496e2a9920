"""Private keys: blocks of lines between marks, also where a mark is missing or all of it is encoded again."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from codex_orchestrator.privacy.views import LINES_BYTES

# The longest private key that is looked for an end of; one of 16384 bits is a fifth of it.
BLOCK_BYTES = 65_536
_GAP = rb"(?: |\+|%20)"
_BEFORE_KEY = re.compile(
    rb"(?P<dashes>-{4,5}|(?:%%2[dD]){4,5}) ?(?P<what>BEGIN|END)%b(?:[A-Z0-9]{1,24}%b){0,4}PRIVATE%b$"
    % (_GAP, _GAP, _GAP),
    re.IGNORECASE,
)
_AFTER_KEY = re.compile(rb"KEY(?:%bBLOCK)?(?:-----| ----|(?:%%2[dD]){5})" % _GAP, re.IGNORECASE)
_MARK_BYTES = 96
# The shortest keys of a piece of output have half as many; more are not looked at one by one.
_MOST_MARKS = 1_000
_PRIVATE = re.compile(rb"PRIVATE%bKEY" % _GAP, re.IGNORECASE)
_DASHES_BYTES = 16
BLOCK_END = re.compile(
    rb"(?:-{4,5}|(?:%%2[dD]){4,5}) ?END%b[A-Z0-9 +%%]{0,48}PRIVATE%bKEY(?:%bBLOCK)?"
    rb"(?:-----| ----|(?:%%2[dD]){5})" % (_GAP, _GAP, _GAP),
    re.IGNORECASE,
)
# What follows the first line of a key and not a mention of it: a header line, or base64.
_BODY = re.compile(
    # A program that speaks of the line has it in quotation marks.
    rb"(?![\"'`][\s:,;)\]])(?:%0[aAdD]|\\+[nrt]|[^A-Za-z0-9+/\\]){0,64}"
    rb"(?:[A-Za-z0-9+/]{16}|(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):)",
    re.IGNORECASE,
)
# A body that has only just begun.
_BODY_BEGUN = re.compile(rb"(?:\\+[nrt]|\s){0,64}([A-Za-z0-9+/]{1,15})(?:\\+[nr]|[\r\n]){0,8}\Z")
# Behind the time or a name that something puts before each line.
_LONG_BYTES = 40
_LONG_LINE = re.compile(rb"[A-Za-z0-9+/]{%d}" % _LONG_BYTES)
_BODY_WITHIN = 160

PUTTY_END = re.compile(rb"Private-(?:MAC|Hash): ?[0-9a-f]{40,64}")
_PUTTY = b"PuTTY-User-Key-File-"

# "PRIVATE KEY" in base64, at each of three offsets.
_ENCODED = (b"UFJJVkFURSBLRV", b"BSSVZBVEUgS0VZ", b"QUklWQVRFIEtFW")
ENCODED_END = re.compile(rb"[^A-Za-z0-9+/=\r\n]|=[\r\n]|\n[A-Za-z0-9+/]{0,19}[^A-Za-z0-9+/=]")
_ENCODED_BODY = re.compile(rb"[A-Za-z0-9+/]*={0,2}(?:\r?\n[A-Za-z0-9+/]{20,}={0,2})*")
_LEAST_ENCODED = 60
# In long words, for a search of all of a text by RE2: such a key, and the private part of a JSON web key.
LONG_WORD_CLUES = (
    "|".join(each.decode() for each in _ENCODED)
    + r"|\"(?:d|p|q|dp|dq|qi|k)\\{0,4}\"[ \t]{0,4}:[ \t]{0,4}\\{0,4}\"[A-Za-z0-9_-]{20}"
)

# A line of a body, and what may stand before each.
_BODY_LINE = re.compile(rb"(?:^|(?<=\n))[^\S\n]*[A-Za-z0-9+/]{1,76}={0,2}\r?(?:\n|\Z)")
_FULL_LINE = re.compile(rb"(?:[^\S\n]*)[A-Za-z0-9+/]{60,76}\r?")
_PGP_SUM = re.compile(rb"=[A-Za-z0-9+/]{4}\r?")
_JWK = re.compile(rb"\\{0,4}\"(?:d|p|q|dp|dq|qi|(?P<symmetric>k))\\{0,4}\"[ \t]{0,4}:[ \t]{0,4}\\{0,4}\"$")
_LEAST_JWK = 42


class Block(NamedTuple):
    """A private key, or the part of one that is known.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        until: What it goes on to, where its end is still to come.
    """

    start: int
    end: int
    until: re.Pattern[bytes] | None = None


class _Mark(NamedTuple):
    start: int
    end: int
    begins: bool


class Keys:
    """Private keys in one text, of which no part is looked at again and again.

    Attributes:
        held: From where on the text may hold a key that cannot be told yet, at most its length.
    """

    def __init__(self, text: bytes) -> None:
        self.held = len(text)
        self._text = text
        self._long_line = -1

    def blocks(self, places: list[int]) -> Iterator[Block]:
        """Keys between marks.

        Args:
            places: Where the last word of a mark may be.
        """
        if len(places) > _MOST_MARKS and len(_PRIVATE.findall(self._text)) > _MOST_MARKS:
            yield Block(places[0], places[-1])
            places = places[-1:]
        yield from self._between_marks(places)

    def _between_marks(self, places: list[int]) -> Iterator[Block]:
        marks = [mark for place in places if (mark := self._mark(place)) is not None]
        ends = deque(mark for mark in marks if not mark.begins)
        begins = deque([*(mark.start for mark in marks if mark.begins), len(self._text)])
        reached = 0
        for mark in marks:
            if mark.start < reached:
                continue
            if not mark.begins:
                start = self._headless(mark.start, reached)
                reached = mark.end
                if start < mark.start:
                    yield Block(start, mark.end)
                continue
            while begins[0] <= mark.start:
                begins.popleft()
            while ends and ends[0].start < mark.end:
                ends.popleft()
            end = self._end_of(mark, begins[0], ends[0] if ends else None)
            if end is not None:
                reached = end
                yield Block(mark.start, end)
            elif self._has_body(mark.end, begins[0]):
                yield Block(mark.start, len(self._text), BLOCK_END)
                return
            elif begins[0] == len(self._text) and begins[0] - mark.start < LINES_BYTES:
                self.held = mark.start
                return

    def _end_of(self, begin: _Mark, next_begin: int, end: _Mark | None) -> int | None:
        """Where a key ends that begins with a mark; None where that is not known, or it is a mention."""
        if end is None or end.start > begin.end + BLOCK_BYTES:
            return None
        # Where another first line comes before the end, only a body tells that both belong to keys.
        return end.end if end.start < next_begin or self._has_body(begin.end, next_begin) else None

    def begun(self, places: list[int], held: int) -> Iterator[tuple[int, int]]:
        """The first bytes of a body at the end of the text, of a key that begins at ``held`` or after it."""
        for place in places:
            mark = self._mark(place)
            if mark is not None and mark.begins and mark.start >= held:
                body = _BODY_BEGUN.match(self._text, mark.end)
                if body is not None:
                    yield body.span(1)

    def putty(self, places: list[int]) -> Iterator[Block]:
        """Keys in PuTTY's own form."""
        reached = 0
        for place in places:
            start = place - len("PuTTY-User-")
            if start < reached or not self._text.startswith(_PUTTY, start):
                continue
            end = PUTTY_END.search(self._text, start, start + BLOCK_BYTES)
            if end is None:
                yield Block(start, len(self._text), PUTTY_END)
                return
            reached = end.end()
            yield Block(start, reached)

    def encoded(self, start: int, end: int) -> Block | None:
        """A key of which all is in base64 once more, in a long word."""
        text = self._text
        if end - start < _LEAST_ENCODED or not any(text.find(each, start, end) >= 0 for each in _ENCODED):
            return None
        while start and text[start - 1 : start] in {b"+", b"/"}:
            start -= 1
        body = _ENCODED_BODY.match(text, start, start + BLOCK_BYTES)
        last = body.end() if body is not None else end
        return Block(start, last, ENCODED_END if last == len(text) else None)

    def of_jwk(self, start: int, end: int) -> Block | None:
        """The private part of a JSON web key, in a long word."""
        if self._text[start - 1 : start] != b'"':
            return None
        name = _JWK.search(self._text, max(0, start - 24), start)
        if name is None or end - start < (_LEAST_JWK if not name["symmetric"] else 22):
            return None
        if name["symmetric"] and self._text.find(b'"kty"', max(0, start - 512), end + 512) < 0:
            return None
        return Block(start, end)

    def hold_body(self) -> None:
        """Hold what may be a body without its first line: lines of base64 at the end of the text."""
        text = self._text
        line_end = text.rfind(b"\n")
        least = max(0, len(text) - LINES_BYTES)
        start = len(text) if line_end < 0 else line_end + 1
        held = len(text)
        while line_end > least:
            start = text.rfind(b"\n", 0, line_end) + 1
            if start < least or _FULL_LINE.fullmatch(text, start, line_end) is None:
                if (
                    start >= least
                    and held == len(text)
                    and _BODY_LINE.match(text, start)
                    and line_end - start > 4
                ):
                    line_end = start - 1
                    held = start
                    continue
                break
            held = start
            line_end = start - 1
        if held < len(text) and _FULL_LINE.match(text, held):
            self.held = min(self.held, held)

    def _mark(self, place: int) -> _Mark | None:
        window = self._text[max(0, place - _MARK_BYTES) : place].upper()
        what = max(window.rfind(b"BEGIN"), window.rfind(b"END"))
        if what < 0:
            return None
        before = _BEFORE_KEY.search(self._text, max(0, place - len(window) + what - _DASHES_BYTES), place)
        after = _AFTER_KEY.match(self._text, place)
        if before is None or after is None:
            return None
        return _Mark(before.start(), after.end(), before["what"][:1] in b"Bb")

    def _has_body(self, end: int, limit: int) -> bool:
        if _BODY.match(self._text, end, limit):
            return True
        if self._long_line < end:
            match = _LONG_LINE.search(self._text, end)
            self._long_line = match.start() if match else len(self._text)
        return self._long_line <= end + _BODY_WITHIN and self._long_line + _LONG_BYTES <= limit

    def _headless(self, mark: int, reached: int) -> int:
        """Where the lines of base64 begin that stand right before a mark of a key's end."""
        text = self._text
        start = mark
        least = max(reached, mark - BLOCK_BYTES)
        while start > least:
            line = text.rfind(b"\n", least, start - 1) + 1
            line = max(line, least)
            content = text[line : start - 1]
            if len(content) > 96 or not (
                _BODY_LINE.match(text, line) or _PGP_SUM.fullmatch(content) or not content.strip()
            ):
                break
            start = line
        return start
