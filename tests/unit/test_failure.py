"""A failed stage in a few words."""

from __future__ import annotations

import pytest

from codex_orchestrator.model.manifest import CommandEntry
from codex_orchestrator.rules.stage import StageOutcome
from codex_orchestrator.views.failure import failure_cause, failure_details


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (StageOutcome("failed", 7), "exit code 7"),
        (StageOutcome("failed", 137, signal="SIGKILL"), "terminated with signal SIGKILL"),
        (StageOutcome("failed", 127, cause="No such file"), "No such file"),
        (StageOutcome("timeout", 143, signal="SIGTERM", timeout_seconds=0.5), "timed out after 0.5 s"),
        (StageOutcome("timeout", 143, timeout_seconds=2_592_000), "timed out after 2592000 s"),
        (StageOutcome("cancelled", 130, signal="SIGINT", cancelled_by="SIGINT"), "cancelled by SIGINT"),
    ],
)
def test_how_a_stage_failed(outcome, said):
    entry = CommandEntry(
        1, "s", "S", "x", "command", "failed", None, None, outcome.exit_code, None, None, None, None
    )
    assert failure_cause(entry, outcome) == said


def test_the_steps_of_a_progress_bar_are_no_lines_of_their_own():
    bar = "".join(f"\rstep {number} of 500" for number in range(1, 501))
    outcome = StageOutcome("failed", 1, stdout=f"before\n{bar}\nerror: disk full\n")
    entry = CommandEntry(1, "s", "S", "x", "command", "failed", None, None, 1, None, None, None, None)
    details = failure_details(entry, outcome)
    assert details[1:5] == ("  stdout:", "    before", "    step 500 of 500", "    error: disk full")
