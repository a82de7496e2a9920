"""From an invocation to what will run: everything that can be refused is refused here.

Both ways in, ``start`` and ``pytest --codex-pipeline``, come through `prepare`; nothing is written.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.loader import (
    Definitions,
    load_definitions,
    notices_of,
    refuse_invalid,
    user_sources,
)
from codex_orchestrator.definitions.planner import CommandPlanner, Planned, parse_mode
from codex_orchestrator.engine.options import RunOptions
from codex_orchestrator.environment import SIGN_KEY, Environment, choose_task, notice_of_git_hook, run_around
from codex_orchestrator.errors import UsageError
from codex_orchestrator.identifiers import check_id
from codex_orchestrator.model.definitions import ExecutionMode, Pipeline, SubpipelineStage
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.tasks.registry import look_up, require_place

if TYPE_CHECKING:
    from codex_orchestrator.engine.cloud.settings import ClusterSettings
    from codex_orchestrator.engine.resuming import Resume
    from codex_orchestrator.engine.source import SourceLook
    from codex_orchestrator.rules.layout import RunLayout


@dataclass(frozen=True)
class Invocation:
    """What the user asked for, by flags of ``start`` or of pytest; None where the default is meant.

    Attributes:
        pipeline: A pipeline id.
        task: A task id.
        parent_run: The run id of the parent.
        approval_policy: Recorded as it is.
        target: A target stage.
        known_target: The target of the run to take up again; counts where it is still there.
        execution_mode: ``mcp`` or ``cloud``.
        only: Stage ids to run and no others.
        start_from: The stage id to begin at.
        keep_going: Whether a failure stops only what needs the failed stage, whatever the definitions say.
        resume: The run to take up again.
        cluster: The cluster that runs cloud stages.
        sign: The file of the key that signs the run.
    """

    pipeline: str | None = None
    task: str | None = None
    parent_run: str | None = None
    approval_policy: str | None = None
    target: str | None = None
    known_target: str | None = None
    execution_mode: str | None = None
    only: tuple[str, ...] = ()
    start_from: str | None = None
    keep_going: bool = False
    resume: Resume | None = None
    cluster: str | None = None
    sign: str | None = None


@dataclass(frozen=True)
class Prepared:
    """What will run, decided to the end.

    Attributes:
        environment: Where things are.
        invocation: What the user asked for.
        definitions: The repo's definitions.
        planned: The pipeline, with those that its stages run.
        options: What the run records of the request.
        resume: The run to take up again, or None for a new one.
        notices: What to tell the user once, on stderr.
        look: Knows the work tree that it will run on; None where nobody has begun to look yet.
    """

    environment: Environment
    invocation: Invocation
    definitions: Definitions
    planned: Planned
    options: RunOptions
    resume: Resume | None
    notices: tuple[str, ...]
    look: SourceLook | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that was asked for."""
        return self.planned.pipeline


def prepare(environment: Environment, invocation: Invocation) -> Prepared:
    """Load, validate and plan.

    Raises:
        UsageError: Anything asked for is wrong or cannot be done here.
        ConfigurationError: The repo's definitions cannot be used.
    """
    return _prepared(environment, load_definitions(environment), invocation)


