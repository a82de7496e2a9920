"""The recorder, for any streams of events of independent stages in any interleaving."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.model.events import (
    AttemptFailed,
    Event,
    RunStarted,
    SchedulerStarted,
    StageAssigned,
    StageCompleted,
    StageReleased,
)
from codex_orchestrator.model.exec_events import CommandEnd, CommandStart, ExecBegin, PrivacyDecided
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.model.privacy_record import empty_record
from codex_orchestrator.model.scheduler import Checkpoint
from codex_orchestrator.rules import recorder
from tests.support.builders import opened_run, pipeline_of

SECONDS = st.integers(0, 59).map(lambda second: f"2026-11-21T02:44:{second:02d}.000Z")
ENDS = st.sampled_from(
    [
        ("succeeded", None),
        ("skipped", "command-allow-failure"),
        ("failed", "command-failed"),
        ("failed", "command-timeout"),
        ("failed", "command-execution-error"),
        ("failed", "command-cancelled"),
    ]
)
OUTCOMES = ["completed", "failed", "requeued"]
STAGES = 4
WORKERS = SchedulerStarted(min_instances=1, max_instances=9, timestamp="2026-11-21T02:44:00.000Z")


def opened() -> Manifest:
    stages = tuple(
        CommandStage(kind="command", id=f"s{place}", title="S", command="true", needs=())
        for place in range(1, STAGES + 1)
    )
    run = opened_run(pipeline_of(*stages), started_at="2026-11-21T02:44:00.000Z")
    # As every run has it from its first manifest on.
    return replace(run, privacy=empty_record("enforce"))


def failed(begin: ExecBegin, *, frames: int) -> AttemptFailed:
    return AttemptFailed(
        stage_id=f"s{begin.index}",
        attempt=begin.attempt,
        reason="command-failed",
        error_file=None,
        correlation_id=begin.correlation_id,
        frames=frames,
        timestamp=begin.timestamp,
        index=begin.index,
    )


def held(draw: st.DrawFn, index: int, worker: str, outcome: str) -> list[Event]:
    """A worker gets a stage's command, and has it no more."""
    action = {"requeued": "requeue", "failed": "escalate"}.get(outcome)
    return [
        StageAssigned(stage_id=f"s{index}", instance_id=worker, timestamp=draw(SECONDS), index=index),
        StageReleased(
            stage_id=f"s{index}",
            instance_id=worker,
            outcome=outcome,
            checkpoint=Checkpoint(reason="auto", action=action) if action else None,
            timestamp=draw(SECONDS),
            index=index,
        ),
    ]


@st.composite
def stream(draw: st.DrawFn, index: int) -> list[Event]:
    """What one stage tells, possibly cut short."""
    status, reason = draw(ENDS)
    attempts = draw(st.integers(0, 3))
    events: list[Event] = [CommandStart(command="true", timestamp=draw(SECONDS), index=index)]
    lost = draw(st.integers(0, 2))
    for number in range(lost):
        events += held(draw, index, f"gw{index + STAGES * number}", "requeued")
    given_out, given_back = held(
        draw, index, f"gw{index + STAGES * lost}", draw(st.sampled_from(["completed", "failed"]))
    )
    events.append(given_out)
    for attempt in range(1, attempts + 1):
        begin = ExecBegin(
            correlation_id=f"{index}-{attempt}",
            attempt=attempt,
            command="true",
            cwd="/",
            session_id="s",
            # Attempts of one stage follow each other in time.
            timestamp=f"2026-11-21T02:44:{attempt:02d}.000Z",
            index=index,
        )
        events.append(begin)
        for rule in draw(st.lists(st.sampled_from("ab"), max_size=3)):
            decided = PrivacyDecided(
                correlation_id=begin.correlation_id,
                sequence=draw(st.integers(0, 2)),
                action=draw(st.sampled_from(["redact", "block"])),
                rule=rule,
                reason="why",
                timestamp=draw(SECONDS),
                index=index,
            )
            events.append(decided)
        if attempt < attempts:
            events.append(failed(begin, frames=draw(st.integers(1, 9))))
    events.append(given_back)
    events.append(CommandEnd(exit_code=0, signal=None, duration_ms=1, timestamp=draw(SECONDS), index=index))
    events.append(
        StageCompleted(
            stage_id=f"s{index}",
            status=status,
            exit_code=0,
            summary="s",
            reason=reason,
            error_file=None,
            correlation_id=f"{index}-{attempts}" if attempts else None,
            frames=draw(st.integers(1, 9)),
            timestamp=draw(SECONDS),
            index=index,
        )
    )
    return events[: draw(st.integers(1, len(events)))]


