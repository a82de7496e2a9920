"""No stage is silent for long."""

from __future__ import annotations

from threading import Event

import pytest

from codex_orchestrator.clock import FakeClock, SystemClock
from pytest_codex.progress.board import Board, StageEnd, stages_of
from pytest_codex.progress.heartbeat import LIMIT_SECONDS, Heartbeat, SilenceTracker

LIMIT = 30.0


def said_at(script: dict[float, str], until: float) -> list[tuple[float, str]]:
    """What is said when, if at each of those times a stage starts (``+a``), ends (``-a``) or is spoken of."""
    clock, board, tracker = FakeClock(), Board(), SilenceTracker(LIMIT)
    board.declare(["p::a", "p::b"])
    said, asked = [], LIMIT
    while clock.monotonic() < until:
        now = clock.monotonic()
        what = script.get(now, "")
        nodeid = f"p::{what[1:]}"
        if what.startswith("+"):
            board.start(nodeid, now)
        elif what.startswith("-"):
            board.end(nodeid, StageEnd("passed", 1.0))
        elif what:
            tracker.said(nodeid, now)
        if now >= asked:
            due, wait = tracker.due(stages_of(board.stages, "running"), now)
            assert 0 < wait <= LIMIT
            said += [(now, stage.name) for stage in due]
            asked = now + wait
        clock.advance(1)
    return said


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({}, []),
        ({0: "+a"}, [(30, "a"), (60, "a"), (90, "a")]),
        ({10: "+a"}, [(40, "a"), (70, "a")]),
        ({0: "+a", 20: ".a"}, [(50, "a"), (80, "a")]),
        ({0: "+a", 29: "-a"}, []),
        ({0: "+a", 10: "+b"}, [(30, "a"), (40, "b"), (60, "a"), (70, "b"), (90, "a")]),
        ({0: "+a", 10: "+b", 35: "-a"}, [(30, "a"), (40, "b"), (70, "b")]),
    ],
    ids=repr,
)
def test_each_stage_that_runs_is_spoken_of_when_it_was_silent_for_so_long(script, said):
    assert said_at(script, 100) == said


def test_nobody_waits_for_half_a_minute():
    assert LIMIT_SECONDS < 30


def test_the_thread_speaks_until_it_is_stopped():
    board, heard = Board(), Event()
    board.declare(["p::a", "p::b"])
    said: list[str] = []

    def say(stage, now):
        said.append(stage.name)
        if len(said) == 3:
            heard.set()

    heartbeat = Heartbeat(board, SystemClock(), say, limit=0.01)
    board.start("p::a", SystemClock().monotonic())
    heartbeat.start()
    assert heard.wait(60)
    heartbeat.stop()
    assert set(said) == {"a"}
    assert not heartbeat._thread.is_alive()


def test_what_never_started_can_be_stopped():
    Heartbeat(Board(), FakeClock(), lambda stage, now: None).stop()
