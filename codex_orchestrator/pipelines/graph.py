"""Who waits for whom (docs/reference/configuration.md, "Order").

A stage waits for the one declared before it, unless it has ``needs``; ``needs: []`` waits for none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import heapify, heappop, heappush

from .model import Stage

Dependencies = dict[str, tuple[str, ...]]


def dependencies(stages: Sequence[Stage]) -> Dependencies:
    """For each stage id, in declared order, the ids that it waits for directly."""
    result: Dependencies = {}
    before: tuple[str, ...] = ()
    for stage in stages:
        result[stage.id] = before if stage.needs is None else stage.needs
        before = (stage.id,)
    return result


def topological_order(waits: Dependencies, late: Collection[str] = ()) -> list[str]:
    """The declared order, a stage moved behind what it waits for only where it must be.

    Stages on a cycle are left out; `find_cycle` names them.

    Args:
        waits: For each stage, in declared order, those that it waits for.
        late: Stages that stand behind all others that do not wait for them.
    """
    names = list(waits)
    places = {name: place for place, name in enumerate(names)}
    unmet = {name: len(set(needs)) for name, needs in waits.items()}
    followers: dict[str, list[str]] = {name: [] for name in waits}
    for name, needs in waits.items():
        for need in set(needs):
            if need in followers:
                followers[need].append(name)
    # A late one is taken only where no other is able.
    able = [(name in late, place) for name, place in places.items() if not unmet[name]]
    heapify(able)
    ordered = []
    while able:
        name = names[heappop(able)[1]]
        ordered.append(name)
        for follower in followers[name]:
            unmet[follower] -= 1
            if not unmet[follower]:
                heappush(able, (follower in late, places[follower]))
    return ordered


def find_cycle(waits: Dependencies) -> list[str] | None:
    """One cycle, as the ids along it with the first repeated at the end, or None."""
    ordered = set(topological_order(waits))
    stuck = [item for item in waits if item not in ordered]
    if not stuck:
        return None
    trail = {stuck[0]: 0}
    here = stuck[0]
    while True:
        # Every stuck stage waits for another stuck one, so this walk must come round.
        after = next((need for need in waits[here] if need in waits and need not in ordered), None)
        if after is None:
            return None
        if after in trail:
            return [*list(trail)[trail[after] :], after]
        trail[after] = len(trail)
        here = after


def reached_failure(waits: Dependencies, stage_id: str, failed: Collection[str]) -> str | None:
    """The first failed stage that ``stage_id`` waits for, directly or through others, or None."""
    if not failed:
        return None
    seen: set[str] = set()
    queue = list(waits[stage_id])
    roots = []
    while queue:
        item = queue.pop()
        if item in seen:
            continue
        seen.add(item)
        if item in failed:
            roots.append(item)
        queue.extend(waits[item])
    return min(roots, key=list(waits).index) if roots else None
