"""Values that tests of several modules begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from codex_orchestrator.clock import Clock
from codex_orchestrator.definitions.graph import dependencies
from codex_orchestrator.definitions.planner import CommandPlanner, Plan
from codex_orchestrator.engine.lifecycle import open_run
from codex_orchestrator.engine.manager import TaskManager
from codex_orchestrator.engine.options import RunOptions
from codex_orchestrator.engine.source import SourceLook, SourceRecord
from codex_orchestrator.environment import Environment
from codex_orchestrator.model.codec import camel_keys, to_json
from codex_orchestrator.model.control_plane import control_plane_of
from codex_orchestrator.model.definitions import CommandStage, Limits, Pipeline
from codex_orchestrator.model.manifest import Manifest, MetricsLine
from codex_orchestrator.rules import reviewer
from codex_orchestrator.rules.first_manifest import first_manifest
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.reviewer import RunSummary
from codex_orchestrator.rules.run_request import DriftSample

NOW = "2026-11-21T02:44:32.979Z"


def at(second: int) -> str:
    """A second of the minute in which the runs of these tests take place."""
    return f"2026-11-21T02:44:{second:02d}.000Z"


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
    return TaskManager(
        environment,
        pipeline,
        plan,
        live,
        limits=Limits(),
        requirements=dependencies(pipeline.stages),
        selected=ids,
        clock=clock,
        source=SourceRecord(live.layout, SourceLook(environment), clock, resumed=False),
    )


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


def metrics_line_of(run_id: str) -> MetricsLine:
    """The record of a run that has succeeded."""
    return MetricsLine(
        run_id=run_id,
        task_id="t",
        pipeline_id="p",
        status="succeeded",
        started_at=NOW,
        completed_at=NOW,
        duration_seconds=2.0,
        commands_passed=1,
        commands_failed=0,
        guardrails_present=True,
        recorded_at=NOW,
        artifact_path="x",
        child_runs=0,
        control_plane_status="unknown",
        scheduler_mode="unknown",
        instance_stats=(),
        privacy_mode="unknown",
        privacy_log_path=None,
        privacy_event_count=0,
        privacy_events=(),
        handle_count=0,
        commands_skipped=0,
        approvals_count=0,
        approvals=(),
        resumed=False,
        attempts=1,
        heartbeat_writes=2,
        heartbeat_failures=0,
    )


def summary_of(run_id: str) -> RunSummary:
    """The summary of such a run."""
    found = control_plane_of(run_id, (), mode="shadow", timestamp=NOW)
    return RunSummary(
        task_id="t",
        run_id=run_id,
        mode="mcp",
        plan=Plan(items=(), targetId=None),
        build=reviewer.BuildResult(None, (), "mcp", run_id, success=True),
        test=reviewer.TestResult(None, success=True, reports=(), run_id=run_id),
        review=reviewer.ReviewResult("fine", reviewer.Decision(approved=True)),
        timestamp=NOW,
        control_plane=camel_keys(to_json(found)),
    )


def records_of(run_id: str) -> tuple[MetricsLine, RunSummary, DriftSample]:
    """What such a run leaves for its task, a sample as earlier versions did."""
    return metrics_line_of(run_id), summary_of(run_id), DriftSample(run_id, NOW, "passed", "shadow", ())
