"""A finished run as its RunSummary and its metrics line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from codex_orchestrator.definitions.planner import CommandPlanner
from codex_orchestrator.model.codec import to_json
from codex_orchestrator.model.definitions import CommandStage, PlanHints
from codex_orchestrator.model.explain import explain
from codex_orchestrator.model.manifest import Approval, Handle, HandleMetadata, Manifest, MetricsLine
from codex_orchestrator.model.scheduler import Checkpoint, Scheduler, assigned, released, requested
from codex_orchestrator.rules.guardrails import guardrail_status
from codex_orchestrator.rules.reviewer import CommandReviewer, RunSummary, metrics_line
from tests.support.builders import opened_run, pipeline_of

START = "2026-11-21T02:44:32.979Z"
BETWEEN = "2026-11-21T02:45:00.000Z"
END = "2026-11-21T02:45:33.980Z"


def finished(*stages: tuple[str, str], status: str = "succeeded", required: bool | None = None, **keys):
    """A manifest and its plan; stages are (id, status)."""
    pipeline = pipeline_of(
        *(CommandStage(kind="command", id=name, title=name.title(), command="true") for name, _ in stages),
        required=required,
        description="Notes.",
    )
    first = opened_run(pipeline, started_at=START, target="p:a")
    entries = tuple(
        replace(
            entry,
            status=ended,
            summary=f"{entry.id} {ended}" if ended != "pending" else None,
            error_file=f"errors/{entry.id}.json" if ended in ("failed", "skipped") else None,
        )
        for entry, (_, ended) in zip(first.commands, stages, strict=True)
    )
    run = replace(first, commands=entries, status=status, completed_at=END, summary="First line.\nLast line.")
    run = replace(run, guardrail_status=guardrail_status(run, computed_at=END), **keys)
    return run, CommandPlanner(pipeline).plan()


def summarize(*stages: tuple[str, str], partial: bool = False, **keys) -> RunSummary:
    run, plan = finished(*stages, **keys)
    summary = CommandReviewer(run, plan, manifest_path=".runs/m.json", partial=partial).summarize()
    assert explain(RunSummary, to_json(summary)) == []
    return summary


def test_a_summary_in_full():
    handle = Handle("h-1", "1", "a", "p", "closed", 4, 4, START, HandleMetadata("r"))
    document = to_json(summarize(("a", "succeeded"), ("spec-guard", "succeeded"), handles=(handle,)))
    plan = document.pop("plan")
    assert (plan["targetId"], plan["notes"], len(plan["items"])) == ("p:a", "Notes.", 2)
    assert document == {
        "taskId": "t",
        "runId": "r",
        "mode": "mcp",
        "build": {
            "subtaskId": "p:a",
            "artifacts": [
                {"path": ".runs/m.json", "description": "Run manifest"},
                {"path": ".runs/t/cli/r/runner.ndjson", "description": "Event log"},
            ],
            "mode": "mcp",
            "runId": "r",
            "success": True,
            "notes": "A: a succeeded\nSpec-Guard: spec-guard succeeded",
        },
        "test": {
            "subtaskId": "p:a",
            "success": True,
            "reports": [{"name": "spec-guard", "status": "passed", "details": "spec-guard succeeded"}],
            "runId": "r",
        },
        "review": {"summary": "First line.\nLast line.", "decision": {"approved": True}},
        "timestamp": END,
        "handles": [
            {
                "handleId": "h-1",
                "correlationId": "1",
                "stageId": "a",
                "status": "closed",
                "frameCount": 4,
                "latestSequence": 4,
            }
        ],
    }


def two_workers() -> Scheduler:
    """One was lost, and its stage went to the other."""
    scheduler = requested(None, min_instances=1, max_instances=2, timestamp=START)
    lost = Checkpoint(reason="auto", action="requeue")
    scheduler = released(
        assigned(scheduler, "gw0", timestamp=START), "gw0", "requeued", lost, timestamp=BETWEEN
    )
    return released(assigned(scheduler, "gw1", timestamp=BETWEEN), "gw1", "completed", timestamp=END)


def test_a_summary_of_a_run_on_workers():
    document = to_json(summarize(("a", "succeeded"), scheduler=two_workers()))
    keys = list(document)
    assert keys[keys.index("timestamp") :] == ["timestamp", "scheduler", "handles"]
    assert document["scheduler"] == {
        "mode": "multi-instance",
        "recovery": {
            "heartbeatIntervalSeconds": 30,
            "missingHeartbeatTimeoutSeconds": 120,
            "maxRetries": 3,
        },
        "assignments": [
            {
                "instanceId": "gw0",
                "capability": "general",
                "status": "recovered",
                "attempts": 1,
                "lastCompletedAt": BETWEEN,
            },
            {
                "instanceId": "gw1",
                "capability": "general",
                "status": "succeeded",
                "attempts": 1,
                "lastCompletedAt": END,
            },
        ],
    }


def test_the_error_files_are_among_the_artifacts():
    summary = summarize(("a", "failed"), ("b", "pending"), status="failed")
    assert to_json(summary.build.artifacts[-1]) == {
        "path": "errors/a.json",
        "description": "Error of stage a",
    }
    assert summary.build.success is False
    assert summary.build.notes == "A: a failed"


GUARD = "spec-guard"


@pytest.mark.parametrize(
    ("stages", "status", "partial", "required", "test", "approved", "feedback"),
    [
        (
            [("a", "succeeded")],
            "succeeded",
            False,
            None,
            True,
            True,
            "No guardrail is among the stages.",
        ),
        ([("a", "failed")], "failed", False, None, False, False, "First line."),
        ([("a", "succeeded"), (GUARD, "succeeded")], "succeeded", False, None, True, True, None),
        (
            [("a", "succeeded"), (GUARD, "failed")],
            "failed",
            False,
            None,
            False,
            False,
            "Guardrail command failed",
        ),
        (
            [("a", "succeeded"), (GUARD, "skipped")],
            "succeeded",
            False,
            None,
            False,
            False,
            "1 stage skipped: spec-guard.",
        ),
        ([("a", "succeeded")], "succeeded", False, True, True, False, "Guardrail command missing"),
        ([("a", "succeeded"), ("b", "pending")], "succeeded", True, None, True, False, "First line."),
        ([("a", "succeeded")], "cancelled", False, None, False, False, "First line."),
    ],
)
def test_what_stands_as_evidence(stages, status, partial, required, test, approved, feedback):
    summary = summarize(*stages, status=status, partial=partial, required=required)
    assert summary.build.success is (status == "succeeded")
    assert summary.test.success is test
    assert summary.review.decision.approved is approved
    if feedback is None:
        assert summary.review.decision.feedback is None
    else:
        assert str(summary.review.decision.feedback).startswith(feedback)


def test_the_mode_is_cloud_where_a_stage_ran_there():
    root = Path("/repo")
    stages = (
        CommandStage(kind="command", id="a", title="A", command="x", requires_cloud=True),
        CommandStage(kind="command", id="b", title="B", command="x", plan=PlanHints(default_target=True)),
    )
    plan = CommandPlanner(pipeline_of(*stages)).plan()
    for status, mode in (("pending", "mcp"), ("succeeded", "cloud")):
        run, _ = finished(("a", status), ("b", "succeeded"))
        summary = CommandReviewer(run, plan, manifest_path=str(root / "m.json"), partial=False).summarize()
        assert summary.mode == summary.build.mode == mode


def line(run: Manifest, **counts: int) -> MetricsLine:
    made = metrics_line(
        run,
        recorded_at=END,
        heartbeat_writes=counts.get("writes", 2),
        heartbeat_failures=counts.get("failures", 0),
    )
    assert explain(MetricsLine, to_json(made)) == []
    return made


def test_a_metrics_line_in_full():
    run, _ = finished(
        ("a", "succeeded"),
        ("b", "skipped"),
        (GUARD, "failed"),
        ("c", "pending"),
        status="failed",
        approvals=(Approval(actor="ann", timestamp=START),),
    )
    assert to_json(line(run, writes=3, failures=1)) == {
        "run_id": "r",
        "task_id": "t",
        "pipeline_id": "p",
        "status": "failed",
        "started_at": START,
        "completed_at": END,
        "duration_seconds": 61.001,
        "commands_passed": 1,
        "commands_failed": 1,
        "guardrails_present": False,
        "recorded_at": END,
        "artifact_path": ".runs/t/cli/r",
        "child_runs": 0,
        "control_plane_status": "unknown",
        "scheduler_mode": "unknown",
        "instance_stats": [],
        "privacy_mode": "unknown",
        "privacy_log_path": None,
        "privacy_event_count": 0,
        "privacy_events": [],
        "handle_count": 0,
        "commands_skipped": 1,
        "approvals_count": 1,
        "approvals": [{"actor": "ann", "timestamp": START}],
        "resumed": False,
        "attempts": 1,
        "heartbeat_writes": 3,
        "heartbeat_failures": 1,
    }


def test_a_metrics_line_of_a_run_on_workers():
    run, _ = finished(("a", "succeeded"), scheduler=two_workers())
    document = to_json(line(run))
    assert document["scheduler_mode"] == "multi-instance"
    assert document["instance_stats"] == [
        {
            "instance_id": "gw0",
            "capability": "general",
            "status": "recovered",
            "attempts": 1,
            "recovery_events": 1,
        },
        {
            "instance_id": "gw1",
            "capability": "general",
            "status": "succeeded",
            "attempts": 1,
            "recovery_events": 0,
        },
    ]


@pytest.mark.parametrize(
    ("completed_at", "seconds"), [(END, 61.001), (START, 0.0), (None, 0.0), ("2026-11-21T02:44:31.000Z", 0.0)]
)
def test_no_run_lasts_less_than_nothing(completed_at, seconds):
    run, _ = finished(("a", "succeeded"), (GUARD, "succeeded"), status="succeeded")
    made = line(replace(run, completed_at=completed_at))
    assert made.duration_seconds == seconds
    assert made.guardrails_present is True
