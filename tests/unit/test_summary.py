"""The words at a run's end: guardrails, failures and the run's summary."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codex_orchestrator.model.control_plane import RequestProblem, control_plane_of
from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.model.manifest import Approval, GuardrailCounts, Manifest
from codex_orchestrator.rules.first_manifest import with_request
from codex_orchestrator.rules.guardrails import guardrail_status, guardrails_required
from codex_orchestrator.rules.summary import caveats, compose_summary, failure_line, not_checked, partial_line
from codex_orchestrator.rules.verdict import RunEndFacts, add_warnings, final_status, finish
from tests.support.builders import opened_run, pipeline_of

RERUN = "codex-orchestrator start diagnostics --approval-policy never --format json --no-interactive"
MISSING = f'Guardrail command missing; run "{RERUN}" to capture reviewer diagnostics.'
FAILED = f'Guardrail command failed; re-run "{RERUN}" to gather failure artifacts.'
NOT_FOUND = "Guardrails: spec-guard command not found."


def manifest(*statuses: str, required: bool | None = None, guard: bool = True) -> Manifest:
    """A run whose stages ended so; with ``guard`` each is a guardrail."""
    name = "spec-guard" if guard else "stage"
    stages = [
        CommandStage(kind="command", id=f"{name}-{place}", title=f"{name} {place}", command="true")
        for place, _ in enumerate(statuses, start=1)
    ]
    pipeline = pipeline_of(*stages, required=required)
    first = opened_run(pipeline)
    entries = [
        replace(entry, status=status, exit_code=3 if status == "failed" else None)
        for entry, status in zip(first.commands, statuses, strict=True)
    ]
    return replace(first, commands=tuple(entries))


@pytest.mark.parametrize(
    ("statuses", "line"),
    [
        ([], NOT_FOUND),
        (["succeeded"], "Guardrails: spec-guard succeeded (1 passed)."),
        (["succeeded", "succeeded"], "Guardrails: spec-guard succeeded (2 passed)."),
        (["failed"], "Guardrails: spec-guard failed (1/1 failed)."),
        (["succeeded", "failed", "skipped"], "Guardrails: spec-guard failed (1/3 failed)."),
        (["failed", "pending", "failed"], "Guardrails: spec-guard failed (2/3 failed)."),
        (["skipped"], "Guardrails: spec-guard skipped (all 1 skipped)."),
        (["skipped", "skipped"], "Guardrails: spec-guard skipped (all 2 skipped)."),
        (["succeeded", "skipped"], "Guardrails: spec-guard partial (1 passed, 1 skipped of 2)."),
        (["succeeded", "pending"], "Guardrails: spec-guard partial (1 passed, 1 pending of 2)."),
        (["skipped", "pending"], "Guardrails: spec-guard partial (1 skipped, 1 pending of 2)."),
        (["pending"], "Guardrails: spec-guard partial (1 pending of 1)."),
        (
            ["succeeded", "skipped", "pending", "running"],
            "Guardrails: spec-guard partial (1 passed, 1 skipped, 2 pending of 4).",
        ),
    ],
)
def test_the_guardrail_line(statuses, line):
    status = guardrail_status(manifest(*statuses), computed_at="now")
    assert (status.summary, status.computed_at) == (line, "now")
    assert status.counts.total == len(statuses)
    assert status.present == ("succeeded" in statuses)


def test_the_counts_name_every_guardrail_once():
    status = guardrail_status(
        manifest("succeeded", "succeeded", "failed", "skipped", "pending", "running"), computed_at="now"
    )
    assert status.counts == GuardrailCounts(total=6, succeeded=2, failed=1, skipped=1, other=2)


@pytest.mark.parametrize(
    ("statuses", "required", "guard", "recommendation"),
    [
        (["succeeded"], True, True, None),
        (["failed"], True, True, FAILED),
        (["failed"], False, True, FAILED),
        (["failed", "succeeded"], None, True, FAILED),
        (["skipped"], True, True, None),
        (["pending"], True, True, None),
        (["succeeded"], True, False, MISSING),
        (["failed"], True, False, MISSING),
        (["succeeded"], False, False, None),
        (["succeeded"], None, False, None),
    ],
)
def test_the_recommendation(statuses, required, guard, recommendation):
    run = manifest(*statuses, required=required, guard=guard)
    assert guardrail_status(run, computed_at="now").recommendation == recommendation


@pytest.mark.parametrize(
    ("stage_id", "title", "command", "flag", "required"),
    [
        ("a", "A", "true", None, False),
        ("Spec-Guard", "A", "true", None, True),
        ("a", "The SPEC-GUARD", "true", None, True),
        ("a", "A", "bash scripts/spec-guard.sh", None, True),
        ("a", "A", "specguard; spec guard", None, False),
        ("spec-guard", "A", "true", False, False),
        ("a", "A", "true", True, True),
    ],
)
def test_guardrails_are_required_by_flag_or_by_being_there(stage_id, title, command, flag, required):
    stage = CommandStage(kind="command", id=stage_id, title=title, command=command)
    pipeline = pipeline_of(stage, required=flag)
    assert guardrails_required(pipeline) is required


@pytest.mark.parametrize(
    ("statuses", "lines", "line"),
    [
        (["succeeded", "skipped", "pending"], {}, None),
        (["succeeded", "failed"], {}, "Stage 'stage 2' failed with exit code 3."),
        (["failed", "failed"], {2: "no"}, "Stage 'stage 1' failed with exit code 3."),
        (["failed", "failed"], {1: "Execution error: no shell"}, "Execution error: no shell"),
    ],
)
def test_the_first_failed_stage_is_named(statuses, lines, line):
    assert failure_line(manifest(*statuses, guard=False), lines) == line


@pytest.mark.parametrize(
    ("selected", "total", "line"),
    [
        (1, 3, "Partial run: 1 of 3 stages selected."),
        (0, 1, "Partial run: 0 of 1 stages selected."),
        (3, 3, None),
    ],
)
def test_a_partial_run_says_so(selected, total, line):
    assert partial_line(selected, total) == line


@pytest.mark.parametrize(
    ("entries", "lines"),
    [
        ([], []),
        ([("succeeded", "done")], []),
        ([("skipped", "Exited with code 1")], ["1 stage skipped: stage-1."]),
        (
            [("skipped", None)] * 7,
            ["7 stages skipped: stage-1, stage-2, stage-3, stage-4, stage-5 and 2 more."],
        ),
        (
            [("succeeded", not_checked("docs-guard", "there is no page."))],
            ["1 stage had nothing to check: stage-1."],
        ),
        # What failed has said more than that, and a later line is not what a guard begins with.
        ([("failed", not_checked("docs-guard", "there is no page."))], []),
        ([("succeeded", "fine\ndocs-guard: not checked: x")], []),
    ],
)
def test_what_a_success_does_not_show(entries, lines):
    run = manifest(*(status for status, _ in entries), guard=False)
    commands = tuple(
        replace(entry, summary=said) for entry, (_, said) in zip(run.commands, entries, strict=True)
    )
    assert caveats(replace(run, commands=commands)) == lines


def test_the_summary_has_its_lines_in_order():
    run = replace(
        manifest("failed", required=True),
        approvals=(
            Approval(actor="ann", timestamp="t", reason="stage:gate:approved"),
            Approval(actor="bob", timestamp="t"),
        ),
    )
    guardrails = guardrail_status(run, computed_at="now")
    summary = compose_summary(run, guardrails, first_lines=["first", "second"], warnings=["careful"])
    assert summary.split("\n") == [
        "first",
        "second",
        "Approvals: ann (stage:gate:approved); bob (no reason)",
        "careful",
        FAILED,
        "Guardrails: spec-guard failed (1/1 failed).",
    ]


ALL = ("stage-1", "stage-2", "stage-3")


@pytest.mark.parametrize(
    ("statuses", "selected", "cancelled_by", "status", "lines"),
    [
        (
            ["succeeded", "skipped", "succeeded"],
            ALL,
            None,
            "succeeded",
            ["1 stage skipped: stage-2."],
        ),
        (
            ["succeeded", "failed", "pending"],
            ALL,
            None,
            "failed",
            ["Stage 'stage 2' failed with exit code 3."],
        ),
        (
            ["succeeded", "pending", "pending"],
            ALL[:1],
            None,
            "succeeded",
            ["Partial run: 1 of 3 stages selected."],
        ),
        (
            ["failed", "pending", "pending"],
            ALL[:2],
            None,
            "failed",
            ["Stage 'stage 1' failed with exit code 3.", "Partial run: 2 of 3 stages selected."],
        ),
        (
            ["succeeded", "pending", "pending"],
            ALL,
            None,
            "failed",
            ["2 of 3 selected stages did not run."],
        ),
        (["succeeded", "failed", "pending"], ALL, "SIGINT", "cancelled", ["Run cancelled by SIGINT."]),
        (["succeeded", "succeeded", "succeeded"], ALL, "SIGTERM", "cancelled", ["Run cancelled by SIGTERM."]),
    ],
)
def test_the_end_of_a_run(statuses, selected, cancelled_by, status, lines):
    ending = RunEndFacts(frozenset(selected), cancelled_by, {}, (), ["a warning"])
    run = replace(
        manifest(*statuses, guard=False), status="in_progress", status_detail="stage:stage-2:failed"
    )
    finished, completed = finish(run, ending, now="2026-11-21T02:45:00.000Z", run_summary_path="s.json")
    assert final_status(run, ending) == finished.status == completed.status == status
    assert finished.summary == completed.summary == "\n".join([*lines, "a warning", NOT_FOUND])
    assert finished.completed_at == finished.updated_at == "2026-11-21T02:45:00.000Z"
    assert finished.run_summary_path == "s.json"
    assert finished.guardrail_status == guardrail_status(run, computed_at="2026-11-21T02:45:00.000Z")
    detail = f"cancelled:{cancelled_by}" if cancelled_by else "stage:stage-2:failed"
    assert finished.status_detail == completed.status_detail == detail


@pytest.mark.parametrize("mode", ["shadow", "enforce"])
def test_a_run_that_was_refused_has_failed_whatever_had_succeeded_before(mode):
    found = control_plane_of("r", [RequestProblem("$.task", "is missing")], mode=mode, timestamp="n")
    run = with_request(manifest("succeeded", guard=False), found)
    ending = RunEndFacts(frozenset({"stage-1"}), None, {}, (), [])
    finished, _ = finish(run, ending, now="n", run_summary_path="s.json")
    refused = mode == "enforce"
    assert (finished.status, finished.status_detail) == (
        ("failed", "control-plane-validation-failed") if refused else ("succeeded", None)
    )
    lines = ["Control plane validation failed: $.task is missing."] if refused else []
    assert finished.summary == "\n".join([*lines, NOT_FOUND])


@pytest.mark.parametrize("required", [True, False])
def test_late_warnings_come_before_the_guardrail_lines(required):
    run = manifest("succeeded", required=required, guard=False)
    ending = RunEndFacts(frozenset({"stage-1"}), None, {}, (), ["early"])
    finished, _ = finish(run, ending, now="n", run_summary_path="s.json")
    late = add_warnings(finished, ["late"])
    assert late.summary is not None
    assert late.summary.split("\n") == ["early", "late", *([MISSING] if required else []), NOT_FOUND]
    assert add_warnings(finished, []) is finished
    assert add_warnings(run, ["late"]) is run
