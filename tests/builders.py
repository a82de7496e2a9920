"""Values that tests of several modules begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from codex_orchestrator.clock import Clock
from codex_orchestrator.environment import Environment
from codex_orchestrator.lifecycle import RunOptions, open_run
from codex_orchestrator.manager import TaskManager
from codex_orchestrator.pipelines.model import CommandStage, Limits, Pipeline
from codex_orchestrator.pipelines.planner import CommandPlanner
from codex_orchestrator.run.layout import RunLayout, TaskLayout
from codex_orchestrator.run.opening import first_manifest
from codex_orchestrator.run.shapes import Manifest

NOW = "2026-11-21T02:44:32.979Z"


def pipeline_of(
    *stages: CommandStage, required: bool | None = None, description: str | None = None
) -> Pipeline:
    """The pipeline ``p``."""
    return Pipeline(
        id="p", title="P", description=description, tags=None, guardrails_required=required, stages=stages
    )


def layout_of(*, task_id: str = "t", run_id: str = "r") -> RunLayout:
    """Where a run of a project that is not there would lie."""
    root = Path("/repo")
    return TaskLayout(Environment(root, root / ".runs", root / "out", root, {}), task_id).run(run_id)


def opened_manager(
    environment: Environment,
    pipeline: Pipeline,
    *,
    clock: Clock,
    task_id: str = "t",
    notify: Callable[[str], object] = lambda _message: None,
) -> TaskManager:
    """A new run of all stages, begun."""
    plan = CommandPlanner(pipeline).plan()
    options = RunOptions(task_id)
    live = open_run(environment, pipeline, options, target=plan.targetId, clock=clock, notify=notify)
    ids = [stage.id for stage in pipeline.stages]
    return TaskManager(environment, pipeline, plan, live, limits=Limits(), selected=ids, clock=clock)


def opened_run(
    pipeline: Pipeline, *, layout: RunLayout | None = None, started_at: str = NOW, target: str | None = None
) -> Manifest:
    """The first manifest of a run."""
    return first_manifest(
        layout or layout_of(),
        pipeline,
        started_at=started_at,
        token="sha256:0",
        target=target,
        parent_run_id=None,
        approval_policy=None,
        instructions_hash=None,
        instructions_sources=(),
    )
