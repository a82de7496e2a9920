"""When a run is evidence for a tree, and what is said where it is not: a table of situations."""

from __future__ import annotations

import pytest

from codex_orchestrator.rules.gate import Candidate, in_words, reasons_against

TREE, OTHER = "a" * 40, "b" * 40
NOW = 1_000_000.0
HOUR = 3_600.0


def run(**facts) -> Candidate:
    """A run that is evidence, but for some facts."""
    known = {
        "run_id": "r",
        "status": "succeeded",
        "start_tree": TREE,
        "end_tree": TREE,
        "completed_at": NOW - HOUR,
        "approved": True,
    }
    return Candidate(**{**known, **facts})


def told(candidate: Candidate, *, max_age=None) -> list[str]:
    reasons = reasons_against(candidate, TREE, now=NOW, max_age_seconds=max_age)
    return [reason.text for reason in reasons]


@pytest.mark.parametrize(
    ("facts", "max_age", "expected"),
    [
        # The run is whole, of this tree and no other.
        ({}, None, []),
        ({"approved": None}, None, []),
        ({}, HOUR, []),
        ({}, HOUR - 1, ["it is 1 hour old, over 59 minutes"]),
        ({"completed_at": NOW}, 0.0, []),
        ({"completed_at": NOW - 1}, 0.0, ["it is 1 second old, over 0 seconds"]),
        ({"completed_at": NOW + 5}, 0.0, []),
        # Trees.
        ({"start_tree": OTHER, "end_tree": OTHER}, None, ["it is of another tree"]),
        ({"start_tree": OTHER}, None, ["the source changed while it ran"]),
        ({"end_tree": OTHER}, None, ["the source changed while it ran"]),
        ({"start_tree": None}, None, ["its source is not known"]),
        ({"end_tree": None}, None, ["its source is not known"]),
        ({"start_tree": None, "end_tree": None}, None, ["its source is not known"]),
        # Ends.
        ({"status": "failed", "failed": ("test",)}, None, ["it has failed: test"]),
        ({"status": "failed", "failed": ("lint", "test")}, None, ["it has failed: lint, test"]),
        ({"status": "failed", "approved": False}, None, ["it has failed"]),
        ({"status": "cancelled", "failed": ("test",)}, None, ["it has been cancelled: test"]),
        ({"status": "in_progress", "sealed": False, "end_tree": None}, None, ["it has not ended"]),
        ({"status": "queued", "sealed": False, "end_tree": None}, None, ["it has not ended"]),
        (
            {"status": "in_progress", "sealed": False, "end_tree": None, "start_tree": OTHER},
            None,
            ["it has not ended", "it is of another tree"],
        ),
        (
            {"status": "in_progress", "waits": True, "sealed": False, "end_tree": None},
            None,
            ["it waits for an approval"],
        ),
        ({"sealed": False}, None, ["it is not sealed"]),
        ({"sealed": False, "approved": False}, None, ["it is not sealed"]),
        # Parts.
        ({"partial": True, "pending": ("lint",)}, None, ["stages were left out: lint"]),
        ({"partial": True}, None, ["stages were left out"]),
        ({"partial": True, "approved": False, "doubt": "x"}, None, ["stages were left out"]),
        # The run's own review.
        ({"approved": False, "doubt": "Bad."}, None, ["its review does not approve: Bad."]),
        ({"approved": False}, None, ["its review does not approve: no reason given"]),
        # Several at once.
        (
            {"status": "failed", "failed": ("test",), "start_tree": OTHER, "end_tree": OTHER},
            60.0,
            ["it has failed: test", "it is of another tree", "it is 1 hour old, over 1 minute"],
        ),
        (
            {"partial": True, "sealed": False, "end_tree": OTHER},
            None,
            ["stages were left out", "it is not sealed", "the source changed while it ran"],
        ),
    ],
)  # fmt: skip
def test_a_run_is_evidence_or_it_is_said_why_not(facts, max_age, expected):
    assert told(run(**facts), max_age=max_age) == expected


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "in_progress", "queued"])
@pytest.mark.parametrize("trees", [(TREE, TREE), (OTHER, OTHER), (TREE, OTHER), (OTHER, TREE), (None, TREE)])
@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("approved", [False, True])
def test_only_one_in_two_hundred_is_evidence(status, trees, partial, sealed, approved):
    candidate = run(
        status=status,
        start_tree=trees[0],
        end_tree=trees[1],
        partial=partial,
        sealed=sealed,
        approved=approved,
    )
    is_evidence = (status, trees, partial, sealed, approved) == ("succeeded", (TREE, TREE), False, True, True)
    assert (not told(candidate)) == is_evidence


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1.9, "1 second"), (60, "1 minute"), (7_200, "2 hours"), (86_400, "1 day")],
)  # fmt: skip
def test_lengths_of_time_in_words(seconds, words):
    assert in_words(seconds) == words
