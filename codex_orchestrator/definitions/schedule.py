"""What may run now: pure, and the same for every engine.

Rules: docs/reference/configuration.md, "Stages at once".
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from codex_orchestrator.definitions.graph import DEFAULT_CAPACITY, Work, topological_order


class ReadyQueue:
    """Hands out items as they may begin: the longest chain of followers first, then declared order.

    An item that has ended, however it has, holds up nobody: whether its followers can run is the
    run's to say. Every item that is taken must be ended.
    """

    def __init__(self, work: Work, capacities: Mapping[str, int]) -> None:
        """Nothing has begun.

        Args:
            work: The items; there is no cycle among them.
            capacities: By resource, how much of it there is; `DEFAULT_CAPACITY` where it is not said.
        """
        self._work = work
        self._capacities = capacities
        self._used: Counter[str] = Counter()
        self._unmet = {item: len(set(waits)) for item, waits in work.waits.items()}
        self._followers: dict[str, list[str]] = {item: [] for item in work.waits}
        for item, waits in work.waits.items():
            for need in set(waits):
                self._followers[need].append(item)
        self._places = _places(work, self._followers)
        self._running: set[str] = set()
        self._ready: list[tuple[tuple[bool, int, int], str]] = []
        for item, unmet in self._unmet.items():
            if not unmet:
                self._offer(item)

    @property
    def left(self) -> list[str]:
        """The items that have not begun, in declared order."""
        return list(self._unmet)

    def take(self, fits: Callable[[str], bool] = lambda _item: True) -> str | None:
        """The best item that may begin now, which thereby begins; None where there is none.

        Args:
            fits: Whether there is room for an item elsewhere; asked only of items that may begin.
        """
        for position, ((late, *_), item) in enumerate(self._ready):
            if late and (self._running or position):
                return None  # Others run or could: their room or resource will come free.
            if self._has_resources(item) and fits(item):
                del self._ready[position], self._unmet[item]
                self._running.add(item)
                self._used.update(self._work.resources.get(item, {}))
                return item
        return None

    def end(self, item: str) -> None:
        """An item that was taken has ended."""
        self._running.remove(item)
        self._used.subtract(self._work.resources.get(item, {}))
        for follower in self._followers[item]:
            self._unmet[follower] -= 1
            if not self._unmet[follower]:
                self._offer(follower)

    def _offer(self, item: str) -> None:
        insort(self._ready, (self._places[item], item))

    def _has_resources(self, item: str) -> bool:
        wanted = self._work.resources.get(item, {})
        return all(
            self._used[name] + amount <= self._capacities.get(name, DEFAULT_CAPACITY)
            for name, amount in wanted.items()
        )


def _places(work: Work, followers: Mapping[str, Collection[str]]) -> dict[str, tuple[bool, int, int]]:
    """By item, what ready items are sorted by."""
    chain: dict[str, int] = {}
    for item in reversed(topological_order(work.waits)):
        chain[item] = 1 + max((chain[follower] for follower in followers[item]), default=0)
    return {item: (item in work.late, -chain[item], declared) for declared, item in enumerate(work.waits)}
