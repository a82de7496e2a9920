"""The guard over one stream: bytes in, bytes out, secrets replaced however they are cut.

What could be the beginning of a secret is held back: the last line while it is unfinished, and several lines
where a value or a key of several lines has begun; never longer than `HOLD_SECONDS`, and not many bytes
(docs/reference/privacy.md, "Limits"). Time comes from outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from codex_orchestrator.privacy.finding import (
    BLOCK_BYTES,
    LINE_BYTES,
    Finder,
    Hit,
    begun_key,
    merged,
    reason_of,
)
from codex_orchestrator.privacy.policy import Action, Mode
from codex_orchestrator.privacy.views import LINES_BYTES, View, colours, squeezed, views
from codex_orchestrator.privacy.words import REDACTED

HOLD_SECONDS = 0.1
# How much of a line, or of what may become a key, stays known when it had to go: so that the second half of a
# secret is still one.
_CONTEXT_BYTES = LINES_BYTES
# The longest mark of a key's end.
_MARK_BYTES = 96


class Decision(NamedTuple):
    """What was found, without what it was."""

    rule: str
    action: Action
    reason: str


class StreamGuard:
    """Replaces secrets in a stream, or, in shadow mode, only says that they are there."""

    def __init__(self, finder: Finder, mode: Mode) -> None:
        self._finder = finder
        self._shadow = mode == "shadow"
        self._held = b""
        # The end of a line that had to go before it was whole, as it was.
        self._context = b""
        # What is being left out, and how much of it has been.
        self._within: Hit | None = None
        self._left_out = 0
        self._mark = b""
        self._decisions: list[Decision] = []
        # Which of the bytes held came when: by the place in the stream that they reach to.
        self._arrivals: deque[tuple[int, float]] = deque()
        self._total = 0

    @property
    def due(self) -> float | None:
        """When `expire` must be called, by the clock that `feed` is told; None where nothing is held."""
        if self._shadow or not self._held or not self._arrivals:
            return None
        return self._arrivals[0][1] + HOLD_SECONDS

    @property
    def held_bytes(self) -> int:
        """How much is held back."""
        return 0 if self._shadow else len(self._held)

    def feed(self, data: bytes, now: float) -> bytes:
        """Take what was read; the answer is what may go on."""
        self._total += len(data)
        self._arrivals.append((self._total, now))
        passed = self._advance(self._held + data)
        if self._shadow:
            return data
        self._forget_arrivals()
        return passed

    def expire(self, now: float) -> bytes:
        """What has been held for as long as it may be; what came later stays for its own time."""
        first = self._total - len(self._held)
        free = max((end - first for end, time in self._arrivals if time + HOLD_SECONDS <= now), default=0)
        passed = self._advance(self._held, free=free, goes_on=True)
        self._forget_arrivals()
        return b"" if self._shadow else passed

    def flush(self) -> bytes:
        """What is held: the stream is at its end."""
        passed = self.whole(self._held)
        self._arrivals.clear()
        return b"" if self._shadow else passed

    def whole(self, data: bytes) -> bytes:
        """All of a stream at once."""
        return self._advance(data, free=len(data))

    def take_decisions(self) -> list[Decision]:
        """What was found since this was last asked."""
        taken, self._decisions = self._decisions, []
        return taken

    def _forget_arrivals(self) -> None:
        while self._arrivals and self._arrivals[0][0] <= self._total - len(self._held):
            self._arrivals.popleft()

    def _advance(self, data: bytes, *, free: int = 0, goes_on: bool = False) -> bytes:
        """What may go on of the data.

        Args:
            data: What was held and what came.
            free: How many bytes of it must not be held any longer.
            goes_on: Whether that is so although more may come.
        """
        passed = []
        if self._within is not None:
            free -= len(data)
            kept, data = self._leave_out(self._within, data)
            free += len(data)
            passed.append(kept)
        self._held = b""
        if data:
            passed.append(self._filtered(data, free, goes_on=goes_on))
        return b"".join(passed)

    def _leave_out(self, within: Hit, data: bytes) -> tuple[bytes, bytes]:
        """Go on leaving out; what stays of it, and what comes after it."""
        data = self._mark + data
        self._mark = b""
        end = _end_of(within, data)
        most = max(0, BLOCK_BYTES - self._left_out)
        if end is None and len(data) <= most:
            # The mark of a key's end may be cut as well.
            seen = max(0, len(data) - _MARK_BYTES) if within.is_key else len(data)
            self._mark = data[seen:]
            self._left_out += seen
            return colours(data[:seen]), b""
        end = most if end is None else end
        self._within = None
        return colours(data[:end]), data[end:]

    def _filtered(self, data: bytes, free: int, *, goes_on: bool) -> bytes:
        """What may go on of the data; the rest is held."""
        raw = self._context + data if self._context else data
        start = len(self._context)
        hits, held = self._search(raw, goes_on=goes_on)
        cut = max(start + max(0, free), self._cut(raw, held))
        last = hits[-1] if hits else None
        if last is not None and last.until is not None and (last.start < cut or last.is_key):
            self._within = last
            cut = len(raw)
            self._mark = raw[max(last.start, cut - _MARK_BYTES) :] if last.is_key else b""
            self._left_out = cut - last.start - len(self._mark)
        parts: list[bytes] = []
        place = start
        for hit in hits:
            if hit.start >= cut:
                break
            if hit.end <= start:
                continue  # It is part of what was let go.
            cut = max(cut, hit.end)
            parts += (raw[place : hit.start], REDACTED, colours(raw[max(place, hit.start) : hit.end]))
            place = hit.end
            self._decisions.append(Decision(hit.rule, hit.action, reason_of(hit.rule)))
        self._held = raw[cut:]
        known = min(held, raw.rfind(b"\n", 0, cut) + 1)
        self._context = b"" if self._within else raw[max(known, cut - _CONTEXT_BYTES) : cut]
        return b"".join([*parts, raw[place:cut]]) if parts else raw[start:cut]

    def _search(self, raw: bytes, *, goes_on: bool) -> tuple[list[Hit], int]:
        """The secrets in the bytes, and from where on they hold what may become one of several lines.

        Where they go on, but cannot wait for it, the first bytes of a key are taken for one.
        """
        hits: list[Hit] = []
        held = len(raw)
        for view in views(raw):
            found = self._finder.find(view.text)
            if found.held < len(view.text):
                held = min(held, view.raw_start(found.held))
            hits += _placed(found.hits, view)
            if goes_on:
                hits += _placed(begun_key(view.text, found.held), view)
        dense = squeezed(raw) if self._finder.looks_for_values else None
        if dense is not None:
            hits += _placed(self._finder.values(dense.text), dense)
        return (merged(hits) if goes_on or dense is not None or b"\x1b" in raw else hits), held

    def _cut(self, raw: bytes, held: int) -> int:
        """Up to where nothing can become a secret, or must not be held all the same."""
        line = raw.rfind(b"\n") + 1
        if held < line:
            return max(held, len(raw) - LINES_BYTES)
        return max(line, len(raw) - LINE_BYTES)


def _placed(hits: Iterable[Hit], view: View) -> Iterable[Hit]:
    """Hits in a view by their places in what it is of."""
    if view.is_whole:
        return hits
    return [hit._replace(start=view.raw_start(hit.start), end=view.raw_end(hit.end)) for hit in hits]


def _end_of(within: Hit, data: bytes) -> int | None:
    """Where what is left out ends: a key with its mark, a word before what ends it."""
    if within.until is None:
        return 0
    for view in views(data):
        match = within.until.search(view.text)
        if match is not None:
            return view.raw_end(match.end() if within.is_key else match.start())
    return None
