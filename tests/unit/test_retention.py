"""Which runs go and which stay, and why."""

from __future__ import annotations

import pytest

from codex_orchestrator.run.retention import Policy, RunFacts, decide, parse_age

NOW = 1_000_000.0
EVERYTHING = Policy(keep=0)


def run(run_id: str, hold=None, *, age: float | None = 100.0, parent=None, queued=False) -> RunFacts:
    last_activity = None if age is None else NOW - age
    return RunFacts(run_id, hold, "succeeded", last_activity, parent, queued)


def kept(runs, policy=EVERYTHING, others=()) -> dict[str, str | None]:
    """Why each run stays; None for those that go."""
    return {one.run.run_id: one.kept for one in decide(runs, policy, now=NOW, others=others)}


@pytest.mark.parametrize(
    ("policy", "gone"),
    [
        (Policy(), ""),
        (Policy(keep=0), "abc"),
        (Policy(keep=1), "ab"),
        (Policy(keep=3), ""),
        (Policy(keep=10**9), ""),
        (Policy(older_than_seconds=0), "abc"),
        (Policy(older_than_seconds=20), "ab"),
        # A run of just that age is not older than it.
        (Policy(older_than_seconds=200), "a"),
        (Policy(older_than_seconds=300), ""),
        # Both have to agree.
        (Policy(keep=0, older_than_seconds=20), "ab"),
        (Policy(keep=2, older_than_seconds=20), "a"),
        (Policy(keep=3, older_than_seconds=20), ""),
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
        ([run("a", parent="b"), run("b", "alive")], "child"),
        ([run("a", parent="b"), run("b", "waiting")], "child"),
        ([run("a", parent="b"), run("b", "unreadable")], "child"),
        ([run("a", parent="c"), run("b", "alive"), run("c", parent="b")], "child"),
        # A parent that stays for another reason, is gone, or is its own ancestor says nothing.
        ([run("a", parent="b"), run("b", queued=True)], None),
        ([run("a", parent="b")], None),
        ([run("a", parent="a")], None),
        ([run("a", parent="b"), run("b", parent="a")], None),
        # A child that lives does not hold its parent.
        ([run("a"), run("b", "alive", parent="a")], None),
    ],
)
def test_what_must_not_be_touched(runs, expected):
    assert kept(runs)["a"] == expected


def test_a_parent_may_belong_to_another_task():
    child = run("a", parent="b")
    others = [run("b", parent="c"), run("c", "alive")]
    assert kept([child], others=others) == {"a": "child"}


def test_a_run_of_unknown_age_is_not_older_than_anything():
    undated = run("a", age=None)
    assert kept([undated], Policy(older_than_seconds=0)) == {"a": "policy"}
    assert kept([undated]) == {"a": None}


def test_a_run_from_the_future_is_not_older_than_anything():
    assert kept([run("a", age=-5)], Policy(older_than_seconds=0)) == {"a": "policy"}


def test_what_is_no_run_does_not_count_among_the_newest():
    runs = [run("a"), run("b"), run("c", "unreadable"), run("d", "alive")]
    assert kept(runs, Policy(keep=2)) == {"a": None, "b": "policy", "c": "unreadable", "d": "alive"}


def test_the_oldest_goes_first():
    runs = [run("c"), run("a"), run("b")]
    assert [one.run.run_id for one in decide(runs, EVERYTHING, now=NOW)] == ["a", "b", "c"]


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
