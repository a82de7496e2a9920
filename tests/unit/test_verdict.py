"""What an outcome means for its stage, as tables."""

from __future__ import annotations

import pytest

from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.rules.stage import StageOutcome, failure_words
from codex_orchestrator.rules.verdict import Verdict, judge


def stage(**keys: object) -> CommandStage:
    return CommandStage(kind="command", id="a", title="A", command="true", **keys)


def outcome(status: str, exit_code: int | None = 0, **keys: object) -> StageOutcome:
    return StageOutcome(status=status, exit_code=exit_code, **keys)


LONG = "x" * 241
CUT = "x" * 240 + "…"


@pytest.mark.parametrize(
    ("ended", "summary"),
    [
        (outcome("succeeded"), "Command completed with code 0"),
        (outcome("succeeded", stdout=" out \n", stderr="err"), "out"),
        (outcome("succeeded", stdout=" \n", stderr=" err\n"), "err"),
        (outcome("succeeded", stdout="\n", stderr="\t"), "Command completed with code 0"),
        (outcome("succeeded", stdout="two\nlines\n"), "two\nlines"),
        (outcome("succeeded", stdout=LONG), CUT),
        (outcome("succeeded", stdout="x" * 240 + "\n"), "x" * 240),
        (outcome("succeeded", stdout="€" * 300), "€" * 240 + "…"),
        (outcome("failed", 7), "Exited with code 7"),
        (outcome("failed", 7, stdout="said", stderr=" why\n"), "Exited with code 7 — why"),
        (outcome("failed", 7, stdout="said"), "Exited with code 7"),
        (outcome("failed", 7, stderr=LONG), f"Exited with code 7 — {CUT}"),
        (outcome("failed", 137, signal="SIGKILL"), "Terminated with signal SIGKILL"),
        (outcome("failed", 139, signal="SIGSEGV", stderr="oops"), "Terminated with signal SIGSEGV — oops"),
        (outcome("failed", 127, cause="No such file: /x"), "Exited with code 127 — No such file: /x"),
        (outcome("timeout", 143, signal="SIGTERM", timeout_seconds=2, stderr="x"), "Timed out after 2 s"),
        (outcome("timeout", 143, signal="SIGTERM", timeout_seconds=0.25), "Timed out after 0.25 s"),
        (outcome("timeout", 143, signal="SIGTERM", timeout_seconds=2_592_000), "Timed out after 2592000 s"),
        (outcome("timeout", 143, signal="SIGTERM", timeout_seconds=90_000.5), "Timed out after 90000.5 s"),
        (outcome("cancelled", 130, signal="SIGINT", cancelled_by="SIGINT"), "Cancelled by SIGINT"),
        # A stage that never came to its command has no exit code to speak of.
        (outcome("failed", None, cause="setup: OSError: no"), "setup: OSError: no"),
    ],
)
def test_summaries(ended, summary):
    assert judge(stage(), ended).summary == summary


@pytest.mark.parametrize(
    ("ended", "summary"),
    [
        (outcome("succeeded", stdout="out"), "hint"),
        (outcome("failed", 1, stderr="err"), "hint"),
        (outcome("failed", 137, signal="SIGKILL"), "hint"),
        (outcome("timeout", 143, timeout_seconds=1), "Timed out after 1 s"),
        (outcome("cancelled", 143, cancelled_by="SIGTERM"), "Cancelled by SIGTERM"),
    ],
)
def test_the_hint_comes_before_all_that_the_command_said(ended, summary):
    assert judge(stage(summary_hint="hint"), ended).summary == summary


@pytest.mark.parametrize(
    ("keys", "ended", "summary"),
    [
        ({}, outcome("succeeded", stdout="out"), "out"),
        # Resumed, and passed at the first try.
        ({}, outcome("succeeded", stdout="out", attempt=4), "out"),
        ({}, outcome("succeeded", stdout="out", attempt=2, retried=True), "out (passed on attempt 2)"),
        (
            {},
            outcome("succeeded", attempt=7, retried=True),
            "Command completed with code 0 (passed on attempt 7)",
        ),
        ({}, outcome("succeeded", stdout=LONG, attempt=2, retried=True), f"{CUT} (passed on attempt 2)"),
        (
            {"summary_hint": "hint"},
            outcome("succeeded", stdout="out", attempt=3, retried=True),
            "hint (passed on attempt 3)",
        ),
        ({}, outcome("failed", 7, stderr="why", attempt=3, retried=True), "Exited with code 7 — why"),
        ({"summary_hint": "hint"}, outcome("failed", 7, attempt=3, retried=True), "hint"),
        (
            {},
            outcome("timeout", 143, timeout_seconds=2, attempt=3, retried=True),
            "Timed out after 2 s",
        ),
    ],
)
def test_a_stage_that_passed_only_on_a_retry_says_so(keys, ended, summary):
    assert judge(stage(**keys), ended).summary == summary


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (outcome("failed", 7, stderr="why"), "Exited with code 7"),
        (outcome("failed", 137, signal="SIGKILL"), "Terminated with signal SIGKILL"),
        (outcome("timeout", 143, signal="SIGTERM", timeout_seconds=2), "Timed out after 2 s"),
        (outcome("cancelled", 130, signal="SIGINT", cancelled_by="SIGINT"), "Cancelled by SIGINT"),
    ],
)
def test_a_failure_in_a_few_words(ended, words):
    assert failure_words(ended) == words


@pytest.mark.parametrize(
    ("ended", "allow_failure", "status", "reason"),
    [
        (outcome("succeeded"), False, "succeeded", None),
        (outcome("succeeded"), True, "succeeded", None),
        (outcome("failed", 1), False, "failed", "command-failed"),
        (outcome("failed", 1), True, "skipped", "command-allow-failure"),
        (outcome("failed", 137, signal="SIGKILL"), False, "failed", "command-failed"),
        (outcome("failed", 126, cause="denied"), False, "failed", "command-execution-error"),
        (outcome("failed", 126, cause="denied"), True, "skipped", "command-allow-failure"),
        (outcome("timeout", 143, timeout_seconds=1), False, "failed", "command-timeout"),
        (outcome("timeout", 143, timeout_seconds=1), True, "skipped", "command-allow-failure"),
        (outcome("cancelled", 130, cancelled_by="SIGINT"), False, "failed", "command-cancelled"),
        (outcome("cancelled", 130, cancelled_by="SIGINT"), True, "failed", "command-cancelled"),
    ],
)
def test_status_and_reason(ended, allow_failure, status, reason):
    verdict = judge(stage(allow_failure=allow_failure), ended)
    lines = {
        "command-execution-error": f"Execution error: {ended.cause}",
        "command-cancelled": f"Stage 'A' was cancelled by {ended.cancelled_by}.",
    }
    line = lines.get(reason)
    assert verdict == Verdict(status, verdict.summary, reason, line=line)
