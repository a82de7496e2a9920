"""Whatever the graph, the resources and the times, everything runs once, in its order, as soon as it can."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.definitions.graph import DEFAULT_CAPACITY, Work
from codex_orchestrator.definitions.schedule import ReadyQueue


@dataclass(frozen=True)
class Case:
    """Work, how long each item takes, how much there is of what, and how many run at once."""

    work: Work
    times: dict[str, int]
    capacities: dict[str, int]
    size: int


@st.composite
def cases(draw, *, resources: bool = True, late: bool = True) -> Case:
    names = [f"i{number}" for number in range(draw(st.integers(1, 9)))]
    # Declared in any order: an item may wait for one that is declared after it.
    drawn = draw(st.permutations(names))
    waits = {
        name: tuple(draw(st.lists(st.sampled_from(drawn[:place]), max_size=3))) if place else ()
        for place, name in enumerate(drawn)
    }
    capacities = draw(st.dictionaries(st.sampled_from("xy"), st.integers(1, 3))) if resources else {}
    wanted = {
        name: {
            resource: draw(st.integers(1, capacities.get(resource, DEFAULT_CAPACITY)))
            for resource in draw(st.sets(st.sampled_from("xy")))
        }
        for name in (names if resources else ())
    }
    return Case(
        Work(
            {name: waits[name] for name in names},
            wanted,
            draw(st.sets(st.sampled_from(names))) if late else (),
        ),
        {name: draw(st.integers(0, 4)) for name in names},
        capacities,
        draw(st.integers(1, 4)),
    )


def played(case: Case, size: int | None = None) -> tuple[dict[str, int], int]:
    """Run all of it by a clock of its own: when each began, and how long it took in all."""
    ready = ReadyQueue(case.work, case.capacities)
    began: dict[str, int] = {}
    running: list[tuple[int, str]] = []
    now = 0
    while True:
        while (size is None or len(running) < size) and (item := ready.take()) is not None:
            began[item] = now
            heapq.heappush(running, (now + case.times[item], item))
            check_together(case, [name for _, name in running])
        if not running:
            assert ready.left == []
            return began, now
        now, item = heapq.heappop(running)
        ready.end(item)


def check_together(case: Case, running: list[str]) -> None:
    for resource in "xy":
        used = sum(case.work.resources.get(item, {}).get(resource, 0) for item in running)
        assert used <= case.capacities.get(resource, DEFAULT_CAPACITY)
    if any(item in case.work.late for item in running):
        assert len(running) == 1


@given(cases())
def test_everything_runs_once_and_after_what_it_waits_for(case):
    began, _ = played(case, case.size)
    assert sorted(began) == sorted(case.work.waits)
    for item, needs in case.work.waits.items():
        for need in needs:
            assert began[item] >= began[need] + case.times[need]


@given(cases(resources=False, late=False))
def test_with_room_for_all_it_takes_as_long_as_the_longest_chain(case):
    ends: dict[str, int] = {}
    for item in case.work.order():
        ends[item] = case.times[item] + max((ends[need] for need in case.work.waits[item]), default=0)
    began, total = played(case)
    assert total == max(ends.values())
    assert began == {item: end - case.times[item] for item, end in ends.items()}


@given(cases(resources=False, late=False))
def test_nothing_idles_while_an_item_could_run(case):
    # Graham's bound, which holds for every way of handing out that leaves nobody idle.
    _, fewest = played(case)
    _, total = played(case, case.size)
    work = sum(case.times.values())
    assert total * case.size <= work + fewest * (case.size - 1)


@given(cases(resources=False))
def test_one_at_a_time_is_the_order_of_some_serial_run(case):
    began, total = played(case, 1)
    assert total == sum(case.times.values())
    order = case.work.order()
    assert sorted(order) == sorted(began)
    places = {item: place for place, item in enumerate(order)}
    for item, needs in case.work.waits.items():
        assert all(places[need] < places[item] for need in needs)


@given(cases(), st.data())
def test_the_chosen_keep_their_order(case, data):
    chosen = data.draw(st.sets(st.sampled_from(sorted(case.work.waits))))
    only = case.work.only(chosen)
    assert set(only.waits) == chosen

    def before(waits, item) -> set[str]:
        return set(waits[item]).union(*(before(waits, need) for need in waits[item]))

    for item in chosen:
        assert before(only.waits, item) == before(case.work.waits, item) & chosen
