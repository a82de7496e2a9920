"""The ready queue: what may run now, and which of it first."""

from __future__ import annotations

import pytest

from codex_orchestrator.definitions.graph import Work
from codex_orchestrator.definitions.schedule import ReadyQueue


def queue(waits, *, resources=None, late=(), capacities=None) -> ReadyQueue:
    given = {item: tuple(needs) for item, needs in waits.items()}
    return ReadyQueue(Work(given, resources or {}, late), capacities or {})


def taken(ready: ReadyQueue) -> list[str]:
    """All that may begin now, in the order in which it does."""
    return list(iter(ready.take, None))


def test_what_waits_for_none_may_begin_in_declared_order():
    ready = queue({"c": "", "a": "", "b": ""})
    assert taken(ready) == ["c", "a", "b"]
    assert ready.left == []


def test_an_item_begins_when_the_last_that_it_waits_for_has_ended():
    ready = queue({"a": "", "b": "", "c": "ab"})
    assert taken(ready) == ["a", "b"]
    ready.end("a")
    assert taken(ready) == []
    assert ready.left == ["c"]
    ready.end("b")
    assert taken(ready) == ["c"]


def test_one_that_is_named_twice_is_waited_for_once():
    ready = queue({"a": "", "b": "aa"})
    assert taken(ready) == ["a"]
    ready.end("a")
    assert taken(ready) == ["b"]


def test_the_longest_chain_of_followers_comes_first():
    # d begins a chain of three, b one of two; a and c stand alone.
    ready = queue({"a": "", "b": "", "c": "", "d": "", "e": "b", "f": "d", "g": "f"})
    assert [ready.take() for _ in range(4)] == ["d", "b", "a", "c"]


def test_what_becomes_ready_goes_before_what_has_a_shorter_chain():
    ready = queue({"a": "", "b": "a", "c": "b", "x": "", "y": ""})
    assert ready.take() == "a"
    assert ready.take() == "x"
    ready.end("a")
    assert ready.take() == "b"


@pytest.mark.parametrize(
    ("capacities", "wanted", "together"),
    [
        ({}, {"a": {"port": 1}, "b": {"port": 1}}, ["a"]),
        ({"port": 2}, {"a": {"port": 1}, "b": {"port": 1}}, ["a", "b"]),
        ({"port": 2}, {"a": {"port": 2}, "b": {"port": 1}}, ["a"]),
        ({}, {"a": {"port": 1}, "b": {"disk": 1}}, ["a", "b"]),
        ({"port": 9}, {"a": {"port": 1, "disk": 1}, "b": {"port": 1, "disk": 1}}, ["a"]),
    ],
)
def test_resources_limit_what_runs_together(capacities, wanted, together):
    ready = queue({"a": "", "b": ""}, resources=wanted, capacities=capacities)
    assert taken(ready) == together
    ready.end("a")
    assert [*together, *taken(ready)] == ["a", "b"]


def test_one_that_needs_no_resource_goes_past_one_that_waits_for_it():
    ready = queue({"a": "", "b": "", "c": "b", "d": ""}, resources={"a": {"x": 1}, "b": {"x": 1}})
    assert taken(ready) == ["b", "d"]
    ready.end("d")
    assert taken(ready) == []
    ready.end("b")
    # c has as many followers as a, which was declared before it.
    assert taken(ready) == ["a", "c"]


def test_an_item_without_room_elsewhere_stays():
    ready = queue({"a": "", "b": "", "c": "a"})
    assert ready.take(lambda item: item == "b") == "b"
    assert ready.take(lambda item: item == "b") is None
    assert ready.left == ["a", "c"]
    assert ready.take() == "a"


def test_there_is_room_asked_for_only_where_an_item_may_begin():
    asked = []
    ready = queue({"a": "", "b": "", "c": "a"}, resources={"a": {"x": 1}, "b": {"x": 1}})
    assert ready.take() == "a"
    assert ready.take(lambda item: bool(asked.append(item))) is None
    assert asked == []


def test_people_are_asked_when_nothing_else_runs_or_can():
    ready = queue({"ask": "", "a": "", "b": "a", "then": ["ask"]}, late={"ask"})
    assert taken(ready) == ["a"]
    ready.end("a")
    assert taken(ready) == ["b"]
    assert ready.take() is None
    ready.end("b")
    assert taken(ready) == ["ask"]
    ready.end("ask")
    assert taken(ready) == ["then"]


def test_people_are_asked_one_question_at_a_time():
    ready = queue({"one": "", "two": ""}, late={"one", "two"})
    assert taken(ready) == ["one"]
    ready.end("one")
    assert taken(ready) == ["two"]


def test_the_chosen_wait_for_what_they_waited_for_through_others():
    work = Work({"a": (), "b": ("a",), "c": ("b",), "d": ("a", "c"), "e": ("b",)}, {"c": {"x": 1}}, {"e"})
    chosen = work.only(["e", "d", "a"])
    assert chosen == Work({"a": (), "d": ("a",), "e": ("a",)}, {"c": {"x": 1}}, {"e"})


def test_two_kinds_of_work_do_not_wait_for_each_other():
    first = Work({"p::a": ()}, {"p::a": {"x": 1}}, {"p::a"})
    second = Work({"q::a": (), "q::b": ("q::a",)}, {"q::b": {"y": 2}}, ())
    assert first | second == Work(
        {"p::a": (), "q::a": (), "q::b": ("q::a",)}, {"p::a": {"x": 1}, "q::b": {"y": 2}}, {"p::a"}
    )


def test_what_was_not_taken_cannot_end():
    ready = queue({"a": "", "b": "a"})
    with pytest.raises(KeyError):
        ready.end("a")
