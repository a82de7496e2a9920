"""The recorder, for any streams of events of independent stages in any interleaving."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from codex_orchestrator.pipelines.model import CommandStage
from codex_orchestrator.run import recorder
from codex_orchestrator.run.events import (
    AttemptFailed,
    CommandEnd,
    CommandStart,
    Event,
    ExecBegin,
    RunStarted,
    StageCompleted,
)
from codex_orchestrator.run.shapes import Manifest
from tests.builders import opened_run, pipeline_of

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
STAGES = 4


def opened() -> Manifest:
    stages = tuple(
        CommandStage(kind="command", id=f"s{place}", title="S", command="true", needs=())
        for place in range(1, STAGES + 1)
    )
    return opened_run(pipeline_of(*stages), started_at="2026-11-21T02:44:00.000Z")


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


@st.composite
def stream(draw: st.DrawFn, index: int) -> list[Event]:
    """What one stage tells, possibly cut short."""
    status, reason = draw(ENDS)
    attempts = draw(st.integers(0, 3))
    events: list[Event] = [CommandStart(command="true", timestamp=draw(SECONDS), index=index)]
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
        if attempt < attempts:
            events.append(failed(begin, frames=draw(st.integers(1, 9))))
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
    for event in events:
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
