"""The pure part of the benchmarks: medians, ratios, verdicts and the form they take in the report."""

import json
from collections.abc import Sequence

import pytest

from tests.bench.cases import CASES, NODE, Case
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
from tests.bench.graph import CRITICAL_PATH_SECONDS, GRAPH
from tests.bench.report import CaseResult, Machine, document, table
from tests.bench.work import (
    Make,
    Shell,
    Stage,
    StageCost,
    Work,
    back_to_front,
    configuration,
    in_turn,
    independent,
    makefile,
)


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


@pytest.mark.parametrize("peer", [samples(1.0, 1.0), None], ids=["beside a peer", "alone"])
@pytest.mark.parametrize(("highest", "expected"), [(2.0, Verdict.MET), (1.9, Verdict.MISSED)])
def test_a_value_is_judged_by_itself_with_a_peer_or_without(
    peer: list[Sample] | None, highest: float, expected: Verdict
) -> None:
    targets = {Measure.WALL: Target(highest, Limit.VALUE)}
    wall, _ = compare(samples(1.5, 2.5), peer, targets)
    assert wall.verdict is expected


def test_without_a_peer_there_are_figures_but_no_ratios() -> None:
    wall, _ = compare(samples(1.0, 3.0), None, {Measure.WALL: Target(0.85)})
    assert wall == Comparison(Measure.WALL, Spread((1.0, 3.0)), target=Target(0.85))


_HALF = Target(0.5)


def result(ours: Sequence[Sample], peer: Sequence[Sample] | None, wall_target: Target = _HALF) -> CaseResult:
    targets = {Measure.WALL: wall_target, Measure.MEMORY: Target(2**24, Limit.GROWTH)}
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


def test_the_table_shows_a_target_for_the_value_in_its_unit() -> None:
    target = Target(2.035, Limit.VALUE)
    _, wall, _ = table([result(samples(2.1), samples(2.2), target)]).splitlines()
    assert " ".join(wall.split()).endswith("-100 ms <= 2035 ms missed")


def test_the_document_is_json_and_holds_every_sample() -> None:
    made = document(
        [result(samples(1.0, 2.0, 6.0), samples(4.0, 4.0, 4.0))],
        [],
        runs=3,
        machine=Machine(1, 0.1),
        skipped={},
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


def _parts(work: object) -> tuple[object, ...]:
    return (work.many, work.few) if isinstance(work, StageCost) else (work,)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_case_fills_in_its_stand_ins_and_proves_that_work_was_done(case: Case) -> None:
    for work in (*_parts(case.work), *_parts(case.peer_work)):
        if isinstance(work, Make):
            assert work.stages == case.work.stages
        if isinstance(work, Work):
            assert not [argument for argument in work.command_line("run-1") if "{" in argument]
            named = " ".join((*work.command_line("run-1"), work.output_fragment("run-1")))
            assert ("run-1" in named) is work.needs_run
            assert work.starts_run or work.output_fragment("run-1")
        if isinstance(work, Shell):
            assert all(name in work.command.split() for name in work.files)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_peer_other_than_the_node_cli_has_work_of_its_own(case: Case) -> None:
    assert (case.peer == NODE) is (case.peer_work is None)


@pytest.mark.parametrize("case", [case for case in CASES if case.peer == NODE], ids=lambda case: case.key)
def test_the_configuration_uses_only_what_both_tools_read(case: Case) -> None:
    pipelines = configuration(case.work)["pipelines"]
    assert isinstance(pipelines, list)
    assert len(pipelines[0]["stages"]) == len(case.work.stages)
    assert {key for stage in pipelines[0]["stages"] for key in stage} == {"kind", "id", "title", "command"}


def test_the_cost_of_a_stage_is_shared_by_those_that_one_process_has_more() -> None:
    assert StageCost(Work(in_turn(*("true",) * 100)), Work(in_turn(*("true",) * 4))).difference == 96


def test_back_to_front_each_stage_waits_for_the_one_declared_after_it() -> None:
    assert [(stage.id, stage.needs) for stage in back_to_front("a", "b", "c")] == [
        ("stage-1", ("stage-2",)),
        ("stage-2", ("stage-3",)),
        ("stage-3", ()),
    ]


def test_needs_are_written_where_a_stage_has_them() -> None:
    work = Work((Stage("a", "true"), Stage("b", "true", needs=()), Stage("c", "true", needs=("a", "b"))))
    pipelines = configuration(work)["pipelines"]
    assert isinstance(pipelines, list)
    assert [stage.get("needs") for stage in pipelines[0]["stages"]] == [None, [], ["a", "b"]]


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (in_turn("true", "false"), "stage-1:\n\ttrue\nstage-2: stage-1\n\tfalse\n"),
        (independent("true", "false"), "stage-1:\n\ttrue\nstage-2:\n\tfalse\n"),
    ],
    ids=["in turn", "independent"],
)
def test_a_makefile_has_a_rule_for_each_stage(stages: tuple[Stage, ...], expected: str) -> None:
    written = makefile(Make(stages, jobs=2))
    assert written == f"all: stage-1 stage-2\n.PHONY: all stage-1 stage-2\n{expected}"


def makespan(order: Sequence[str], at_once: int) -> float:
    """When the graph ends, where whatever is ready starts in this order, so many at once."""
    stages = {stage.id: stage for stage in GRAPH}
    waiting = [stages[name] for name in order]
    running: dict[str, float] = {}
    ended: set[str] = set()
    now = 0.0
    while waiting or running:
        ready = [stage for stage in waiting if set(stage.needs or ()) <= ended]
        for stage in ready[: at_once - len(running)]:
            running[stage.id] = now + float(stage.command.removeprefix("sleep "))
            waiting.remove(stage)
        now = min(running.values())
        ended |= {name for name, end in running.items() if end <= now}
        running = {name: end for name, end in running.items() if end > now}
    return now


def test_the_graph_takes_its_critical_path_only_where_its_chain_goes_first() -> None:
    declared = [stage.id for stage in GRAPH]
    chain = ["prepare", "build", "integration", "package"]
    chain_first = [*chain, *(name for name in declared if name not in chain)]
    assert pytest.approx(1.70) == CRITICAL_PATH_SECONDS
    assert makespan(chain_first, at_once=4) == pytest.approx(1.70)
    assert makespan(declared, at_once=4) == pytest.approx(2.10)
    assert makespan(declared, at_once=5) == pytest.approx(1.70)
