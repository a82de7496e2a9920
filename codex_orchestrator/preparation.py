"""From what a user asked to what will run: everything that can be refused is refused here.

Both ways in, ``start`` and ``pytest --codex-pipeline``, come through `prepare`; nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .environment import Environment, choose_task
from .errors import UsageError
from .identifiers import check_id
from .manager import RunOptions
from .pipelines.loader import Definitions, default_notice, load_definitions
from .pipelines.mode import parse_mode
from .pipelines.model import CommandStage, Configuration, Pipeline
from .pipelines.planner import CommandPlanner, Plan


@dataclass(frozen=True)
class Asked:
    """What the user asked for; None where the default is meant.

    Attributes:
        pipeline: A pipeline id.
        task: A task id.
        parent_run: The run id of the parent.
        approval_policy: Recorded as it is.
        target: A target stage.
        execution_mode: ``mcp`` or ``cloud``.
        only: Stage ids to run and no others.
        start_from: The stage id to begin at.
    """

    pipeline: str | None = None
    task: str | None = None
    parent_run: str | None = None
    approval_policy: str | None = None
    target: str | None = None
    execution_mode: str | None = None
    only: tuple[str, ...] = ()
    start_from: str | None = None


@dataclass(frozen=True)
class Prepared:
    """What will run, decided to the end.

    Attributes:
        environment: Where things are.
        definitions: The repo's definitions.
        pipeline: The pipeline.
        plan: Its plan.
        order: Stage ids in serial order.
        selected: The ids asked for by ``--only`` and ``--from``; all where neither was given.
        options: What the run records of the request.
        notices: What to tell the user once, on stderr.
    """

    environment: Environment
    definitions: Definitions
    pipeline: Pipeline
    plan: Plan
    order: tuple[str, ...]
    selected: frozenset[str]
    options: RunOptions
    notices: tuple[str, ...]


def prepare(environment: Environment, asked: Asked) -> Prepared:
    """Load, validate and plan.

    Raises:
        UsageError: Anything asked for is wrong or cannot be done here.
        ConfigurationError: The repo's definitions cannot be used.
    """
    definitions = load_definitions(environment)
    configuration = definitions.configuration
    task = choose_task(environment, asked.task, configuration.task_id)
    pipeline = definitions.choose(asked.pipeline)
    mode = None
    if asked.execution_mode is not None:
        mode = parse_mode(asked.execution_mode)
        if mode is None:
            raise UsageError(f'Unknown execution mode "{asked.execution_mode}".', hint="Use mcp or cloud.")
    target = asked.target or environment.setting("CODEX_ORCHESTRATOR_TARGET_STAGE")
    planner = CommandPlanner(pipeline, target=target, mode=mode)
    order = tuple(planner.order())
    if asked.parent_run is not None:
        check_id(asked.parent_run, name="run ID")
    notices = (
        task.notice,
        *definitions.notices,
        default_notice(environment, definitions, pipeline),
        *_unheeded(pipeline, configuration),
    )
    return Prepared(
        environment=environment,
        definitions=definitions,
        pipeline=pipeline,
        plan=planner.plan(),
        order=order,
        selected=_selected(pipeline, order, asked),
        options=RunOptions(task.task_id, asked.parent_run, asked.approval_policy),
        notices=tuple(notice for notice in notices if notice),
    )


def require_runnable(prepared: Prepared) -> None:
    """Refuse, before anything is written, what this version cannot run.

    Raises:
        UsageError: The pipeline has stages of other kinds than ``command``, or for the cloud.
    """
    name = prepared.pipeline.id
    for stage, item in zip(prepared.pipeline.stages, prepared.plan.items, strict=True):
        if stage.kind != "command":
            raise UsageError(
                f'Stage "{stage.id}" of pipeline "{name}" is of kind {stage.kind}.',
                hint="This version runs command stages; the other kinds can be planned and validated.",
            )
        if item.requires_cloud:
            raise UsageError(
                f'Stage "{stage.id}" of pipeline "{name}" needs a cloud engine, and there is none here.',
                hint="Set its executionMode to mcp, or pass --execution-mode mcp.",
            )


def _unheeded(pipeline: Pipeline, configuration: Configuration) -> Iterator[str]:
    """What the definitions ask for and this version does not do: nobody may rely on it unknowingly."""
    for stage in pipeline.stages:
        if isinstance(stage, CommandStage) and stage.retries:
            yield f'Stage "{stage.id}": this version does not retry; retries is ignored.'
    if configuration.privacy.rules:
        yield "This version does not redact output; privacy.rules is ignored."


def _selected(pipeline: Pipeline, order: tuple[str, ...], asked: Asked) -> frozenset[str]:
    for wanted in (*asked.only, *([asked.start_from] if asked.start_from else [])):
        if wanted not in order:
            known = ", ".join(stage.id for stage in pipeline.stages)
            raise UsageError(
                f'Unknown stage "{wanted}" in pipeline "{pipeline.id}".', hint=f"Stages: {known}."
            )
    selected = order[order.index(asked.start_from) :] if asked.start_from else order
    if asked.only:
        selected = tuple(stage_id for stage_id in selected if stage_id in asked.only)
    if not selected:
        raise UsageError("--only and --from together leave no stage to run.")
    return frozenset(selected)
