"""Events to manifest: what each changes, and that nothing counts twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.model.events import (
    AttemptFailed,
    RunCompleted,
    RunStarted,
    SchedulerStarted,
    StageAssigned,
    StageCompleted,
    StageReleased,
    StageSkipped,
)
from codex_orchestrator.model.exec_events import CommandEnd, CommandStart, ExecBegin, ExecChunk, ExecEnd
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.model.scheduler import Checkpoint
from codex_orchestrator.rules import recorder
from tests.support.builders import at, opened_run, pipeline_of


@pytest.fixture
def opened() -> Manifest:
    """A run of three stages that has not started."""
    stages = tuple(
        CommandStage(kind="command", id=name, title=name.upper(), command="true") for name in ("a", "b", "c")
    )
    return opened_run(pipeline_of(*stages), started_at=at(0), target="p:a")


def begin(index: int, second: int, correlation: str = "c") -> ExecBegin:
    return ExecBegin(
        correlation_id=f"{correlation}{index}",
        attempt=1,
        command="true",
        cwd="/",
        session_id="s",
        timestamp=at(second),
        index=index,
    )


def completed(
    index: int, second: int, status: str = "succeeded", reason: str | None = None
) -> StageCompleted:
    return StageCompleted(
        stage_id="abc"[index - 1],
        status=status,
        exit_code=0 if status == "succeeded" else 1,
        summary=f"summary {index}",
        reason=reason,
        error_file="errors/x.json" if reason else None,
        correlation_id=f"c{index}",
        frames=4,
        timestamp=at(second),
        index=index,
    )


def attempt_failed(index: int, second: int, correlation: str, frames: int) -> AttemptFailed:
    return AttemptFailed(
        stage_id="abc"[index - 1],
        attempt=1,
        reason="command-failed",
        error_file="errors/x.attempt-1.json",
        correlation_id=f"{correlation}{index}",
        frames=frames,
        timestamp=at(second),
        index=index,
    )


def applied(manifest: Manifest, *events) -> Manifest:
    for event in events:
        manifest = recorder.apply(manifest, event)
    return manifest


def test_a_run_opens_with_an_entry_for_every_stage(opened):
    assert (opened.status, opened.task_slug, opened.plan_target_id) == ("queued", "t", "p:a")
    assert [(entry.index, entry.id, entry.status) for entry in opened.commands] == [
        (1, "a", "pending"),
        (2, "b", "pending"),
        (3, "c", "pending"),
    ]
    assert opened.entry(2).log_path == ".runs/t/cli/r/commands/02-b.ndjson"
    assert opened.guardrails_required is False


def test_a_stage_from_start_to_end(opened):
    run = applied(opened, RunStarted(run_id="r", pipeline_id="p", timestamp=at(1)))
    assert (run.status, run.updated_at) == ("in_progress", at(1))
    run = applied(run, CommandStart(command="true", timestamp=at(2), index=1), begin(1, 3))
    entry = run.entry(1)
    assert (entry.status, entry.started_at, entry.completed_at) == ("running", at(2), None)
    assert run.handles is not None
    assert [(handle.stage_id, handle.status, handle.frame_count) for handle in run.handles] == [
        ("a", "open", 1)
    ]
    run = applied(run, completed(1, 5))
    entry = run.entry(1)
    assert (entry.status, entry.started_at, entry.completed_at) == ("succeeded", at(2), at(5))
    assert (entry.exit_code, entry.summary, entry.error_file) == (0, "summary 1", None)
    assert run.handles is not None
    handle = run.handles[0]
    assert (handle.handle_id, handle.status, handle.frame_count, handle.latest_sequence) == (
        "h-c1",
        "closed",
        4,
        4,
    )
    assert (run.status_detail, run.updated_at) == (None, at(5))
    assert [entry.status for entry in run.commands[1:]] == ["pending", "pending"]


@pytest.mark.parametrize(
    "event",
    [
        ExecChunk(
            correlation_id="c1",
            attempt=1,
            stream="stdout",
            sequence=1,
            bytes=1,
            data="x",
            timestamp=at(9),
            index=1,
        ),
        ExecEnd(
            correlation_id="c1",
            attempt=1,
            exit_code=0,
            signal=None,
            duration_ms=1,
            status="succeeded",
            timestamp=at(9),
            index=1,
        ),
        CommandEnd(exit_code=0, signal=None, duration_ms=1, timestamp=at(9), index=1),
        StageSkipped(stage_id="a", reason="blocked by x", timestamp=at(9), index=1),
        # A run without a scheduler has none.
        StageAssigned(stage_id="a", instance_id="gw0", timestamp=at(9), index=1),
        StageReleased(stage_id="a", instance_id="gw0", outcome="failed", timestamp=at(9), index=1),
    ],
    ids=lambda event: event.type,
)
def test_events_that_say_nothing_to_the_manifest_leave_the_very_object(opened, event):
    assert recorder.apply(opened, event) is opened


@pytest.mark.parametrize(
    ("events", "detail"),
    [
        ([completed(1, 1)], None),
        ([completed(1, 1, "failed", "command-failed")], "stage:a:failed"),
        ([completed(2, 1, "failed", "command-timeout")], "stage:b:timeout"),
        ([completed(2, 1, "failed", "command-execution-error")], "stage:b:error"),
        ([completed(1, 1, "skipped", "command-allow-failure")], None),
        ([completed(1, 1, "failed", "command-cancelled")], None),
        # The first by index counts, in whatever order they fail.
        (
            [completed(1, 1, "failed", "command-failed"), completed(2, 2, "failed", "command-timeout")],
            "stage:a:failed",
        ),
        (
            [completed(2, 1, "failed", "command-timeout"), completed(1, 2, "failed", "command-failed")],
            "stage:a:failed",
        ),
        # A cancelled stage before it does not stand for it.
        (
            [completed(1, 1, "failed", "command-cancelled"), completed(2, 2, "failed", "command-failed")],
            "stage:b:failed",
        ),
        (
            [completed(2, 1, "failed", "command-failed"), completed(1, 2, "failed", "command-cancelled")],
            "stage:b:failed",
        ),
    ],
)
def test_the_detail_names_the_first_failed_stage(opened, events, detail):
    assert applied(opened, *events).status_detail == detail


def test_ids_with_colons_are_told_apart(opened):
    entries = tuple(
        replace(entry, id=name) for entry, name in zip(opened.commands, ("x:failed", "x", "c"), strict=True)
    )
    run = replace(opened, commands=entries)
    first = replace(completed(2, 1, "failed", "command-failed"), stage_id="x")
    second = replace(completed(1, 2, "failed", "command-timeout"), stage_id="x:failed")
    assert applied(run, first, second).status_detail == "stage:x:failed:timeout"
    assert applied(run, second, first).status_detail == "stage:x:failed:timeout"


def test_a_stage_that_could_not_start_has_a_whole_entry_all_the_same(opened):
    run = applied(opened, completed(1, 4, "failed", "command-execution-error"))
    entry = run.entry(1)
    assert (entry.started_at, entry.completed_at, entry.status) == (at(4), at(4), "failed")
    assert run.handles is None


def test_the_end_of_the_run(opened):
    event = RunCompleted(run_id="r", status="failed", status_detail="d", summary="s", timestamp=at(9))
    run = applied(opened, event)
    assert (run.status, run.status_detail, run.summary) == ("failed", "d", "s")
    assert run.completed_at == run.updated_at == at(9)


def test_a_late_start_does_not_reopen_a_stage(opened):
    run = applied(opened, completed(1, 4))
    assert recorder.apply(run, CommandStart(command="true", timestamp=at(5), index=1)) is run


def test_handles_are_in_the_order_of_the_stages_and_of_their_attempts(opened):
    run = applied(opened, begin(3, 1), begin(1, 2), begin(2, 3), begin(1, 4, "again"))
    assert run.handles is not None
    assert [handle.correlation_id for handle in run.handles] == ["c1", "again1", "c2", "c3"]


def test_each_attempt_closes_its_own_handle_and_leaves_the_entry_alone(opened):
    run = applied(opened, CommandStart(command="true", timestamp=at(1), index=1), begin(1, 2, "first"))
    failed = applied(run, attempt_failed(1, 3, "first", 9))
    assert failed.commands == run.commands
    assert failed.status_detail is None
    run = applied(failed, begin(1, 4), completed(1, 5))
    assert run.handles is not None
    assert [(handle.correlation_id, handle.status, handle.frame_count) for handle in run.handles] == [
        ("first1", "closed", 9),
        ("c1", "closed", 4),
    ]
    assert [handle.latest_sequence for handle in run.handles] == [9, 4]
    assert run.entry(1).error_file is None
    # A manifest that has none, as one of another tool, gets none.
    assert applied(opened, attempt_failed(1, 3, "first", 9)).handles is None


def test_a_clock_that_is_set_back_does_not_take_the_update_back(opened):
    run = applied(opened, completed(1, 9), completed(2, 3))
    assert run.updated_at == at(9)
    assert run.entry(2).completed_at == at(3)


def test_a_heartbeat_changes_nothing_else(opened):
    run = applied(opened, completed(1, 2, "failed", "command-failed"))
    beaten = recorder.beat(run, at(7))
    assert (beaten.heartbeat_at, beaten.updated_at) == (at(7), at(7))
    assert replace(beaten, heartbeat_at=None, updated_at=run.updated_at) == run
    assert recorder.beat(beaten, at(1)).updated_at == at(7)


WORKERS = SchedulerStarted(min_instances=1, max_instances=2, timestamp=at(1))


def assigned(index: int, second: int, worker: str = "gw0") -> StageAssigned:
    return StageAssigned(stage_id="abc"[index - 1], instance_id=worker, timestamp=at(second), index=index)


def released(index: int, second: int, worker: str = "gw0", outcome: str = "completed") -> StageReleased:
    lost = outcome != "completed"
    return StageReleased(
        stage_id="abc"[index - 1],
        instance_id=worker,
        outcome=outcome,
        checkpoint=Checkpoint(reason="auto", action="requeue" if outcome == "requeued" else "escalate")
        if lost
        else None,
        timestamp=at(second),
        index=index,
    )


def workers(manifest: Manifest) -> dict[str, tuple[str, list[str]]]:
    assert manifest.scheduler is not None
    return {
        worker.instance_id: (worker.status, [attempt.status for attempt in worker.attempts])
        for worker in manifest.scheduler.assignments
    }


def test_the_workers_of_a_run(opened):
    assert opened.scheduler is None
    run = applied(opened, WORKERS, assigned(1, 2), assigned(2, 3, "gw1"))
    assert run.updated_at == at(3)
    assert workers(run) == {"gw0": ("running", ["running"]), "gw1": ("running", ["running"])}
    # Lost, and tried again on another.
    run = applied(run, released(1, 4, outcome="requeued"), released(2, 5, "gw1"), assigned(1, 6, "gw1"))
    assert workers(run) == {"gw0": ("recovered", ["requeued"]), "gw1": ("running", ["completed", "running"])}
    assert run.scheduler is not None
    (checkpoint,) = run.scheduler.assignments[0].attempts[0].recovery_checkpoints
    assert (checkpoint.timestamp, checkpoint.reason, checkpoint.action) == (at(4), "auto", "requeue")
    # The entries say how the stages went, and only they.
    assert run.commands == opened.commands


def test_a_worker_with_several_commands_has_an_end_for_each(opened):
    def over(index: int, second: int, since: int, **more) -> StageReleased:
        return replace(released(index, second, **more), assigned_at=at(since))

    events = [WORKERS, assigned(1, 2), assigned(2, 3), over(2, 4, 3), over(1, 4, 2, outcome="failed")]
    run = applied(opened, *events[:4])
    assert workers(run) == {"gw0": ("running", ["running", "completed"])}
    run = applied(opened, *events)
    assert workers(run) == {"gw0": ("failed", ["failed", "completed"])}
    assert applied(run, *events) == run


def test_a_running_stage_says_where_it_runs_until_it_ends(opened):
    began = CommandStart(command="true", timestamp=at(2), index=1)
    events = [WORKERS, began, assigned(1, 3), released(1, 4, outcome="requeued"), assigned(1, 5, "gw1")]
    told = []
    for number in range(1, len(events) + 1):
        run = applied(opened, *events[:number])
        assert applied(run, *events[1:number]) == run
        told.append(run.entry(1).summary)
    assert told == [None, None, "Runs on gw0", None, "Runs on gw1"]
    over = applied(run, completed(1, 6), released(1, 6, "gw1"))
    assert over.entry(1).summary == completed(1, 6).summary


def test_what_workers_still_had_at_the_end_of_the_run_has_failed(opened):
    run = applied(opened, WORKERS, assigned(1, 2), assigned(2, 3, "gw1"), released(1, 4))
    over = applied(
        run,
        RunCompleted(run_id="r", status="cancelled", status_detail=None, summary="s", timestamp=at(9)),
    )
    assert workers(over) == {"gw0": ("succeeded", ["completed"]), "gw1": ("failed", ["failed"])}


def test_workers_that_are_asked_for_again_are_the_same(opened):
    run = applied(opened, WORKERS, assigned(1, 2))
    assert recorder.apply(run, WORKERS) is run
    more = applied(run, replace(WORKERS, max_instances=4, timestamp=at(7)))
    assert more.scheduler is not None
    assert (more.scheduler.requested_at, more.scheduler.max_instances) == (at(1), 4)
    assert workers(more) == workers(run)
