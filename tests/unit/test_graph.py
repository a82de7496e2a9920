"""Who waits for whom, in which order, and whom a failure reaches."""

from __future__ import annotations

import itertools

import pytest

from codex_orchestrator.definitions.graph import (
    blocked,
    dependencies,
    find_cycle,
    nearest,
    reached_failure,
    requirements,
    topological_order,
)
from codex_orchestrator.model.definitions import CommandStage, ManualStage, SubpipelineStage


def stage(stage_id: str, needs: tuple[str, ...] | None = None) -> CommandStage:
    return CommandStage(kind="command", id=stage_id, title=stage_id, command="true", needs=needs)


@pytest.mark.parametrize(
    ("stages", "waits", "order"),
    [
        # The example of the reference: b and c both wait for a, and d waits for c.
        (
            [("a", None), ("b", None), ("c", ("a",)), ("d", None)],
            {"a": (), "b": ("a",), "c": ("a",), "d": ("c",)},
            ["a", "b", "c", "d"],
        ),
        ([("a", None), ("b", ()), ("c", None)], {"a": (), "b": (), "c": ("b",)}, ["a", "b", "c"]),
        ([("a", ()), ("b", ()), ("c", ("a", "b"))], {"a": (), "b": (), "c": ("a", "b")}, ["a", "b", "c"]),
        # What needs a later stage moves behind it, and nothing else moves.
        ([("a", ("c",)), ("b", ()), ("c", ())], {"a": ("c",), "b": (), "c": ()}, ["b", "c", "a"]),
        ([("a", ("b",)), ("b", ()), ("c", None)], {"a": ("b",), "b": (), "c": ("b",)}, ["b", "a", "c"]),
        ([("only", None)], {"only": ()}, ["only"]),
        ([], {}, []),
    ],
)
def test_declared_order_and_needs(stages, waits, order):
    found = dependencies([stage(*one) for one in stages])
    assert found == waits
    assert topological_order(found) == order
    assert find_cycle(found) is None


def test_stages_of_every_kind_wait():
    stages = [
        stage("a"),
        SubpipelineStage(kind="subpipeline", id="b", title="B", pipeline="p"),
        ManualStage(kind="manual", id="c", title="C", needs=("a",)),
    ]
    assert dependencies(stages) == {"a": (), "b": ("a",), "c": ("a",)}


@pytest.mark.parametrize(
    ("waits", "cycle"),
    [
        ({"a": ("a",)}, ["a", "a"]),
        ({"a": ("b",), "b": ("a",)}, ["a", "b", "a"]),
        ({"a": (), "b": ("a", "c"), "c": ("d",), "d": ("b",)}, ["b", "c", "d", "b"]),
        # A stage that only waits for the cycle is not on it.
        ({"out": ("b",), "b": ("c",), "c": ("b",)}, ["b", "c", "b"]),
        ({"a": ("gone",)}, None),
    ],
)
def test_a_cycle_is_named_along_its_way(waits, cycle):
    assert find_cycle(waits) == cycle


def test_what_is_on_or_behind_a_cycle_has_no_place_in_the_order():
    assert topological_order({"a": (), "b": ("c",), "c": ("b",), "d": ("b",), "e": ()}) == ["a", "e"]


def test_twenty_thousand_stages_declared_back_to_front_are_ordered():
    """A walk over all stages for each of them would take minutes."""
    names = [f"s{number}" for number in range(20_000)]
    waits = {name: (later,) for name, later in itertools.pairwise(names)} | {names[-1]: ()}
    assert topological_order(waits) == names[::-1]
    assert find_cycle(waits | {names[-1]: (names[0],)}) == [*names, names[0]]


WAITS = {"a": (), "b": ("a",), "c": ("a",), "d": ("c", "b"), "e": ()}


@pytest.mark.parametrize(
    ("stage_id", "failed", "root"),
    [
        ("b", set(), None),
        ("b", {"a"}, "a"),
        ("d", {"a"}, "a"),
        ("d", {"c"}, "c"),
        ("b", {"c"}, None),
        ("e", {"a", "b", "c", "d"}, None),
        ("d", {"c", "b"}, "b"),
        ("d", {"d"}, None),
        ("a", {"d"}, None),
    ],
)
def test_a_failure_reaches_what_waits_for_it(stage_id, failed, root):
    assert reached_failure(WAITS, stage_id, failed) == root


@pytest.mark.parametrize(
    ("stages", "decisions", "required"),
    [
        # By order alone, nothing is required.
        ([("a", None), ("b", None), ("c", None)], (), {"a": (), "b": (), "c": ()}),
        # By its needs a stage requires just these, whatever stands before it.
        ([("a", None), ("b", ("a",)), ("c", None)], (), {"a": (), "b": ("a",), "c": ()}),
        ([("a", None), ("b", ()), ("c", ("a", "b"))], (), {"a": (), "b": (), "c": ("a", "b")}),
        # A decision is required by all that comes after it, however far,
        ([("a", None), ("gate", None), ("b", None), ("c", None)], ("gate",), {"c": ("gate",)}),
        ([("gate", None), ("a", ("gate",)), ("b", None)], ("gate",), {"a": ("gate",), "b": ("gate",)}),
        # and the one before it by the decision itself;
        ([("one", None), ("two", None), ("a", None)], ("one", "two"), {"two": ("one",), "a": ("two",)}),
        # by several ways, each decision once.
        (
            [("one", ()), ("two", ()), ("a", ("one", "two")), ("b", ("a", "two")), ("c", None)],
            ("one", "two"),
            {"b": ("a", "two"), "c": ("one", "two")},
        ),
        # A decision that stands after a stage, or beside it, is none that it comes after.
        ([("a", None), ("gate", None), ("b", ()), ("c", None)], ("gate",), {"a": (), "b": (), "c": ()}),
    ],
)
def test_a_run_that_keeps_going_requires_needs_and_decisions(stages, decisions, required):
    given = [stage(*one) for one in stages]
    found = requirements(given, decisions, keep_going=True)
    assert found == found | required
    assert list(found) == [each.id for each in given]
    assert requirements(given, decisions, keep_going=False) == dependencies(given)


def test_the_nearest_of_the_chosen_are_reached_through_the_others():
    assert nearest(WAITS, {"a", "b"}) == {"a": (), "b": ("a",), "c": ("a",), "d": ("a", "b"), "e": ()}
    assert blocked(WAITS, {"c"}) == {"d"}
    assert blocked(WAITS, {"a"}) == {"b", "c", "d"}
    assert blocked(WAITS, ()) == frozenset()
