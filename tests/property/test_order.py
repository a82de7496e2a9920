"""The order of stages, for any needs."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.definitions.graph import (
    Dependencies,
    blocked,
    dependencies,
    find_cycle,
    nearest,
    reached_failure,
    requirements,
    topological_order,
)
from codex_orchestrator.model.definitions import CommandStage, Stage

NAMES = "abcdefgh"


@st.composite
def any_stages(draw: st.DrawFn) -> list[Stage]:
    """Stages with any needs at all among them, cycles included."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    needs = st.none() | st.lists(st.sampled_from(names), unique=True, max_size=3).map(tuple)
    return [
        CommandStage(kind="command", id=name, title=name, command="x", needs=draw(needs)) for name in names
    ]


def waiting() -> st.SearchStrategy[Dependencies]:
    """What such stages wait for."""
    return any_stages().map(dependencies)


def ordered_stages() -> st.SearchStrategy[list[Stage]]:
    """Such stages without a cycle."""
    return any_stages().filter(lambda stages: find_cycle(dependencies(stages)) is None)


some = st.sets(st.sampled_from(NAMES))


@given(waits=waiting())
def test_every_stage_comes_after_all_that_it_waits_for(waits):
    order = topological_order(waits)
    assert len(set(order)) == len(order)
    for place, item in enumerate(order):
        assert set(waits[item]) <= set(order[:place])
    assert (find_cycle(waits) is None) == (set(order) == set(waits))


@given(waits=waiting())
def test_the_declared_order_is_kept_where_it_fits(waits):
    declared = list(waits)
    fits = all(set(needs) <= set(declared[: declared.index(item)]) for item, needs in waits.items())
    assert (topological_order(waits) == declared) == fits


@given(waits=waiting())
def test_no_stage_is_moved_without_need(waits):
    """At each place stands the first declared stage that could stand there."""
    order = topological_order(waits)
    for place, item in enumerate(order):
        ready = [
            name for name in waits if name not in order[:place] and set(waits[name]) <= set(order[:place])
        ]
        assert item == ready[0]


@given(waits=waiting())
def test_a_cycle_is_a_way_along_needs_that_comes_round(waits):
    cycle = find_cycle(waits)
    if cycle is not None:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert all(after in waits[before] for before, after in itertools.pairwise(cycle))


@given(waits=waiting(), failed=st.sets(st.sampled_from(NAMES)))
def test_a_failure_blocks_exactly_what_waits_for_it_through_others(waits, failed):
    for item in waits:
        behind: set[str] = set(waits[item])
        for _ in waits:
            behind |= {need for name in behind for need in waits[name]}
        roots = [name for name in waits if name in behind & failed]
        assert reached_failure(waits, item, failed) == (roots[0] if roots else None)


def behind(waits: Dependencies, item: str) -> set[str]:
    """All that an item waits for, directly or through others."""
    found: set[str] = set(waits[item])
    for _ in waits:
        found |= {need for name in found for need in waits[name]}
    return found


@given(stages=ordered_stages(), failed=some, decisions=some)
def test_who_keeps_going_runs_what_no_need_and_no_decision_holds_up(stages, failed, decisions):
    """By the words of the reference: a walk along the order that asks of each stage what it needs."""
    waits = dependencies(stages)
    held_up: set[str] = set()
    for item in topological_order(waits):
        needs = next(stage.needs for stage in stages if stage.id == item)
        asked = (behind(waits, item) & decisions) if needs is None else set(needs)
        if asked & (failed | held_up):
            held_up.add(item)
    assert blocked(requirements(stages, decisions, keep_going=True), failed) == held_up


@given(stages=ordered_stages(), failed=some, decisions=some)
def test_who_keeps_going_runs_no_less_and_never_before_its_time(stages, failed, decisions):
    waits = dependencies(stages)
    required = requirements(stages, decisions, keep_going=True)
    assert list(required) == list(waits)
    assert blocked(required, failed) <= blocked(waits, failed)
    assert all(set(required[item]) <= behind(waits, item) for item in waits)
    if all(stage.needs is not None for stage in stages):
        assert required == waits


@given(stages=ordered_stages(), decisions=some)
def test_nothing_goes_past_a_decision_that_was_not_made(stages, decisions):
    required = requirements(stages, decisions, keep_going=True)
    waits = dependencies(stages)
    by_order = {stage.id for stage in stages if stage.needs is None and behind(waits, stage.id) & decisions}
    assert by_order <= blocked(required, decisions)


@given(waits=waiting(), failed=some)
def test_all_that_is_blocked_has_a_failure_to_name(waits, failed):
    if find_cycle(waits) is None:
        named = {item for item in waits if reached_failure(waits, item, failed) is not None}
        assert blocked(waits, failed) == named


@given(waits=waiting(), chosen=some)
def test_the_nearest_of_the_chosen_are_those_with_no_chosen_one_between(waits, chosen):
    found = nearest(waits, chosen)
    for item in found:
        straight: set[str] = set()
        queue = list(waits[item])
        while queue:
            need = queue.pop()
            straight.add(need)
            queue += [] if need in chosen else [name for name in waits[need] if name not in straight]
        assert set(found[item]) == straight & chosen
        assert len(found[item]) == len(set(found[item]))


@given(waits=waiting(), late=st.sets(st.sampled_from(NAMES)))
def test_late_stages_come_when_no_other_can(waits, late):
    order = topological_order(waits, late)
    assert set(order) == set(topological_order(waits))
    for place, item in enumerate(order):
        ready = [
            name for name in waits if name not in order[:place] and set(waits[name]) <= set(order[:place])
        ]
        assert item == next((name for name in ready if name not in late), ready[0])
