"""Who waits for whom (docs/reference/configuration.md, "Order").

A stage waits for the one declared before it, unless it has ``needs``; ``needs: []`` waits for none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

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
    ordered: dict[str, None] = {}
    remaining = list(waits)
    while remaining:
        able = (item for item in remaining if all(need in ordered for need in waits[item]))
        ready = _first(able, late)
        if ready is None:
            break
        ordered[ready] = None
        remaining.remove(ready)
    return list(ordered)


def _first(able: Iterator[str], late: Collection[str]) -> str | None:
    """The first that is not late, or else the first."""
    first = next(able, None)
    if first not in late:
        return first
    return next((item for item in able if item not in late), first)


def find_cycle(waits: Dependencies) -> list[str] | None:
    """One cycle, as the ids along it with the first repeated at the end, or None."""
    ordered = set(topological_order(waits))
    stuck = [item for item in waits if item not in ordered]
    if not stuck:
        return None
    trail = [stuck[0]]
    while True:
        # Every stuck stage waits for another stuck one, so this walk must come round.
        after = next((need for need in waits[trail[-1]] if need in waits and need not in ordered), None)
        if after is None:
            return None
        if after in trail:
            return [*trail[trail.index(after) :], after]
        trail.append(after)


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
