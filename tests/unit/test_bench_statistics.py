"""The pure part of the benchmarks: medians, ratios, verdicts and the form they take in the report."""

import json
from collections.abc import Sequence

import pytest

from tests.bench.cases import CASES, Case, configuration
from tests.bench.figures import (
    Comparison,
    Measure,
    Sample,
    Spread,
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
    ours, node = Spread((1.0, 2.0, 30.0)), Spread((2.0, 10.0, 40.0))
    assert ratio_of_medians(ours, node) == pytest.approx(0.2)
    assert median_of_pairwise_ratios(ours, node) == pytest.approx(0.5)


def test_equal_runs_give_a_ratio_of_one() -> None:
    same = Spread((0.1, 0.2, 0.3))
    assert ratio_of_medians(same, same) == 1.0
    assert median_of_pairwise_ratios(same, same) == 1.0


@pytest.mark.parametrize("node", [Spread((0.0,)), Spread((-1.0,))])
def test_a_ratio_needs_something_positive_to_divide_by(node: Spread) -> None:
    with pytest.raises(ValueError, match="positive"):
        ratio_of_medians(Spread((1.0,)), node)
    with pytest.raises(ValueError, match="positive"):
        median_of_pairwise_ratios(Spread((1.0,)), node)


def test_pairs_need_as_many_runs_of_both() -> None:
    with pytest.raises(ValueError, match="2 runs of ours do not pair with 1"):
        median_of_pairwise_ratios(Spread((1.0, 2.0)), Spread((1.0,)))


@pytest.mark.parametrize(
    ("ratio", "target", "expected"),
    [
        (0.84, 0.85, Verdict.MET),
        (0.85, 0.85, Verdict.MET),
        (0.8501, 0.85, Verdict.MISSED),
        (0.5, None, None),
        (None, 0.85, None),
        (None, None, None),
    ],
)
def test_a_ratio_meets_its_target_up_to_and_including_it(
    ratio: float | None, target: float | None, expected: Verdict | None
) -> None:
    assert judge(ratio, target) is expected


def test_a_comparison_covers_every_measure_and_judges_those_with_a_target() -> None:
    wall, memory = compare(samples(1.0, 1.0, memory=90), samples(4.0, 2.0, memory=100), {Measure.MEMORY: 0.6})
    assert (wall.measure, wall.target, wall.verdict) == (Measure.WALL, None, None)
    assert wall.ratio == pytest.approx(1 / 3)
    assert wall.pairwise_ratio == pytest.approx(0.375)
    assert (memory.measure, memory.ratio, memory.verdict) == (Measure.MEMORY, 0.9, Verdict.MISSED)


def test_without_the_node_cli_there_are_figures_but_no_ratios() -> None:
    wall, _ = compare(samples(1.0, 3.0), None, {Measure.WALL: 0.85})
    assert wall == Comparison(Measure.WALL, Spread((1.0, 3.0)), None, None, None, 0.85, None)


def result(ours: Sequence[Sample], node: Sequence[Sample] | None) -> CaseResult:
    return CaseResult(CASES[0], compare(ours, node, {Measure.WALL: 0.5}))


def test_the_table_shows_medians_ratios_targets_and_verdicts() -> None:
    header, wall, memory = table(
        [result(samples(0.1, memory=2**20), samples(0.4, memory=2**21))]
    ).splitlines()
    assert header.split() == ["case", "measure", "ours", "node", "ratio", "pairwise", "target"]
    assert wall.split()[-10:] == ["wall", "100", "ms", "400", "ms", "0.250", "0.250", "<=", "0.50", "met"]
    assert memory.split()[-7:] == ["1.0", "MiB", "2.0", "MiB", "0.500", "0.500", "-"]


def test_the_table_has_dashes_where_only_ours_ran() -> None:
    _, wall, _ = table([result(samples(0.1), None)]).splitlines()
    assert wall.split()[-8:] == ["wall", "100", "ms", "-", "-", "-", "<=", "0.50"]


def test_the_document_is_json_and_holds_every_sample() -> None:
    made = document(
        [result(samples(1.0, 2.0, 6.0), samples(4.0, 4.0, 4.0))], [], runs=3, floor=1, skipped=None
    )
    wall = json.loads(json.dumps(made))["cases"][0]["measures"]["wall_seconds"]
    assert wall == {
        "ours": {"median": 2.0, "samples": [1.0, 2.0, 6.0]},
        "node": {"median": 4.0, "samples": [4.0, 4.0, 4.0]},
        "ratio_of_medians": 0.5,
        "median_of_pairwise_ratios": 0.5,
        "target": 0.5,
        "verdict": "met",
    }


def test_case_keys_are_unique() -> None:
    keys = [case.key for case in CASES]
    assert sorted(set(keys)) == sorted(keys)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_case_fills_in_its_stand_ins_and_proves_that_work_was_done(case: Case) -> None:
    assert not [argument for argument in case.command_line("run-1") if "{" in argument]
    assert ("run-1" in case.command_line("run-1")) is case.needs_run
    assert case.starts_run or case.output_fragment("run-1")


def test_the_configuration_uses_only_what_both_tools_read() -> None:
    pipelines = configuration(CASES[1])["pipelines"]
    assert isinstance(pipelines, list)
    assert len(pipelines[0]["stages"]) == 100
    assert {key for stage in pipelines[0]["stages"] for key in stage} == {"kind", "id", "title", "command"}
