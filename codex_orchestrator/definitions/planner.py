"""What a pipeline will run: its plan, and the pipeline with those that its stages run.

CommandPlanner makes a plan of ordered items and a target (docs/reference/command-line.md, "plan"); Planned is
all that decides what runs when. Annotations are real types here, as `codec` reads them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, replace
from typing import Any, ClassVar

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.graph import (
    Dependencies,
    Work,
    blocked,
    dependencies,
    requirements,
    topological_order,
)
from codex_orchestrator.errors import UsageError
from codex_orchestrator.model.codec import OMIT_NONE, STRICT
from codex_orchestrator.model.definitions import (
    CommandStage,
    ExecutionMode,
    ManualStage,
    Pipeline,
    PlanHints,
    Stage,
)

_WORDS: dict[str, ExecutionMode] = {
    "cloud": "cloud",
    "true": "cloud",
    "1": "cloud",
    "yes": "cloud",
    "mcp": "mcp",
    "false": "mcp",
    "0": "mcp",
    "no": "mcp",
}


def parse_mode(word: str) -> ExecutionMode | None:
    """The mode that a word names (trimmed, any case), or None."""
    return _WORDS.get(word.strip().lower())


def resolve_mode(stage: Stage, run_mode: ExecutionMode | None = None) -> ExecutionMode:
    """Where a stage runs: its flags, its mode words, the run's ``--execution-mode``, else ``mcp``."""
    if isinstance(stage, CommandStage):
        hints = stage.plan
        for flag in (hints.requires_cloud if hints else None, stage.requires_cloud):
            if flag is not None:
                return "cloud" if flag else "mcp"
        for word in (hints.execution_mode if hints else None, stage.execution_mode):
            mode = parse_mode(word) if word else None
            if mode is not None:
                return mode
    return run_mode or "mcp"


@dataclass(frozen=True)
class PlanItem:
    """One stage in the plan; both spellings of requires-cloud are there for readers of either tool."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    id: str
    description: str
    requires_cloud: bool
    requiresCloud: bool  # noqa: N815 - the JSON key itself
    runnable: bool
    selected: bool
    metadata: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The items in declared order and the id of the target, ``<pipeline>:<stage>``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    items: tuple[PlanItem, ...]
    notes: str | None = field(default=None, metadata={OMIT_NONE: True})
    targetId: str | None  # noqa: N815 - the JSON key itself


class CommandPlanner:
    """Turns a resolved pipeline into a plan."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        target: str | None = None,
        mode: ExecutionMode | None = None,
        shown: Pipeline | None = None,
    ) -> None:
        """Plan a pipeline.

        Args:
            pipeline: What is to run, and what a target is looked for in.
            target: The stage that the user names.
            mode: The execution mode of stages that name none.
            shown: The pipeline as the plan may show it; None where that is the same.
        """
        self._pipeline = pipeline
        self._shown = shown or pipeline
        self._target = target
        self._mode = mode

    def plan(self) -> Plan:
        """The plan.

        Raises:
            UsageError: The wanted target is no stage of this pipeline.
        """
        target = self._target_stage()
        items = tuple(
            self._item(index, stage, selected=stage.id == target.id)
            for index, stage in enumerate(self._shown.stages)
        )
        return Plan(items=items, targetId=self._item_id(target), notes=self._shown.description)

    def order(self) -> list[str]:
        """Stage ids in the order of a serial run."""
        return topological_order(dependencies(self._pipeline.stages))

    def _item_id(self, stage: Stage) -> str:
        return f"{self._pipeline.id}:{stage.id}"

    def _item(self, index: int, stage: Stage, *, selected: bool) -> PlanItem:
        hints = _hints(stage)
        cloud = resolve_mode(stage, self._mode) == "cloud"
        metadata: dict[str, Any] = {
            "pipelineId": self._pipeline.id,
            "stageId": stage.id,
            "stageKind": stage.kind,
            "index": index,
            "requiresCloud": cloud,
        }
        if hints.aliases:
            metadata["aliases"] = list(hints.aliases)
        if hints.default_target:
            metadata["defaultTarget"] = True
        if stage.needs is not None:
            metadata["needs"] = list(stage.needs)
        return PlanItem(
            id=self._item_id(stage),
            description=stage.title,
            requires_cloud=cloud,
            requiresCloud=cloud,
            runnable=hints.runnable is not False,
            selected=selected,
            metadata=metadata,
        )

    def _target_stage(self) -> Stage:
        stages = self._pipeline.stages
        if self._target is not None:
            return self._named_target(self._target)
        flagged = [stage for stage in stages if _hints(stage).default_target]
        runnable = [stage for stage in stages if _hints(stage).runnable is not False]
        return (flagged or runnable or list(stages))[0]

    def _named_target(self, wanted: str) -> Stage:
        for stage in self._pipeline.stages:
            if wanted == self._item_id(stage):
                return stage
        # Users of the Node CLI name a target in any case, by alias, and with or without the pipeline.
        short = wanted.removeprefix(f"{self._pipeline.id}:").removeprefix(":")
        asked = {wanted.lower(), short.lower()}
        for stage in self._pipeline.stages:
            if any(name.lower() in asked for name in (stage.id, *_hints(stage).aliases)):
                return stage
        known = ", ".join(stage.id for stage in self._pipeline.stages)
        raise UsageError(
            f'Unknown target stage "{wanted}" in pipeline "{self._pipeline.id}".', hint=f"Stages: {known}."
        )


def _hints(stage: Stage) -> PlanHints:
    return (stage.plan if isinstance(stage, CommandStage) else None) or PlanHints()


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
    children: "Mapping[str, Planned]" = field(default_factory=dict)
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
