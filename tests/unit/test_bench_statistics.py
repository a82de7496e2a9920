"""The pure part of the benchmarks: medians, ratios, verdicts and the form they take in the report."""

import json
from collections.abc import Sequence

import pytest

from tests.bench.cases import CASES, NODE, Case, Shell, Work, configuration
from tests.bench.figures import (
    Comparison,
    Limit,
    Measure,
    Sample,
    Spread,
    Target,
    Verdict,
    compare,
    judge,
    median_of_pairwise_ratios,
    ratio_of_medians,
    spread,
)
from tests.bench.report import CaseResult, document, table


def samples(*walls: float, memory: int = 100) -> list[Sample]:
    return [Sample(wall, memory) for wall in walls]


@pytest.mark.parametrize(
    ("values", "expected"),
    [((3.0,), 3.0), ((9.0, 1.0, 5.0), 5.0), ((4.0, 1.0, 3.0, 2.0), 2.5), ((1.0, 1.0, 1000.0), 1.0)],
)
def test_the_median_is_the_middle_value(values: tuple[float, ...], expected: float) -> None:
    assert Spread(values).median == expected


def test_a_spread_keeps_the_order_and_takes_the_measure_asked_for() -> None:
    taken = [Sample(2.0, 30), Sample(1.0, 10)]
    assert spread(taken, Measure.WALL).values == (2.0, 1.0)
    assert spread(taken, Measure.MEMORY).values == (30.0, 10.0)


def test_a_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        spread([], Measure.WALL)


def test_the_two_ratios_differ_where_the_machine_drifts() -> None:
    ours, peer = Spread((1.0, 2.0, 30.0)), Spread((2.0, 10.0, 40.0))
    assert ratio_of_medians(ours, peer) == pytest.approx(0.2)
    assert median_of_pairwise_ratios(ours, peer) == pytest.approx(0.5)


def test_equal_runs_give_a_ratio_of_one() -> None:
    same = Spread((0.1, 0.2, 0.3))
    assert ratio_of_medians(same, same) == 1.0
    assert median_of_pairwise_ratios(same, same) == 1.0


@pytest.mark.parametrize("peer", [Spread((0.0,)), Spread((-1.0,))])
def test_a_ratio_needs_something_positive_to_divide_by(peer: Spread) -> None:
    with pytest.raises(ValueError, match="positive"):
        ratio_of_medians(Spread((1.0,)), peer)
    with pytest.raises(ValueError, match="positive"):
        median_of_pairwise_ratios(Spread((1.0,)), peer)


def test_pairs_need_as_many_runs_of_both() -> None:
    with pytest.raises(ValueError, match="2 runs of ours do not pair with 1"):
        median_of_pairwise_ratios(Spread((1.0, 2.0)), Spread((1.0,)))


@pytest.mark.parametrize(
    ("value", "target", "expected"),
    [
        (0.84, Target(0.85), Verdict.MET),
        (0.85, Target(0.85), Verdict.MET),
        (0.8501, Target(0.85), Verdict.MISSED),
        (-5.0, Target(16.0, Limit.GROWTH), Verdict.MET),
        (0.5, None, None),
    ],
)
def test_a_value_meets_its_target_up_to_and_including_it(
    value: float, target: Target | None, expected: Verdict | None
) -> None:
    assert judge(value, target) is expected


def test_a_comparison_covers_every_measure_and_judges_those_with_a_target() -> None:
    targets = {Measure.MEMORY: Target(0.6)}
    wall, memory = compare(samples(1.0, 1.0, memory=90), samples(4.0, 2.0, memory=100), targets)
    assert (wall.measure, wall.target, wall.verdict) == (Measure.WALL, None, None)
    assert wall.ratio == pytest.approx(1 / 3)
    assert wall.pairwise_ratio == pytest.approx(0.375)
    assert (memory.measure, memory.ratio, memory.verdict) == (Measure.MEMORY, 0.9, Verdict.MISSED)


