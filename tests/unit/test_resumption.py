"""What a resume keeps, and what it calls a change."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.model.manifest import ResumeEvent
from codex_orchestrator.model.scheduler import assigned, ended, requested
from codex_orchestrator.rules.resumption import changes, changes_by_entries, resumed_manifest, token_fits
from tests.support.builders import NOW, layout_of, opened_run, pipeline_of

EVENT = ResumeEvent(actor="cli", reason="manual-resume", outcome="accepted", timestamp=NOW)


def stage(name: str, command: str = "true", **keys) -> CommandStage:
    return CommandStage(kind="command", id=name, title=name.upper(), command=command, **keys)


A, B, C = stage("a"), stage("b"), stage("c")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([A, B], [A, B], []),
        ([A, B], [A], ['stage "b" is gone']),
        ([A], [A, B], ['stage "b" is new']),
        ([A, B], [B, A], ["the stages are in another order"]),
        ([A], [stage("a", "false")], ['stage "a": command is different']),
        (
            [A],
            [stage("a", env={"X": "1"}, allow_failure=True)],
            ['stage "a": env is different', 'stage "a": allow_failure is different'],
        ),
    ],
)
def test_what_is_different_is_listed(before, after, expected):
    assert sorted(changes(pipeline_of(*before), pipeline_of(*after))) == sorted(expected)


def test_changes_of_the_pipeline_itself_are_listed():
    assert changes(pipeline_of(A), pipeline_of(A, required=True)) == ["guardrails_required is different"]


def test_without_a_plan_the_entries_are_compared():
    entries = opened_run(pipeline_of(A, B)).commands
    assert changes_by_entries(entries, pipeline_of(A, B)) == []
    assert changes_by_entries(entries, pipeline_of(stage("a", "false"), C)) == [
        'stage "b" is gone',
        'stage "c" is new',
        'stage "a": command is different',
    ]


def test_stages_that_succeeded_keep_their_entries_wherever_they_are_now():
    before = opened_run(pipeline_of(A, B, C))
    done = replace(before.entry(1), status="succeeded", completed_at=NOW, summary="done")
    failed = replace(before.entry(2), status="failed", completed_at=NOW, error_file="errors/02-b.json")
    skipped = replace(before.entry(3), status="skipped", completed_at=NOW, error_file="errors/03-c.json")
    ended = replace(
        before,
        status="failed",
        status_detail="stage:b:failed",
        completed_at=NOW,
        summary="Stage 'B' failed",
        metrics_recorded=True,
        commands=(done, failed, skipped),
    )
    after = resumed_manifest(ended, pipeline_of(C, B, A), layout_of(), EVENT)
    assert [(entry.index, entry.id, entry.status, entry.error_file) for entry in after.commands] == [
        (1, "c", "pending", None),
        (2, "b", "pending", None),
        (3, "a", "succeeded", None),
    ]
    # Its log stays where it is.
    assert after.entry(3).log_path == done.log_path
    assert (after.status, after.status_detail, after.completed_at, after.summary, after.metrics_recorded) == (
        "in_progress",
        "resuming",
        None,
        None,
        False,
    )
    assert after.resume_events == (EVENT,)


def test_what_workers_of_a_dead_run_had_has_failed():
    workers = requested(None, min_instances=1, max_instances=2, timestamp=NOW)
    busy = assigned(workers, "gw0", timestamp=NOW)
    died = replace(opened_run(pipeline_of(A)), status="in_progress", scheduler=busy)
    after = resumed_manifest(died, pipeline_of(A), layout_of(), EVENT)
    assert after.scheduler == ended(busy, timestamp=EVENT.timestamp)
    assert resumed_manifest(opened_run(pipeline_of(A)), pipeline_of(A), layout_of(), EVENT).scheduler is None


@pytest.mark.parametrize(
    ("known", "given", "fits"),
    [
        (f"sha256:{sha256(b'secret').hexdigest()}", "secret", True),
        (f"sha256:{sha256(b'secret').hexdigest()}", "other", False),
        (f"sha256:{sha256(b'secret').hexdigest()}", f"sha256:{sha256(b'secret').hexdigest()}", False),
        ("secret", "secret", True),
        ("secret", "", False),
        ("secret", "sécret", False),
    ],
)
def test_a_token_fits_or_not(known, given, fits):
    manifest = replace(opened_run(pipeline_of(A)), resume_token=known)
    assert token_fits(manifest, given) is fits
