"""Whatever the runs: what must not be touched is not, and asking for more to stay removes no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.rules.retention import RetentionPolicy, RunFacts, decide_retention

NOW = 1_000.0
NAMES = [f"r{number}" for number in range(8)]


@st.composite
def histories(draw) -> list[RunFacts]:
    return [
        RunFacts(
            name,
            draw(st.sampled_from([None, None, None, "alive", "waiting", "unreadable"])),
            "succeeded",
            draw(st.none() | st.floats(0, 2 * NOW)),
            draw(st.none() | st.sampled_from(NAMES)),
            draw(st.booleans()),
        )
        for name in draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))]
    ]


NUMBERS = st.none() | st.integers(0, 9)
AGES = st.none() | st.floats(0, 2 * NOW)


def gone(runs, keep, age) -> set[str]:
    return {
        one.run.run_id
        for one in decide_retention(runs, RetentionPolicy(keep, age), now=NOW)
        if one.kept is None
    }


def family(run: RunFacts, runs: list[RunFacts]) -> list[RunFacts]:
    """All that hang together with a run by who has started whom."""
    found = {run.run_id}
    for _ in runs:
        found |= {one.parent_run_id for one in runs if one.run_id in found}
        found |= {one.run_id for one in runs if one.parent_run_id in found & {each.run_id for each in runs}}
    return [one for one in runs if one.run_id in found]


@given(histories(), NUMBERS, AGES)
def test_what_must_not_be_touched_never_goes(runs, keep, age):
    removed = gone(runs, keep, age)
    for run in runs:
        if any(one.hold is not None or one.queued for one in family(run, runs)):
            assert run.run_id not in removed
    if keep is None and age is None:
        assert not removed


@given(histories(), NUMBERS, AGES)
def test_a_family_stays_or_goes_as_a_whole(runs, keep, age):
    removed = gone(runs, keep, age)
    for run in runs:
        assert len({one.run_id in removed for one in family(run, runs)}) == 1


@given(histories(), NUMBERS, AGES)
def test_the_newest_stay_and_what_is_too_young(runs, keep, age):
    removed = gone(runs, keep, age)
    tops = sorted(run.run_id for run in runs if run.hold != "unreadable" and run.parent_run_id is None)
    if keep:
        assert not removed & set(tops[-keep:])
    if age is not None:
        assert all(
            run.last_activity is not None and NOW - run.last_activity > age
            for run in runs
            if run.run_id in removed
        )


@given(histories(), st.integers(0, 9), AGES)
def test_keeping_one_more_removes_no_more(runs, keep, age):
    assert gone(runs, keep + 1, age) <= gone(runs, keep, age)


@given(histories(), st.integers(0, 9), st.floats(0, 2 * NOW))
def test_a_run_goes_only_if_both_say_so(runs, keep, age):
    assert gone(runs, keep, age) == gone(runs, keep, None) & gone(runs, None, age)


@given(histories(), NUMBERS, AGES)
def test_a_second_time_finds_nothing(runs, keep, age):
    removed = gone(runs, keep, age)
    left = [run for run in runs if run.run_id not in removed]
    assert not gone(left, keep, age)


@given(histories(), NUMBERS, AGES, st.randoms())
def test_the_order_of_the_folders_does_not_matter(runs, keep, age, random):
    shuffled = list(runs)
    random.shuffle(shuffled)
    assert gone(shuffled, keep, age) == gone(runs, keep, age)
