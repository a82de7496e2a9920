"""Which of the many points a session tries, and what it says of those where something was wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from .processes import side_by_side

_SHOWN = 20


class Points:
    """A choice of points: all of them, one by its name, or a sample that is always the same."""

    def __init__(self, asked: str) -> None:
        self._asked = asked

    @property
    def whole(self) -> bool:
        """Whether all points are tried."""
        return self._asked == "all"

    def of(self, every: Sequence, sample: Sequence, size: int) -> list:
        """Those to try.

        Args:
            every: All of them; their texts are their names.
            sample: Those that are worth most.
            size: How many of these to take, evenly spread, where no more was asked for.
        """
        if self.whole:
            return list(every)
        if self._asked:
            return [point for point in every if str(point) == self._asked] or pytest.skip(
                "FAULTS names another"
            )
        count = min(size, len(sample))
        return [sample[place * len(sample) // count] for place in range(count)]

    @staticmethod
    def tried(points: Sequence, work: Callable[[object], list[str]]) -> None:
        """Fail with what ``work`` finds wrong at each point."""
        found = dict(zip(points, side_by_side(work, points), strict=True))
        wrong = {str(point): problems for point, problems in found.items() if problems}
        shown = [f"{name}: {'; '.join(problems)}" for name, problems in list(wrong.items())[:_SHOWN]]
        assert not wrong, "\n".join([f"{len(wrong)} of {len(points)} points:", *shown])
