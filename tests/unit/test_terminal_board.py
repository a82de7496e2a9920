"""How stages stand, and which of them there is room for."""

from __future__ import annotations

import pytest

from pytest_codex.progress.board import Board, StageEnd, StageProgress, arrange
from pytest_codex.progress.lines import counted

PASSED, SKIPPED = StageEnd("passed", 0.5), StageEnd("skipped", 0.0, "blocked: work::b failed")
FAILED = StageEnd("failed", 0.25, "exit code 3", "Stage 'B' failed: exit code 3")


def board(*names: str, above: str = "work") -> Board:
    made = Board()
    made.declare([f"{above}::{name}" for name in names])
    return made


def test_a_stage_from_its_beginning_to_its_end():
    shown = board("a", "b")
    assert [(stage.place, stage.state) for stage in shown.stages] == [
        ("[1/2] a", "waiting"),
        ("[2/2] b", "waiting"),
    ]
    started = shown.start("work::b", 4.0)
    assert started is not None
    assert (started.state, started.since, shown["work::a"].state) == ("running", 4.0, "waiting")
    shown.add_output("work::b", "one\ntw")
    shown.add_output("work::b", "o\n")
    assert shown["work::b"].tail == "one\ntwo\n"
    ended = shown.end("work::b", FAILED)
    assert (ended.state, ended.ended, ended.place) == ("failed", FAILED, "[2/2] b")


def test_a_stage_that_runs_a_pipeline_is_none_of_its_own():
    shown = board("sub::a", "sub::b")
    assert shown.start("work::sub", 1.0) is None
    assert [stage.name for stage in shown.stages] == ["sub::a", "sub::b"]


def test_of_several_pipelines_each_stage_is_called_by_its_node_id():
    shown = Board()
    shown.declare(["one::a", "two::a"])
    assert [stage.place for stage in shown.stages] == ["[1/2] one::a", "[2/2] two::a"]


def test_what_is_kept_of_output_is_little_however_much_there_is():
    shown = board("a")
    for number in range(100):
        shown.add_output("work::a", f"{'x' * 5_000}\n{number}")
    assert len(shown["work::a"].tail) == 1_000
    assert shown["work::a"].tail.endswith("\n99")


def test_what_was_not_selected_keeps_its_place_and_is_not_shown():
    shown = Board()
    shown.declare(["work::a", "work::b", "work::c"], {"work::b", "work::c"})
    assert [stage.place for stage in shown.stages] == ["[2/3] b", "[3/3] c"]


def test_what_nobody_declared_is_called_by_its_node_id():
    assert Board()["work::a"].place == "work::a"


def many(**counts: int) -> list[StageProgress]:
    """So many stages in each state, one after the other."""
    return [
        StageProgress(f"{state}{number}", f"{state}{number}", "", state)
        for number in range(max(counts.values()))
        for state, count in counts.items()
        if number < count
    ]


@pytest.mark.parametrize(
    ("counts", "lines", "shown", "folded"),
    [
        ({"passed": 1, "failed": 1, "running": 1}, 3, "failed0 running0 passed0", ""),
        ({"passed": 1, "waiting": 1, "skipped": 1}, 5, "waiting0 passed0 skipped0", ""),
        (
            {"passed": 9, "waiting": 3, "failed": 1, "running": 2},
            4,
            "failed0 running0 running1",
            "3 waiting, 9 passed",
        ),
        ({"passed": 9, "running": 1}, 9, "running0", "9 passed"),
        ({"failed": 9, "running": 1}, 5, "failed0 failed1 failed2 running0", "6 failed"),
        ({"failed": 9, "running": 9}, 5, "failed0 failed1 running0 running1", "7 failed, 7 running"),
        ({"failed": 9, "running": 9}, 4, "failed0 running0 running1", "8 failed, 7 running"),
        ({"failed": 1, "running": 9}, 5, "failed0 running0 running1 running2", "6 running"),
        ({"running": 2, "waiting": 2}, 1, "", "2 running, 2 waiting"),
        ({"running": 2}, 0, "", "2 running"),
    ],
)
def test_failures_first_then_what_runs_and_the_rest_in_one_line(counts, lines, shown, folded):
    view = arrange(many(**counts), lines)
    assert " ".join(stage.name for stage in view.shown) == shown
    assert counted(view.folded) == folded
    assert len(view.shown) + bool(view.folded) <= max(lines, 1)
