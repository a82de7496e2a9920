"""How many stages a pipeline has with those of its sub-pipelines, counted without expanding them.

A few lines can ask for more stages than any machine has room for
(docs/reference/configuration.md, "Sub-pipeline stages").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from codex_orchestrator.definitions.graph import topological_order

MOST_STAGES = 10_000
MOST_LEVELS = 100
# All pipelines of a file together, without sub-pipelines.
MOST_DEFINED = 50_000
# More is not told apart: the number of stages may have as many digits as there are pipelines.
_COUNTED = 10**18

# By the id of a pipeline, how many stages it has, and which pipelines these run.
Sizes = Mapping[str, int]
Children = Mapping[str, Sequence[str]]


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
