"""Which stage waits for which, and which stages a failure blocks (docs/reference/configuration.md, "Order").

A stage waits for the one declared before it, unless it has ``needs``; ``needs: []`` waits for none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from itertools import chain

from codex_orchestrator.model.definitions import Stage

Dependencies = dict[str, tuple[str, ...]]


def dependencies(stages: Sequence[Stage]) -> Dependencies:
    """For each stage id, in declared order, the ids that it waits for directly."""
    result: Dependencies = {}
    before: tuple[str, ...] = ()
    for stage in stages:
        result[stage.id] = before if stage.needs is None else stage.needs
        before = (stage.id,)
    return result


def requirements(stages: Sequence[Stage], decisions: Collection[str], *, keep_going: bool) -> Dependencies:
    """For each stage id, the ids among those that it waits for that must succeed for it to run.

    As a rule these are all that it waits for directly. Where the run keeps going, they are what its own
    ``needs`` name; a stage without ``needs`` goes on after a failure, but never past a decision
    (docs/reference/configuration.md, "Keep going").

    Args:
        stages: In declared order.
        decisions: The ids of those at which somebody decides.
        keep_going: Whether what only follows a failed stage runs.
    """
    waits = dependencies(stages)
    if not keep_going:
        return waits
    decided = nearest(waits, decisions)
    return {stage.id: decided[stage.id] if stage.needs is None else stage.needs for stage in stages}


def nearest(waits: Dependencies, chosen: Collection[str]) -> Dependencies:
    """For each item, the chosen items that it waits for, directly or through items that are not chosen."""
    found: Dependencies = {}
    for item in topological_order(waits):
        ways = [(need,) if need in chosen else found[need] for need in waits[item]]
        # One way alone is shared, not copied: behind many of the chosen there may be thousands of items.
        found[item] = ways[0] if len(ways) == 1 else tuple(dict.fromkeys(chain.from_iterable(ways)))
    return found


def topological_order(waits: Dependencies, late: Collection[str] = ()) -> list[str]:
    """The declared order, a stage moved behind what it waits for only where it must be.

    Stages on a cycle are left out; `find_cycle` names them.

    Args:
        waits: For each stage, in declared order, those that it waits for.
        late: Stages that stand behind all others that do not wait for them.
    """
    places = {item: (item in late, number, item) for number, item in enumerate(waits)}
    sorter = TopologicalSorter(waits)
    with suppress(CycleError):  # What no cycle keeps back is handed out all the same.
        sorter.prepare()
    ordered: list[str] = []
    ready: list[tuple[bool, int, str]] = []
    while True:
        for item in sorter.get_ready():
            if item in places:  # A need that is no stage here never ends.
                heappush(ready, places[item])
        if not ready:
            return ordered
        item = heappop(ready)[-1]
        ordered.append(item)
        sorter.done(item)


def find_cycle(waits: Dependencies) -> list[str] | None:
    """One cycle, as the ids along it with the first repeated at the end, or None."""
    ordered = set(topological_order(waits))
    stuck = [item for item in waits if item not in ordered]
    if not stuck:
        return None
    trail: dict[str, None] = {}
    here: str | None = stuck[0]
    # A stage on or behind a cycle waits for another one such, so this walk must come round.
    while here is not None and here not in trail:
        trail[here] = None
        here = next((need for need in waits[here] if need in waits and need not in ordered), None)
    if here is None:
        return None
    way = list(trail)
    return [*way[way.index(here) :], here]


def blocked(required: Dependencies, failed: Collection[str]) -> frozenset[str]:
    """The stages that a failure keeps from running: those for which `reached_failure` finds one."""
    found: set[str] = set()
    for item in topological_order(required):
        if any(need in failed or need in found for need in required[item]):
            found.add(item)
    return frozenset(found)


def reached_failure(required: Dependencies, stage_id: str, failed: Collection[str]) -> str | None:
    """The first failed stage that ``stage_id`` requires, directly or through others, or None."""
    if not failed:
        return None
    seen: set[str] = set()
    queue = list(required[stage_id])
    roots = []
    while queue:
        item = queue.pop()
        if item in seen:
            continue
        seen.add(item)
        if item in failed:
            roots.append(item)
        queue.extend(required[item])
    return min(roots, key=list(required).index) if roots else None
