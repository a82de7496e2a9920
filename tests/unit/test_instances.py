"""The workers of a run, and what becomes of them."""

from __future__ import annotations

import pytest

from codex_orchestrator.model.codec import to_json
from codex_orchestrator.model.explain import explain
from codex_orchestrator.model.scheduler import (
    Assignment,
    AssignmentMetadata,
    Checkpoint,
    RecoveryCheckpoint,
    Scheduler,
    WorkerAttempt,
    assigned,
    ended,
    released,
    requested,
)
from tests.support.builders import at

LOST = Checkpoint(reason="auto", action="requeue", detail="killed by SIGKILL")


@pytest.fixture
def workers() -> Scheduler:
    """Two at most, none of which has done anything."""
    return requested(None, min_instances=1, max_instances=2, timestamp=at(0))


def worker(scheduler: Scheduler, name: str = "gw0") -> Assignment:
    assert explain(Scheduler, to_json(scheduler)) == []
    return next(item for item in scheduler.assignments if item.instance_id == name)


def attempts(scheduler: Scheduler, name: str = "gw0") -> list[tuple[int, str, str | None]]:
    return [(item.number, item.status, item.completed_at) for item in worker(scheduler, name).attempts]


def test_a_scheduler_in_full(workers):
    lost = released(assigned(workers, "gw0", timestamp=at(1)), "gw0", "requeued", LOST, timestamp=at(2))
    assert to_json(lost) == {
        "mode": "multi-instance",
        "requested_at": at(0),
        "min_instances": 1,
        "max_instances": 2,
        "recovery": {
            "heartbeat_interval_seconds": 30,
            "missing_heartbeat_timeout_seconds": 120,
            "max_retries": 3,
        },
        "assignments": [
            {
                "instance_id": "gw0",
                "capability": "general",
                "status": "recovered",
                "assigned_at": at(1),
                "completed_at": at(2),
                "metadata": {"weight": 1, "maxConcurrency": 1},
                "attempts": [
                    {
                        "number": 1,
                        "assigned_at": at(1),
                        "started_at": at(1),
                        "completed_at": at(2),
                        "status": "requeued",
                        "recovery_checkpoints": [
                            {
                                "timestamp": at(2),
                                "reason": "auto",
                                "action": "requeue",
                                "detail": "killed by SIGKILL",
                            }
                        ],
                    }
                ],
            }
        ],
    }


@pytest.mark.parametrize(("more", "expected"), [(1, 2), (2, 2), (5, 5)])
def test_a_run_that_goes_on_keeps_its_workers_and_may_have_more(workers, more, expected):
    known = assigned(workers, "gw0", timestamp=at(1))
    after = requested(known, min_instances=1, max_instances=more, timestamp=at(9))
    assert (after.requested_at, after.min_instances, after.max_instances) == (at(0), 1, expected)
    assert after.assignments == known.assignments


@pytest.mark.parametrize(
    ("outcome", "status"), [("completed", "succeeded"), ("failed", "failed"), ("requeued", "recovered")]
)
def test_what_becomes_of_a_command_becomes_of_its_worker(workers, outcome, status):
    busy = assigned(workers, "gw0", timestamp=at(1))
    assert (worker(busy).status, worker(busy).completed_at) == ("running", None)
    assert attempts(busy) == [(1, "running", None)]
    free = released(busy, "gw0", outcome, timestamp=at(3))
    assert (worker(free).status, worker(free).completed_at) == (status, at(3))
    assert attempts(free) == [(1, outcome, at(3))]
    # Its next command is as good as its first.
    again = assigned(free, "gw0", timestamp=at(4))
    assert (worker(again).status, worker(again).assigned_at, worker(again).completed_at) == (
        "running",
        at(1),
        None,
    )
    assert attempts(again) == [(1, outcome, at(3)), (2, "running", None)]


def test_workers_are_in_the_order_of_their_names(workers):
    names = ["gw10", "gw2", "local-1", "gw0", "gw02"]
    for second, name in enumerate(names, start=1):
        workers = assigned(workers, name, timestamp=at(second))
    assert [item.instance_id for item in workers.assignments] == ["gw0", "gw02", "gw2", "gw10", "local-1"]


def test_what_is_told_twice_changes_nothing(workers):
    one = assigned(workers, "gw0", timestamp=at(1))
    assert assigned(one, "gw0", timestamp=at(1)) is one
    two = released(one, "gw0", "completed", timestamp=at(2))
    assert released(two, "gw0", "completed", timestamp=at(2)) is two
    assert assigned(two, "gw0", timestamp=at(1)) is two
    # The next command came in the very moment in which the first one ended, and runs on.
    three = assigned(two, "gw0", timestamp=at(2))
    assert attempts(three) == [(1, "completed", at(2)), (2, "running", None)]
    assert released(three, "gw0", "completed", timestamp=at(2)) is three
    assert assigned(three, "gw0", timestamp=at(1)) is three


def test_a_clock_that_is_set_back_takes_nothing_back(workers):
    one = released(assigned(workers, "gw0", timestamp=at(8)), "gw0", "completed", timestamp=at(9))
    two = released(assigned(one, "gw0", timestamp=at(2)), "gw0", "failed", timestamp=at(3))
    assert attempts(two) == [(1, "completed", at(9)), (2, "failed", at(3))]
    assert (worker(two).status, worker(two).completed_at) == ("failed", at(3))


def test_a_release_of_what_nobody_has_says_nothing(workers):
    assert released(workers, "gw0", "completed", timestamp=at(1)) is workers
    free = released(assigned(workers, "gw0", timestamp=at(1)), "gw0", "completed", timestamp=at(2))
    assert released(free, "gw0", "failed", timestamp=at(3)) is free
    assert released(free, "gw1", "failed", timestamp=at(3)) is free


def test_what_has_no_end_at_the_end_has_failed(workers):
    one = released(assigned(workers, "gw0", timestamp=at(1)), "gw0", "completed", timestamp=at(2))
    two = assigned(one, "gw1", timestamp=at(3))
    over = ended(two, timestamp=at(9))
    assert worker(over) == worker(one)
    assert (worker(over, "gw1").status, worker(over, "gw1").completed_at) == ("failed", at(9))
    assert attempts(over, "gw1") == [(1, "failed", at(9))]
    assert ended(over, timestamp=at(10)) is over


def test_what_another_tool_had_planned_ends_too(workers):
    """Its workers are assigned before they run, and may have been looked after already."""
    noted = (RecoveryCheckpoint(timestamp=at(2), reason="manual", action="ack"),)
    pending = WorkerAttempt(1, at(1), None, None, "pending", noted)
    theirs = Assignment("a", "general", "assigned", at(1), None, AssignmentMetadata(0.5, 1), (pending,))
    idle = Assignment("b", "general", "assigned", at(1), None, AssignmentMetadata(1, 1), ())
    known = Scheduler("multi-instance", at(0), 1, 2, workers.recovery, (theirs, idle))
    over = ended(known, timestamp=at(9))
    assert attempts(over, "a") == [(1, "failed", at(9))]
    assert worker(over, "a").attempts[0].recovery_checkpoints == noted
    assert worker(over, "b") == idle
    assert released(known, "b", "completed", timestamp=at(9)) is known
