"""CommandPlanner: a pipeline as ordered plan items and a target (docs/reference/command-line.md, "plan")."""

from dataclasses import field
from typing import Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.graph import dependencies, topological_order
from codex_orchestrator.errors import UsageError
from codex_orchestrator.model.codec import OMIT_NONE, STRICT
from codex_orchestrator.model.definitions import CommandStage, Pipeline, PlanHints, Stage

ExecutionMode = Literal["mcp", "cloud"]

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
