"""Which runs go and which stay, and why."""

from __future__ import annotations

import pytest

from codex_orchestrator.rules.retention import RetentionPolicy, RunFacts, decide_retention, parse_age

NOW = 1_000_000.0
EVERYTHING = RetentionPolicy(keep=0)


def run(run_id: str, hold=None, *, age: float | None = 100.0, parent=None, queued=False) -> RunFacts:
    last_activity = None if age is None else NOW - age
    return RunFacts(run_id, hold, "succeeded", last_activity, parent, queued)


def kept(runs, policy=EVERYTHING, others=()) -> dict[str, str | None]:
    """Why each run stays; None for those that go."""
    return {one.run.run_id: one.kept for one in decide_retention(runs, policy, now=NOW, others=others)}


@pytest.mark.parametrize(
    ("policy", "gone"),
    [
        (RetentionPolicy(), ""),
        (RetentionPolicy(keep=0), "abc"),
        (RetentionPolicy(keep=1), "ab"),
        (RetentionPolicy(keep=3), ""),
        (RetentionPolicy(keep=10**9), ""),
        (RetentionPolicy(older_than_seconds=0), "abc"),
        (RetentionPolicy(older_than_seconds=20), "ab"),
        # A run of just that age is not older than it.
        (RetentionPolicy(older_than_seconds=200), "a"),
        (RetentionPolicy(older_than_seconds=300), ""),
        # Both have to agree.
        (RetentionPolicy(keep=0, older_than_seconds=20), "ab"),
        (RetentionPolicy(keep=2, older_than_seconds=20), "a"),
        (RetentionPolicy(keep=3, older_than_seconds=20), ""),
    ],
)
def test_what_was_asked_for(policy, gone):
    runs = [run("b", age=200), run("c", age=20), run("a", age=300)]
    assert kept(runs, policy) == {name: None if name in gone else "policy" for name in "abc"}


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([run("a", "alive")], "alive"),
        ([run("a", "waiting")], "waiting"),
        ([run("a", "unreadable")], "unreadable"),
        ([run("a", queued=True)], "queued"),
        ([run("a", parent="b"), run("b", "alive")], "family"),
        ([run("a", parent="b"), run("b", "waiting")], "family"),
        ([run("a", parent="b"), run("b", "unreadable")], "family"),
        ([run("a", parent="c"), run("b", "alive"), run("c", parent="b")], "family"),
        ([run("a", parent="b"), run("b", queued=True)], "family"),
        ([run("a"), run("b", "alive", parent="a")], "family"),
        ([run("a"), run("b", parent="a"), run("c", "alive", parent="b")], "family"),
        ([run("a", parent="c"), run("b", "waiting", parent="c"), run("c")], "family"),
        # A parent that is gone, or is its own ancestor, says nothing.
        ([run("a", parent="b")], None),
        ([run("a", parent="a")], None),
        ([run("a", parent="b"), run("b", parent="a")], None),
        ([run("a", parent="b"), run("b", "alive", parent="a")], "family"),
    ],
)
def test_what_must_not_be_touched(runs, expected):
    assert kept(runs)["a"] == expected


def test_a_parent_may_belong_to_another_task():
    child = run("a", parent="b")
    others = [run("b", parent="c"), run("c", "alive")]
    assert kept([child], others=others) == {"a": "family"}


def test_a_child_stays_with_its_parent_in_another_task():
    assert kept([run("a", parent="b")], others=[run("b")]) == {"a": "family"}


@pytest.mark.parametrize(
    ("policy", "gone"),
    [
        # Two runs with two children each, and one without.
        (RetentionPolicy(keep=3), ""),
        (RetentionPolicy(keep=2), "abc"),
        (RetentionPolicy(keep=1), "abcdef"),
        (RetentionPolicy(keep=0), "abcdefg"),
        # A family is as old as its youngest.
        (RetentionPolicy(older_than_seconds=40), "abc"),
        (RetentionPolicy(older_than_seconds=65), ""),
        (RetentionPolicy(keep=1, older_than_seconds=15), "abcdef"),
    ],
)
def test_a_run_and_its_children_are_one(policy, gone):
    runs = [
        *(run("a", age=70), run("b", parent="a", age=65), run("c", parent="b", age=60)),
        *(run("d", age=50), run("e", parent="d", age=40), run("f", parent="d", age=30)),
        run("g", age=10),
    ]
    assert kept(runs, policy) == {name: None if name in gone else "policy" for name in "abcdefg"}


def test_runs_that_others_have_started_are_counted_by_themselves():
    """What is run from within another repository must not push out this one's own runs, nor they it."""
    runs = [run("a"), run("b"), run("c", parent="x"), run("d", parent="x")]
    assert kept(runs, RetentionPolicy(keep=1)) == {"a": None, "b": "policy", "c": None, "d": "policy"}


def test_a_run_of_unknown_age_is_not_older_than_anything():
    undated = run("a", age=None)
    assert kept([undated], RetentionPolicy(older_than_seconds=0)) == {"a": "policy"}
    assert kept([undated]) == {"a": None}


def test_a_run_from_the_future_is_not_older_than_anything():
    assert kept([run("a", age=-5)], RetentionPolicy(older_than_seconds=0)) == {"a": "policy"}


def test_what_is_no_run_does_not_count_among_the_newest():
    runs = [run("a"), run("b"), run("c", "unreadable"), run("d", "alive")]
    assert kept(runs, RetentionPolicy(keep=2)) == {"a": None, "b": "policy", "c": "unreadable", "d": "alive"}


def test_the_oldest_goes_first():
    runs = [run("c"), run("a"), run("b")]
    assert [one.run.run_id for one in decide_retention(runs, EVERYTHING, now=NOW)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("45m", 2_700.0), ("12h", 43_200.0), ("30d", 2_592_000.0), ("2w", 1_209_600.0)),
        *(("0m", 0.0), ("007d", 604_800.0), ("999999w", 999_999 * 604_800.0)),
        *(
            (text, None)
            for text in ("", "5", "d", "-1d", "1.5d", "1 d", " 1d", "1d ", "1d\n", "1s", "1D", "1dd")
        ),
        *((text, None) for text in ("1000000d", "٣d", "1e3d", "30 days", "P30D")),
    ],
)
def test_an_age(text, seconds):
    assert parse_age(text) == seconds