def modified(prepared: Prepared, change: Callable[[Pipeline], Pipeline]) -> Prepared:
    """The same, with the pipelines of it changed: the one asked for, and those that the changed ones run.

    Args:
        prepared: What would run.
        change: What becomes of a pipeline.

    Raises:
        ConfigurationError: What comes out is no valid definition.
        UsageError: What was asked for cannot be done with it.
    """
    # Not a copy: packaged pipelines are fitted to the repository when somebody asks for them.
    pipelines = ChainMap[str, Pipeline]({}, prepared.definitions.pipelines)  # type: ignore[arg-type]
    names = [prepared.pipeline.id]
    for name in names:
        if name not in pipelines:
            continue  # It is refused below.
        pipelines[name] = change(pipelines[name])
        run_by_it = (each.pipeline for each in pipelines[name].stages if isinstance(each, SubpipelineStage))
        names += [each for each in dict.fromkeys(run_by_it) if each not in names]
    given = prepared.definitions
    changed = [name for name in names if pipelines.get(name) != given.pipelines.get(name)]
    if not changed:
        return prepared
    refuse_invalid(pipelines, given.configuration)
    # What a plugin has changed is a packaged pipeline no more.
    definitions = replace(given, pipelines=pipelines, sources={**given.sources, **user_sources(changed)})
    again = _prepared(prepared.environment, definitions, prepared.invocation)
    require_runnable(again)
    # The key was read, and its passphrase asked for, before.
    return replace(again, options=replace(again.options, signing_key=prepared.options.signing_key))


def _prepared(environment: Environment, definitions: Definitions, invocation: Invocation) -> Prepared:
    configuration = definitions.configuration
    task = choose_task(environment, invocation.task, configuration.task_id)
    known_task = look_up(environment, task.task_id)
    require_place(environment, configuration.tasks or {}, known_task.names)
    parent = _parent(environment, invocation)
    _require_text("--approval-policy", invocation.approval_policy)
    pipeline = definitions.choose(invocation.pipeline)
    stages = {f"{pipeline.id}:{stage.id}" for stage in pipeline.stages}
    known = invocation.known_target if invocation.known_target in stages else None
    target = invocation.target or known or environment.setting("CODEX_ORCHESTRATOR_TARGET_STAGE")
    guard = PrivacyGuard.of(environment, configuration.privacy, definitions.own_pipelines)
    mode = _mode(invocation.execution_mode)
    planned = _planned(
        definitions, pipeline, guard, target=target, mode=mode, keep_going=invocation.keep_going
    )
    notices = (
        task.notice,
        known_task.notice,
        *notices_of(definitions, pipeline),
        notice_of_git_hook(environment),
    )
    return Prepared(
        environment=environment,
        invocation=invocation,
        definitions=definitions,
        planned=replace(planned, selected=_selected(pipeline, planned.order, invocation)),
        options=RunOptions(
            task.task_id,
            parent,
            invocation.approval_policy and guard.scrub(invocation.approval_policy),
            _place_of(environment, parent) if parent is not None else None,
            task_slug=known_task.task.slug if known_task.task else None,
            guard=guard,
            log_bytes=configuration.limits.log_bytes,
            execution_mode=mode,
        ),
        resume=invocation.resume,
        notices=tuple(notice for notice in notices if notice),
    )


def require_runnable(prepared: Prepared) -> None:
    """Refuse, before anything is written, what cannot be run here.

    Raises:
        UsageError: A stage is for a cluster, and none is named; or one waits for an approval that ``never``
            comes; or a pipeline would be started from within itself.
    """
    if prepared.resume is None:
        around = (prepared.options.parent_run_id, run_around(prepared.environment))
        # A parent that is named does not hide the run that this process belongs to.
        _refuse_recursion(prepared, [run_id for run_id in dict.fromkeys(around) if run_id is not None])
    _require_runnable(prepared.planned, prepared.options.approval_policy)
    cluster_of(prepared)


def with_signing_key(prepared: Prepared, ask: Callable[[str], str | None]) -> Prepared:
    """The same with the key that the user has asked to sign with, where they have.

    Args:
        prepared: What will run.
        ask: Asks a person for the passphrase of a key; answers None where nobody knows it.

    Raises:
        UsageError: The key cannot be read or used, or what signs is not installed.
    """
    environment, option = prepared.environment, prepared.invocation.sign
    is_wanted = option is not None or environment.setting(SIGN_KEY) is not None
    if not is_wanted or prepared.options.signing_key is not None:
        return prepared
    from codex_orchestrator.engine.signing import signing_key

    key = signing_key(environment, option, ask)
    return replace(prepared, options=replace(prepared.options, signing_key=key))


