"""A planned pipeline with the sub-pipelines that its stages run: all that decides what runs when."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, replace

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.graph import (
    Dependencies,
    blocked,
    dependencies,
    requirements,
    topological_order,
)
from codex_orchestrator.definitions.planner import Plan
from codex_orchestrator.definitions.schedule import Work
from codex_orchestrator.model.definitions import CommandStage, ManualStage, Pipeline, Stage


@dataclass(frozen=True)
class Planned:
    """A planned pipeline: the one asked for, or a sub-pipeline.

    Attributes:
        pipeline: The pipeline.
        plan: Its plan.
        order: Stage ids in serial order.
        selected: The ids of the stages to run.
        children: By stage id, the pipelines that its stages run.
        shown: The pipeline as it may be recorded and shown.
        keep_going: Whether a failure stops only what needs the failed stage.
    """

    pipeline: Pipeline
    shown: Pipeline
    plan: Plan
    order: tuple[str, ...]
    selected: frozenset[str]
    children: Mapping[str, Planned] = field(default_factory=dict)
    keep_going: bool = False

    def declared(self, above: str | None = None) -> Iterator[str]:
        """The node ids of all stages, those of sub-pipelines among them, in the order of the definitions."""
        own = above or self.pipeline.id
        for stage in self.pipeline.stages:
            child = self.children.get(stage.id)
            yield from child.declared(f"{own}::{stage.id}") if child else [f"{own}::{stage.id}"]

    def started(self) -> Iterator[str]:
        """The ids of the pipelines that are started: its own, and those that its selected stages run."""
        yield self.pipeline.id
        for stage_id in self.selected & self.children.keys():
            yield from self.children[stage_id].started()

    def cloud_stages(self, above: str | None = None) -> Iterator[tuple[str, CommandStage]]:
        """The selected stages that run on a cluster, by node id, those of sub-pipelines among them."""
        own = above or self.pipeline.id
        for stage, item in zip(self.pipeline.stages, self.plan.items, strict=True):
            nodeid = f"{own}::{stage.id}"
            if stage.id not in self.selected:
                continue
            if isinstance(stage, CommandStage) and item.requires_cloud and not stage.skip:
                yield nodeid, stage
            if stage.id in self.children:
                yield from self.children[stage.id].cloud_stages(nodeid)

    @property
    def decisions(self) -> frozenset[str]:
        """The ids of the stages at which somebody decides: manual ones, and those that run such below."""
        manual = {stage.id for stage in self.pipeline.stages if isinstance(stage, ManualStage)}
        return frozenset(manual | {name for name, child in self.children.items() if child.decisions})

    @property
    def requirements(self) -> Dependencies:
        """For each stage, the stages that must succeed for it to run."""
        return requirements(self.pipeline.stages, self.decisions, keep_going=self.keep_going)

    def stopped_by_place(self, failed: Collection[str]) -> frozenset[str]:
        """The ids of the stages that a failure blocks only because the run does not keep going."""
        going = replace(self, keep_going=True)
        return blocked(self.requirements, failed) - blocked(going.requirements, failed)

    @property
    def runs(self) -> int:
        """The number of runs: its own, and those of all sub-pipelines."""
        return 1 + sum(child.runs for child in self.children.values())

    @property
    def stages(self) -> int:
        """The number of stages, without those that run a sub-pipeline."""
        own = len(self.pipeline.stages) - len(self.children)
        return own + sum(child.stages for child in self.children.values())

    @property
    def levels(self) -> int:
        """How many levels of runs there are: 1 without sub-pipelines."""
        return 1 + max((child.levels for child in self.children.values()), default=0)

    def work(self) -> Work:
        """The stages as items, by their node ids, with what each of them waits for and needs."""
        placed = _Placed()
        placed.add(self, self.pipeline.id, ())
        return Work(placed.waits, placed.resources, placed.late)


class _Placed:
    """The items of a pipeline and of those below it, as `Planned.work` collects them."""

    def __init__(self) -> None:
        self.waits: Dependencies = {}
        self.resources: dict[str, Mapping[str, int]] = {}
        self.late: set[str] = set()

    def add(self, planned: Planned, own: str, entry: tuple[str, ...]) -> tuple[str, ...]:
        """Add the items below ``own``, which all wait for ``entry``; the answer is what ends last of them."""
        below: dict[str, tuple[str, ...]] = {}
        needs = dependencies(planned.pipeline.stages)
        stages = {stage.id: stage for stage in planned.pipeline.stages}
        for stage_id in topological_order(needs):
            nodeid, child = f"{own}::{stage_id}", planned.children.get(stage_id)
            # Whoever waits for another waits by it for all that this one waits for.
            before = tuple(item for need in needs[stage_id] for item in below[need]) or entry
            if child is not None:
                below[stage_id] = self.add(child, nodeid, before)
            else:
                below[stage_id] = (nodeid,)
                self._place(stages[stage_id], nodeid, before)
        waited_for = {need for before in needs.values() for need in before}
        return tuple(item for name, items in below.items() if name not in waited_for for item in items)

    def _place(self, stage: Stage, nodeid: str, waits: tuple[str, ...]) -> None:
        self.waits[nodeid] = waits
        if isinstance(stage, CommandStage) and stage.resources:
            self.resources[nodeid] = stage.resources
        if isinstance(stage, ManualStage):
            self.late.add(nodeid)
