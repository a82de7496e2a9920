"""The order of stages, for any needs."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.pipelines.graph import (
    Dependencies,
    dependencies,
    find_cycle,
    reached_failure,
    topological_order,
)
from codex_orchestrator.pipelines.model import CommandStage

NAMES = "abcdefgh"


@st.composite
def waiting(draw: st.DrawFn) -> Dependencies:
    """Stages with any needs at all among them, cycles included."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    needs = st.none() | st.lists(st.sampled_from(names), unique=True, max_size=3).map(tuple)
    return dependencies(
        [CommandStage(kind="command", id=name, title=name, command="x", needs=draw(needs)) for name in names]
    )


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


@given(waits=waiting(), late=st.sets(st.sampled_from(NAMES)))
def test_late_stages_come_when_no_other_can(waits, late):
    order = topological_order(waits, late)
    assert set(order) == set(topological_order(waits))
    for place, item in enumerate(order):
        ready = [
            name for name in waits if name not in order[:place] and set(waits[name]) <= set(order[:place])
        ]
        assert item == next((name for name in ready if name not in late), ready[0])