def cluster_of(prepared: Prepared) -> ClusterSettings | None:
    """The cluster that stages of this run on; None where none does.

    Raises:
        UsageError: None is named, or Dask is missing.
    """
    if next(prepared.planned.cloud_stages(), None) is None:
        return None
    from codex_orchestrator.engine.cloud.settings import cluster_settings

    settings = prepared.definitions.configuration.cloud
    return cluster_settings(prepared.environment, settings, prepared.invocation.cluster)


def _refuse_recursion(prepared: Prepared, parents: list[str]) -> None:
    if parents:
        from codex_orchestrator.evidence.lineage import refuse_recursion

        refuse_recursion(
            prepared.environment,
            prepared.pipeline.id,
            starting=prepared.planned.started(),
            parents=parents,
        )


def _require_runnable(planned: Planned, approval_policy: str | None) -> None:
    name = planned.pipeline.id
    for stage in planned.pipeline.stages:
        if stage.kind == "manual" and approval_policy == "never":
            raise UsageError(
                f'Stage "{stage.id}" of pipeline "{name}" needs an approval, '
                "and the approval policy is never.",
                hint="Leave out --approval-policy never, or the stage.",
            )
    for child in planned.children.values():
        _require_runnable(child, approval_policy)


def _planned(
    definitions: Definitions,
    pipeline: Pipeline,
    guard: PrivacyGuard,
    *,
    target: str | None,
    mode: ExecutionMode | None,
    keep_going: bool,
) -> Planned:
    """A pipeline and those below it; that there is no cycle was checked when they were loaded."""
    shown = guard.pipeline(pipeline)
    planner = CommandPlanner(pipeline, target=target, mode=mode, shown=shown)
    order = tuple(planner.order())
    children = {
        stage.id: _planned(
            definitions,
            definitions.choose(stage.pipeline),
            guard,
            target=None,
            mode=mode,
            keep_going=keep_going,
        )
        for stage in pipeline.stages
        if isinstance(stage, SubpipelineStage)
    }
    return Planned(
        pipeline,
        shown,
        planner.plan(),
        order,
        frozenset(order),
        children,
        keep_going=keep_going or bool(pipeline.keep_going),
    )


def _parent(environment: Environment, invocation: Invocation) -> str | None:
    """The run that starts this one: as asked for, else the one around this process; a resume keeps its."""
    if invocation.parent_run is not None:
        return check_id(invocation.parent_run, name="run ID")
    return run_around(environment) if invocation.resume is None else None


def _place_of(environment: Environment, run_id: str) -> RunLayout | None:
    from codex_orchestrator.evidence.lineage import find_parent

    return find_parent(environment, run_id)


def _require_text(flag: str, value: str | None) -> None:
    """Refuse bytes that are no text, which no artefact can hold.

    Raises:
        UsageError: It is none.
    """
    if value is not None and not value.isprintable():
        raise UsageError(f"{flag} {value!a} is not a line of printable text.")


def _mode(word: str | None) -> ExecutionMode | None:
    if word is None:
        return None
    mode = parse_mode(word)
    if mode is None:
        raise UsageError(f'Unknown execution mode "{word}".', hint="Use mcp or cloud.")
    return mode


def _selected(pipeline: Pipeline, order: tuple[str, ...], invocation: Invocation) -> frozenset[str]:
    for wanted in (*invocation.only, *([invocation.start_from] if invocation.start_from else [])):
        if wanted not in order:
            known = ", ".join(stage.id for stage in pipeline.stages)
            raise UsageError(
                f'Unknown stage "{wanted}" in pipeline "{pipeline.id}".', hint=f"Stages: {known}."
            )
    selected = order[order.index(invocation.start_from) :] if invocation.start_from else order
    if invocation.only:
        selected = tuple(stage_id for stage_id in selected if stage_id in invocation.only)
    if not selected:
        raise UsageError("--only and --from together leave no stage to run.")
    return frozenset(selected)