STREAMS = st.tuples(*(stream(index) for index in range(1, STAGES + 1)))


def interleaved(draw: st.DrawFn, streams: tuple[list[Event], ...]) -> list[Event]:
    left = [list(events) for events in streams]
    order = draw(st.permutations([place for place, events in enumerate(left) for _ in events]))
    return [left[place].pop(0) for place in order]


def applied(events: list[Event]) -> Manifest:
    manifest = recorder.apply(
        opened(), RunStarted(run_id="r", pipeline_id="p", timestamp="2026-11-21T02:44:00.000Z")
    )
    for event in [WORKERS, *events]:
        manifest = recorder.apply(manifest, event)
    return manifest


@settings(max_examples=200)
@given(data=st.data())
def test_every_interleaving_of_independent_stages_gives_the_same_manifest(data):
    streams = data.draw(STREAMS)
    one_by_one = [event for events in streams for event in events]
    assert applied(interleaved(data.draw, streams)) == applied(one_by_one)


@given(data=st.data())
def test_an_event_that_comes_twice_changes_nothing(data):
    events = interleaved(data.draw, data.draw(STREAMS))
    repeated = [event for event in events for _ in range(data.draw(st.integers(1, 2)))]
    assert applied(repeated) == applied(events)


@given(data=st.data())
def test_an_event_that_comes_again_later_changes_nothing(data):
    """A worker that is heard twice, or a log that is read from its start again."""
    events = interleaved(data.draw, data.draw(STREAMS))
    whole = applied(events)
    again = whole
    for event in events:
        again = recorder.apply(again, event)
    assert again == whole


@st.composite
def turns(draw: st.DrawFn, worker: str) -> list[Event]:
    """What one worker does, one command after another, possibly cut short; each takes some time."""
    events: list[Event] = []
    millisecond = draw(st.integers(0, 3))
    for _ in range(draw(st.integers(1, 4))):
        begin, end = held(draw, draw(st.integers(1, STAGES)), worker, draw(st.sampled_from(OUTCOMES)))
        for event, longer in ((begin, 1), (end, 0)):
            events.append(replace(event, timestamp=f"2026-11-21T02:44:00.{millisecond:03d}Z"))
            millisecond += draw(st.integers(longer, 3))
    return events[: draw(st.integers(1, len(events)))]


WORK = st.tuples(turns("gw0"), turns("gw1"), turns("gw2"))


@given(data=st.data())
def test_workers_may_be_heard_in_any_order_and_any_number_of_times(data):
    work = data.draw(WORK)
    events = interleaved(data.draw, work)
    whole = applied([event for turn in work for event in turn])
    assert whole.scheduler is not None
    for worker, turn in zip(whole.scheduler.assignments, work, strict=True):
        begun = [event for event in turn if isinstance(event, StageAssigned)]
        outcomes = [event.outcome for event in turn if isinstance(event, StageReleased)]
        assert [attempt.number for attempt in worker.attempts] == list(range(1, len(begun) + 1))
        assert [attempt.assigned_at for attempt in worker.attempts] == [event.timestamp for event in begun]
        left = ["running"] * (len(begun) - len(outcomes))
        assert [attempt.status for attempt in worker.attempts] == outcomes + left
    assert applied(events) == whole
    assert applied([event for event in events for _ in range(data.draw(st.integers(1, 2)))]) == whole
    again = whole
    for event in [WORKERS, *events]:
        again = recorder.apply(again, event)
    assert again == whole
