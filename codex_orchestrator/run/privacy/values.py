"""Many values looked for at once: as fast for a hundred as for a few.

Of each value four bytes that follow each other are looked for, by their classes: first, second, third and
fourth ones. Classes are codes in a translated text, in which one fixed string stands for all values. A value
whose bytes others have put into other classes is looked for by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_WINDOW = 4
# So many are first looked at one by one: mostly the text lacks one of the rarest bytes of each.
_FEW = 8
_RAREST = 3
# Looking for so many by themselves takes as long as looking for all together.
_MOST_SINGLE = 2
# What is most frequent in ordinary output comes first; what is missing here is rare.
_BY_FREQUENCY = b" etaoinsrldcpumhfgby./_-0123456789:vkwx,()'\"=TSEACRPINODLMFBjzqGUHVWKYXJZQ"


class Values:
    """Values to look for."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self._rarest = {
            value: [byte.to_bytes() for byte in sorted(set(value), key=_frequency)[:_RAREST]]
            for value in values
        }
        # Those that no window fits.
        self._single: list[bytes] = []
        self._by_window: dict[bytes, list[tuple[int, bytes]]] = {}
        classes: dict[int, int] = {}
        for value in values:
            offset = _best_window(value, classes)
            if offset is None:
                self._single.append(value)
                continue
            window = value[offset : offset + _WINDOW]
            classes.update({byte: place for place, byte in enumerate(window, start=1)})
            self._by_window.setdefault(window, []).append((offset, value))
        self._codes = bytes(classes.get(byte, 0) for byte in range(256))
        self._window = bytes(range(1, _WINDOW + 1))

    def places(self, text: bytes) -> Iterator[tuple[int, bytes]]:
        """Where values are, and which."""
        few = list(self._rarest) if len(self._rarest) <= _FEW else self._single
        likely = [value for value in few if self._may_hold(text, value)]
        together = few is self._single or len(likely) > _MOST_SINGLE
        for value in self._single if together else likely:
            yield from ((place, value) for place in _occurrences(text, value))
        if together and self._by_window:
            yield from self._places_together(text)

    def _places_together(self, text: bytes) -> Iterator[tuple[int, bytes]]:
        for place in _occurrences(text.translate(self._codes), self._window):
            for offset, value in self._by_window.get(text[place : place + _WINDOW], ()):
                if place >= offset and text.startswith(value, place - offset):
                    yield place - offset, value

    def _may_hold(self, text: bytes, value: bytes) -> bool:
        # One byte is searched for at the speed of memory, several are not.
        return all(byte in text for byte in self._rarest[value])


def _occurrences(text: bytes, part: bytes) -> Iterator[int]:
    place = text.find(part)
    while place >= 0:
        yield place
        place = text.find(part, place + 1)


def _best_window(value: bytes, classes: dict[int, int]) -> int | None:
    """Where the four bytes are that fit the classes, and are the least like ordinary output."""
    best: tuple[int, int] | None = None
    for offset in range(len(value) - _WINDOW + 1):
        window = value[offset : offset + _WINDOW]
        fits = len(set(window)) == _WINDOW and all(
            classes.get(byte, place) == place for place, byte in enumerate(window, start=1)
        )
        cost = sum(_frequency(byte) for byte in window if byte not in classes)
        if fits and (best is None or cost < best[0]):
            best = cost, offset
    return best[1] if best is not None else None


def _frequency(byte: int) -> int:
    """How often a byte comes up in ordinary output: the more, the larger."""
    place = _BY_FREQUENCY.find(byte)
    return len(_BY_FREQUENCY) - place if place >= 0 else 0