@pytest.mark.parametrize(("highest", "expected"), [(10.0, Verdict.MET), (9.0, Verdict.MISSED)])
def test_a_growth_is_judged_by_the_difference_whatever_the_ratio(highest: float, expected: Verdict) -> None:
    targets = {Measure.MEMORY: Target(highest, Limit.GROWTH)}
    _, memory = compare(samples(1.0, memory=15), samples(1.0, memory=5), targets)
    assert (memory.ratio, memory.growth, memory.verdict) == (3.0, 10.0, expected)


def test_without_a_peer_there_are_figures_but_no_ratios() -> None:
    wall, _ = compare(samples(1.0, 3.0), None, {Measure.WALL: Target(0.85)})
    assert wall == Comparison(Measure.WALL, Spread((1.0, 3.0)), target=Target(0.85))


def result(ours: Sequence[Sample], peer: Sequence[Sample] | None) -> CaseResult:
    targets = {Measure.WALL: Target(0.5), Measure.MEMORY: Target(2**24, Limit.GROWTH)}
    return CaseResult(CASES[0], compare(ours, peer, targets))


def test_the_table_shows_medians_ratios_targets_and_verdicts() -> None:
    header, wall, memory = table(
        [result(samples(0.1, memory=2**20), samples(0.4, memory=2**21))]
    ).splitlines()
    names = ["case", "measure", "ours", "beside", "ratio", "pairwise", "growth", "target"]
    assert header.split() == names
    assert " ".join(wall.split()).endswith("wall 100 ms node 400 ms 0.250 0.250 -300 ms <= 0.50 met")
    assert " ".join(memory.split()).endswith(
        "peak memory 1.0 MiB node 2.0 MiB 0.500 0.500 -1.0 MiB <= +16.0 MiB met"
    )


def test_the_table_has_dashes_where_only_ours_ran() -> None:
    _, wall, _ = table([result(samples(0.1), None)]).splitlines()
    assert wall.split()[-10:] == ["wall", "100", "ms", "node", "-", "-", "-", "-", "<=", "0.50"]


def test_the_document_is_json_and_holds_every_sample() -> None:
    made = document(
        [result(samples(1.0, 2.0, 6.0), samples(4.0, 4.0, 4.0))], [], runs=3, floor=1, skipped=None
    )
    case = json.loads(json.dumps(made))["cases"][0]
    assert (case["key"], case["peer"]) == ("a", NODE)
    assert case["measures"]["wall_seconds"] == {
        "ours": {"median": 2.0, "samples": [1.0, 2.0, 6.0]},
        "peer": {"median": 4.0, "samples": [4.0, 4.0, 4.0]},
        "ratio_of_medians": 0.5,
        "median_of_pairwise_ratios": 0.5,
        "growth_of_medians": -2.0,
        "target": {"limit": "ratio", "highest": 0.5},
        "verdict": "met",
    }


def test_case_keys_are_unique() -> None:
    keys = [case.key for case in CASES]
    assert sorted(set(keys)) == sorted(keys)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_case_fills_in_its_stand_ins_and_proves_that_work_was_done(case: Case) -> None:
    for work in (case.work, case.peer_work):
        if isinstance(work, Work):
            assert not [argument for argument in work.command_line("run-1") if "{" in argument]
            assert ("run-1" in work.command_line("run-1")) is work.needs_run
            assert work.starts_run or work.output_fragment("run-1")
        if isinstance(work, Shell):
            assert all(name in work.command.split() for name in work.files)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_peer_other_than_the_node_cli_has_work_of_its_own(case: Case) -> None:
    assert (case.peer == NODE) is (case.peer_work is None)


def test_the_configuration_uses_only_what_both_tools_read() -> None:
    pipelines = configuration(CASES[1].work)["pipelines"]
    assert isinstance(pipelines, list)
    assert len(pipelines[0]["stages"]) == 100
    assert {key for stage in pipelines[0]["stages"] for key in stage} == {"kind", "id", "title", "command"}
