"""The words of progress: lines, and what is said last."""

from __future__ import annotations

import pytest

from pytest_codex.progress.board import StageEnd, StageProgress, consequences, root_failure
from pytest_codex.progress.lines import Prefixer, elapsed, ended, still_running
from pytest_codex.progress.screen import DisplayOptions, choose_display

RED, RESET = "\x1b[31m", "\x1b[0m"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0.0 s"), (-0.1, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (29.5, "30 s"), (119.4, "119 s"),
     (125.0, "2 min 05 s"), (3_600.0, "60 min 00 s")],
)  # fmt: skip
def test_how_long_something_takes(seconds, words):
    assert elapsed(seconds) == words


@pytest.mark.parametrize(
    ("end", "line"),
    [
        (StageEnd("passed", 0.314), "[1/2] a: passed in 0.31 s"),
        (StageEnd("passed", 0.0, why="kept, passed before"), "[1/2] a: kept, passed before"),
        (StageEnd("skipped", 0.0, "blocked: work::b failed"), "[1/2] a: skipped, blocked: work::b failed"),
        (StageEnd("skipped", 0.0, "because\n::error::x\n"), "[1/2] a: skipped, because ::error::x"),
        (StageEnd("failed", 2, "exit code 3"), "[1/2] a: failed in 2.00 s, exit code 3"),
        (StageEnd("failed", 2, "waits for approval", waits=True), "[1/2] a: waits for approval"),
    ],
)
def test_a_line_for_each_end(end, line):
    assert ended(StageProgress("work::a", "a", "[1/2] a", end.state, ended=end)) == line


def test_a_line_for_a_stage_that_runs():
    stage = StageProgress("work::a", "a", "[1/2] a", "running", since=10.0)
    assert still_running(stage, 39.5) == "[1/2] a: running for 30 s"
    talking = StageProgress("work::a", "a", "[1/2] a", "running", since=10.0, tail=f"1 of 9\n{RED}2 of 9\n")
    assert still_running(talking, 39.5) == "[1/2] a: running for 30 s, last: 2 of 9"
    there = StageProgress("work::a", "a", "[1/2] a", "running", since=10.0, worker="w1")
    assert still_running(there, 39.5) == "[1/2] a: running on w1 for 30 s"


# What stages print.


def test_pieces_of_output_become_whole_lines_of_their_stage_and_stream():
    prefixer = Prefixer(colour=False)
    assert prefixer.feed("a", "stdout", "one\ntw") == "a | one\n"
    assert prefixer.feed("b", "stdout", "other\n") == "b | other\n"
    assert prefixer.feed("a", "stderr", "er") == ""
    assert prefixer.feed("a", "stdout", "o\r\n\nthr") == "a | two\na | \n"
    assert prefixer.flush("a") == "a | thr\na | er\n"
    assert prefixer.flush("a") == ""


def test_a_line_without_end_is_not_kept_for_ever():
    prefixer = Prefixer(colour=False)
    shown = "".join(prefixer.feed("a", "stdout", "x" * 10_000) for _ in range(20))
    assert shown.count("\n") == 2
    assert shown.replace("a | ", "").replace("\n", "") + prefixer.flush("a")[4:-1] == "x" * 200_000


# What is said last.


def failed(why="exit code 1", **keywords) -> StageEnd:
    return StageEnd("failed", 0.1, why, f"failed: {why}", **keywords)


def stages(**ends: StageEnd | None) -> list[StageProgress]:
    return [
        StageProgress(
            f"work::{name.replace('__', '::')}", name, name, end.state if end else "waiting", ended=end
        )
        for name, end in ends.items()
    ]


CANCELLED = failed("cancelled by -x", cancelled=True)
WAITS = failed("waits for approval", waits=True)
BLOCKED = StageEnd("skipped", 0.0, "blocked: work::b failed")
PASSED = StageEnd("passed", 0.1)


@pytest.mark.parametrize(
    ("ends", "stopped", "root", "followed"),
    [
        ({"a": PASSED}, False, None, None),
        ({"a": WAITS, "b": PASSED}, False, None, None),
        ({"a": PASSED, "b": failed()}, False, "b", None),
        ({"b": failed(), "c": failed()}, False, "b", None),
        ({"a": CANCELLED, "b": failed()}, True, "b", "1 stage was cancelled because of it: a."),
        ({"a": CANCELLED, "b": failed()}, False, "b", None),
        ({"a": CANCELLED, "b": CANCELLED}, False, "a", None),
        (
            {"b": failed(), "c": BLOCKED, "d": BLOCKED},
            False,
            "b",
            "2 stages did not run because of it: c, d.",
        ),
        ({"b": failed(), "c": None}, False, "b", None),
        ({"b": failed(), "c": None}, True, "b", "1 stage did not run because of it: c."),
        ({"b__x": failed(), "c": BLOCKED}, False, "b__x", "1 stage did not run because of it: c."),
        ({"a": failed(), "b": failed(), "c": BLOCKED}, False, "a", None),
        ({"bb": failed(), "c": BLOCKED}, False, "bb", None),
        (
            {"a": CANCELLED, "b": failed(), "c": CANCELLED, "d": BLOCKED},
            True,
            "b",
            "2 stages were cancelled because of it: a, c. 1 stage did not run because of it: d.",
        ),
    ],
)
def test_the_first_failure_that_nothing_brought_about_and_what_followed_from_it(
    ends, stopped, root, followed
):
    there = stages(**ends)
    found = root_failure(there)
    assert (found.name if found else None) == root
    if found:
        assert consequences(found, there, stopped=stopped) == followed


def test_of_many_that_followed_ten_are_named():
    there = stages(b=failed(), **{f"s{number}": BLOCKED for number in range(12)})
    assert consequences(there[0], there, stopped=False) == (
        "12 stages did not run because of it: s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 … and 2 more."
    )


# What is shown at all.


TERM = {"TERM": "xterm"}
GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true"}
LINES = DisplayOptions(lines=True, heartbeats=True)
LIVE = DisplayOptions(live=True, lines=True)


@pytest.mark.parametrize(
    ("variables", "terminal", "verbosity", "stream", "display"),
    [
        (TERM, True, 0, False, LIVE),
        ({**TERM, "NO_COLOR": "1"}, True, 0, False, LIVE),
        (TERM, False, 0, False, LINES),
        ({}, True, 0, False, LINES),
        ({"TERM": "dumb"}, True, 0, False, LINES),
        ({**TERM, "CI": "true"}, True, 0, False, LINES),
        ({**TERM, "CI": "false"}, True, 0, False, LIVE),
        ({**TERM, "CI": ""}, True, 0, False, LIVE),
        (TERM, True, 0, True, DisplayOptions(lines=True, heartbeats=True, stream=True)),
        (TERM, True, -1, False, DisplayOptions()),
        (TERM, False, 1, False, DisplayOptions(heartbeats=True)),
        (TERM, True, 1, True, DisplayOptions(heartbeats=True, stream=True)),
        (
            {**TERM, **GITHUB},
            True,
            0,
            False,
            DisplayOptions(lines=True, heartbeats=True, groups=True, github=True),
        ),
        (GITHUB, False, 0, True, DisplayOptions(lines=True, heartbeats=True, stream=True, github=True)),
        (GITHUB, False, -1, False, DisplayOptions(github=True)),
        ({"GITHUB_ACTIONS": "false"}, False, 0, False, LINES),
    ],
)
def test_how_progress_is_shown(variables, terminal, verbosity, stream, display):
    assert choose_display(variables, terminal=terminal, verbosity=verbosity, stream=stream) == display
