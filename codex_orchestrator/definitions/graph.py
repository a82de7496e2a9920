"""Which stage waits for which, and which stages a failure blocks (docs/reference/configuration.md, "Order").

A stage waits for the one declared before it, unless it has ``needs``; ``needs: []`` waits for none. Pipelines
wait for those that their stages run: these are counted without expanding them, as a few lines can ask for
more stages than any machine has room for ("Sub-pipeline stages").
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from itertools import chain
from typing import NamedTuple

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.definitions import Stage

Dependencies = dict[str, tuple[str, ...]]
# How much there is of a resource where it is not said.
DEFAULT_CAPACITY = 1
MOST_STAGES = 10_000
MOST_LEVELS = 100
# All pipelines of a file together, without sub-pipelines.
MOST_DEFINED = 50_000
# More is not told apart: the number of stages may have as many digits as there are pipelines.
_COUNTED = 10**18

# By the id of a pipeline, how many stages it has, and which pipelines these run.
Sizes = Mapping[str, int]
Children = Mapping[str, Sequence[str]]


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


@dataclass(frozen=True)
class Work:
    """The items of a run: what they wait for, and what they need.

    Attributes:
        waits: For each item, in declared order, the items that must have ended before it.
        resources: By item, how much it needs of what, where it needs anything.
        late: Items for which a person is asked: begun only when nothing else runs or may run.
    """

    waits: Dependencies
    resources: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    late: Collection[str] = ()

    def __or__(self, other: Work) -> Work:
        """This and other work, which do not wait for each other."""
        return Work(
            {**self.waits, **other.waits},
            {**self.resources, **other.resources},
            {*self.late, *other.late},
        )

    def order(self) -> list[str]:
        """The order of a serial run: declared order, and people are asked when nothing else can run."""
        return topological_order(self.waits, self.late)

    def only(self, chosen: Collection[str]) -> Work:
        """The chosen items alone; they still wait for what they waited for through others."""
        reached = nearest(self.waits, chosen)
        waits = {item: reached[item] for item in self.waits if item in chosen}
        return Work(waits, self.resources, self.late)


class Extent(NamedTuple):
    """The size of a pipeline with all its sub-pipelines.

    Attributes:
        stages: Its stages and those of all sub-pipelines, each as often as it would run.
        levels: How deep they are nested, 1 without sub-pipelines.
    """

    stages: int
    levels: int

    @property
    def problem(self) -> str | None:
        """Why this is too much to run, or None."""
        if self.levels > MOST_LEVELS:
            return f"sub-pipelines are nested {self.levels} deep, and {MOST_LEVELS} is the most"
        if self.stages > MOST_STAGES:
            count = f"{self.stages}" if self.stages < _COUNTED else f"more than {_COUNTED}"
            return f"comes to {count} stages with those of its sub-pipelines, and {MOST_STAGES} is the most"
        return None


def extents(sizes: Sizes, children: Children) -> dict[str, Extent]:
    """The extent of each pipeline; those that run each other in a circle are left out.

    Args:
        sizes: How many stages each has itself.
        children: Which pipelines each runs, as often as it does; all of them are in ``sizes``.
    """
    found: dict[str, Extent] = {}
    for name in topological_order({name: tuple(dict.fromkeys(children[name])) for name in sizes}):
        below = [found[child] for child in children[name]]
        found[name] = Extent(
            min(_COUNTED, sizes[name] + sum(child.stages for child in below)),
            1 + max((child.levels for child in below), default=0),
        )
    return found


def outermost(names: Sequence[str], children: Children) -> list[str]:
    """The pipelines that none of the others runs."""
    run_by_others = {child for name in names for child in children[name]}
    return [name for name in names if name not in run_by_others]
