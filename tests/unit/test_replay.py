"""What a log knows that the manifest may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.model.events import (
    RunCompleted,
    RunResumed,
    RunStarted,
    SchedulerStarted,
    StageAssigned,
    StageCompleted,
    StageReleased,
    encode,
)
from codex_orchestrator.model.exec_events import CommandStart, ExecBegin
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.rules.replay import catch_up, parse_log
from tests.support.builders import at, opened_run, pipeline_of


def begin(index: int, attempt: int, second: int = 1) -> ExecBegin:
    return ExecBegin(
        correlation_id=f"c{index}-{attempt}",
        attempt=attempt,
        command="true",
        cwd="/",
        session_id="s",
        timestamp=at(second),
        index=index,
    )


def completed(name: str, index: int, second: int, status: str = "succeeded") -> StageCompleted:
    return StageCompleted(
        stage_id=name,
        status=status,
        exit_code=0,
        summary=f"{name} {status}",
        reason=None if status == "succeeded" else "command-failed",
        error_file=None,
        correlation_id=None,
        frames=1,
        timestamp=at(second),
        index=index,
    )


STARTED = RunStarted(run_id="r", pipeline_id="p", timestamp=at(0))
RESUMED = RunResumed(run_id="r", actor="cli", reason="manual-resume", timestamp=at(9))
ENDED = RunCompleted(run_id="r", status="succeeded", status_detail=None, summary="", timestamp=at(8))


@pytest.fixture
def manifest() -> Manifest:
    """A run of the stages a and b that has begun."""
    stages = tuple(
        CommandStage(kind="command", id=name, title=name.upper(), command="true") for name in ("a", "b")
    )
    return replace(opened_run(pipeline_of(*stages), started_at=at(0), target="p:a"), status="in_progress")


def caught_up(manifest: Manifest, *events) -> Manifest:
    return catch_up(manifest, parse_log(encode(event) for event in events))


def statuses(manifest: Manifest) -> list[str]:
    return [entry.status for entry in manifest.commands]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([STARTED], ["pending", "pending"]),
        ([STARTED, CommandStart(command="true", timestamp=at(1), index=1)], ["running", "pending"]),
        ([STARTED, completed("a", 1, 1)], ["succeeded", "pending"]),
        ([STARTED, completed("a", 1, 1), completed("b", 2, 2, "failed")], ["succeeded", "failed"]),
        # What was before the last start is in the manifest, which is written first.
        ([STARTED, completed("a", 1, 1), RESUMED], ["pending", "pending"]),
        ([STARTED, completed("a", 1, 1, "failed"), RESUMED, completed("a", 1, 10)], ["succeeded", "pending"]),
        # Of a plan that is another one now.
        ([STARTED, completed("b", 1, 1), completed("a", 3, 1)], ["pending", "pending"]),
    ],
)
def test_the_manifest_catches_up_with_the_log(manifest, events, expected):
    once = caught_up(manifest, *events)
    assert statuses(once) == expected
    assert caught_up(once, *events) == once


def test_the_end_of_a_run_is_not_taken_from_the_log(manifest):
    after = caught_up(manifest, STARTED, completed("a", 1, 1), completed("b", 2, 2), ENDED)
    assert (after.status, after.completed_at, statuses(after)) == (
        "in_progress",
        None,
        ["succeeded", "succeeded"],
    )


def test_what_another_tool_has_done_since_stays(manifest):
    a = replace(manifest.entry(1), status="succeeded", completed_at=at(5), summary="its own")
    later = replace(manifest, commands=(a, *manifest.commands[1:]), status="failed")
    after = caught_up(later, STARTED, completed("a", 1, 4, "failed"))
    assert after == later


def test_the_workers_are_taken_from_the_log_too(manifest):
    events = [
        STARTED,
        SchedulerStarted(min_instances=1, max_instances=2, timestamp=at(0)),
        StageAssigned(stage_id="a", instance_id="gw0", timestamp=at(1), index=1),
        StageReleased(stage_id="a", instance_id="gw0", outcome="completed", timestamp=at(2), index=1),
        completed("a", 1, 2),
        StageAssigned(stage_id="b", instance_id="gw0", timestamp=at(2), index=2),
    ]
    # Wherever the manifest was when its owner was killed.
    for known in range(len(events) + 1):
        once = caught_up(caught_up(manifest, *events[:known]), *events)
        assert once.scheduler is not None
        (worker,) = once.scheduler.assignments
        assert [(attempt.status, attempt.assigned_at) for attempt in worker.attempts] == [
            ("completed", at(1)),
            ("running", at(2)),
        ]


def test_attempts_and_ends_are_counted_over_all_lives():
    replay = parse_log(
        encode(event)
        for event in (STARTED, begin(1, 1), completed("a", 1, 2), begin(2, 1), RESUMED, begin(2, 2))
    )
    assert replay.attempts == {1: 1, 2: 2}
    assert replay.ended == {"a": at(2)}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"[" * 100_000,
        b'{"type":"stage:completed"}',
        b'{"type":"exec:begin","index":"1","attempt":1}',
        b'{"type":"later:event","index":1}',
    ],
)
def test_lines_that_say_nothing_are_passed_over(manifest, line):
    replay = parse_log([encode(STARTED), line + b"\n", encode(completed("a", 1, 1))])
    assert statuses(catch_up(manifest, replay)) == ["succeeded", "pending"]
