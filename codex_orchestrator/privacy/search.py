"""Many runs of bytes looked for at once: as fast for thousands as for a hundred, and faster for a few.

Of each run, four bytes that follow each other are looked for, its window. For a hundred runs that is done by
classes: the text is translated so that one fixed string stands for all windows. For more of them, the text
is taken as numbers of four bytes each, and these are looked up: one in every four bytes of the text, which is
why of each run all four windows are known that may be there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice

from codex_orchestrator.privacy.forms import LONG_RUN, Run

_WINDOW = 4
# A run of so many bytes holds a whole number, wherever it begins.
_NUMBER_RUN = LONG_RUN
# From so many runs on, looking up numbers is faster.
_MANY = 100
# So many runs may have a window of bytes in common before another one is looked for.
_SHARED = 8
# So many places of a run are tried for a window, and no more.
_TRIED = 24
# What is most frequent in ordinary output comes first; what is missing here is rare.
_BY_FREQUENCY = b" etaoinsrldcpumhfgby./_-0123456789:vkwx,()'\"=TSEACRPINODLMFBjzqGUHVWKYXJZQ"
_FREQUENCY = bytes(
    len(_BY_FREQUENCY) - _BY_FREQUENCY.index(byte) if byte in _BY_FREQUENCY else 0 for byte in range(256)
)

# Searching a row by itself takes as long as searching so many bytes.
_ROW_PAYS = 2_048

Found = tuple[int, Run]


class Search:
    """Runs to look for."""

    def __init__(self, runs: Sequence[Run]) -> None:
        many = [run for run in runs if len(run.text) >= _NUMBER_RUN] if len(runs) > _MANY else []
        left = [run for run in runs if len(run.text) < _NUMBER_RUN] if many else list(runs)
        self._numbers = _Numbers(many) if many else None
        self._tables: list[_Table] = []
        # Those whose bytes are too much alike for a window.
        single = [run for run in left if len(set(run.text)) < _WINDOW]
        left = [run for run in left if len(set(run.text)) >= _WINDOW]
        while left:
            table = _Table()
            rest = [run for run in left if not table.take(run)]
            if len(rest) == len(left):
                # No four bytes that follow each other differ.
                single += rest
                break
            self._tables.append(table)
            left = rest
        self._single = [(run, run.form.pattern(run)) for run in single]
        for table in self._tables:
            table.close()

    def places(self, text: bytes) -> Iterator[Found]:
        """Where runs are, perhaps: of each a part is there."""
        for table in self._tables:
            yield from table.places(text)
        if self._numbers is not None:
            yield from self._numbers.places(text)
        for run, pattern in self._single:
            match = pattern.search(text)
            while match is not None:
                yield match.start(), run
                match = pattern.search(text, match.start() + 1)


class Within:
    """Runs that are in long rows of certain bytes only, such as digits: all else need not be searched."""

    def __init__(self, runs: Callable[[], Sequence[Run]], row: bytes, least: int) -> None:
        """Make it ready.

        Args:
            runs: What to look for; asked when there is such a row.
            row: The bytes that rows are made of.
            least: How many of them there are around each run, at least.
        """
        self._runs = runs
        self._alike = bytes(1 if byte in row else 0 for byte in range(256))
        self._row = bytes([1]) * least
        self._least = least

    def places(self, text: bytes) -> Iterator[Found]:
        """Where runs are."""
        rows = list(islice(self._rows(text), len(text) // _ROW_PAYS + 1))
        if len(rows) > len(text) // _ROW_PAYS:
            yield from self._search.places(text)
            return
        for start, end in rows:
            for place, run in self._search.places(text[start:end]):
                yield start + place, run

    @cached_property
    def _search(self) -> Search:
        return Search(self._runs())

    def _rows(self, text: bytes) -> Iterator[tuple[int, int]]:
        alike = text.translate(self._alike)
        start = alike.find(self._row)
        while start >= 0:
            end = alike.find(b"\0", start + self._least)
            end = len(text) if end < 0 else end
            yield start, end
            start = alike.find(self._row, end)


class _Table:
    """Runs whose windows fit into four classes of bytes: the first ones, the second ones, and so on."""

    def __init__(self) -> None:
        self._classes: dict[int, int] = {}
        self._by_window: dict[bytes, list[tuple[int, Run]]] = {}
        self._codes = b""

    def take(self, run: Run) -> bool:
        """Take a run, if a window of it fits."""
        offset = self._best(run.text)
        if offset is None:
            return False
        window = run.text[offset : offset + _WINDOW]
        self._classes.update({byte: place for place, byte in enumerate(window, start=1)})
        self._by_window.setdefault(window, []).append((offset, run))
        return True

    def close(self) -> None:
        self._codes = bytes(self._classes.get(byte, 0) for byte in range(256))

    def places(self, text: bytes) -> Iterator[Found]:
        by_window = self._by_window
        for place in _occurrences(text.translate(self._codes), bytes(range(1, _WINDOW + 1))):
            for offset, run in by_window.get(text[place : place + _WINDOW], ()):
                if place >= offset and text.startswith(run.text, place - offset):
                    yield place - offset, run

    def _best(self, text: bytes) -> int | None:
        """Where the window is that fits the classes, and is the least like ordinary output."""
        classes = self._classes
        best: tuple[int, int] | None = None
        for offset in range(min(_TRIED, len(text) - _WINDOW + 1)):
            window = text[offset : offset + _WINDOW]
            known = [classes.get(byte) for byte in window]
            if all(at is None or at == place for place, at in enumerate(known, start=1)) and (
                len(set(window)) == _WINDOW
            ):
                cost = sum(_FREQUENCY[byte] for byte, at in zip(window, known, strict=True) if at is None)
                if best is None or cost < best[0]:
                    best = cost, offset
        return best[1] if best is not None else None


class _Numbers:
    """Runs of which every window is known."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._by_number: dict[int, list[tuple[int, Run]]] = {}
        for run in runs:
            text = run.text
            offset = self._free(text)
            for place in range(offset, offset + _WINDOW):
                self._by_number.setdefault(_number(text, place), []).append((place, run))
        self._known = frozenset(self._by_number)

    def _free(self, text: bytes) -> int:
        """Where in a run the bytes are that few others have been looked for by, and that are rare."""
        offset = _rarest(text)
        if self._crowd(text, offset) < _SHARED:
            return offset
        offsets = range(0, len(text) - _NUMBER_RUN + 1, max(1, len(text) // _TRIED))
        return min(offsets, key=lambda each: self._crowd(text, each))

    def _crowd(self, text: bytes, offset: int) -> int:
        """How many runs are looked for by the windows from a place on, at most by one of them."""
        numbers = (_number(text, place) for place in range(offset, offset + _WINDOW))
        return max(len(self._by_number.get(number, ())) for number in numbers)

    def places(self, text: bytes) -> Iterator[Found]:
        numbers = struct.unpack_from(f"<{len(text) // _WINDOW}I", text)
        if self._known.isdisjoint(numbers):
            return
        known, by_number = self._known, self._by_number
        for index in [index for index, number in enumerate(numbers) if number in known]:
            place = index * _WINDOW
            for offset, run in by_number[numbers[index]]:
                if place >= offset and text.startswith(run.text, place - offset):
                    yield place - offset, run


def _number(text: bytes, place: int) -> int:
    return int.from_bytes(text[place : place + _WINDOW], "little")


def _rarest(text: bytes) -> int:
    """Where in a run the bytes are that are the least like ordinary output."""
    last = len(text) - _NUMBER_RUN
    ranks = text.translate(_FREQUENCY)
    offsets = range(0, last + 1, max(1, last // 2))
    return min(offsets, key=lambda offset: sum(ranks[offset : offset + _NUMBER_RUN]))


def _occurrences(text: bytes, part: bytes) -> Iterator[int]:
    place = text.find(part)
    while place >= 0:
        yield place
        place = text.find(part, place + 1)
