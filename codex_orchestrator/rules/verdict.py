"""The verdict on a stage's outcome: status, summary and reason (docs/reference/manifest.md, "Status")."""

from __future__ import annotations

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.definitions import CommandStage, ManualStage, SubpipelineStage
from codex_orchestrator.model.manifest import Manifest, Reason, Receipt, StageStatus
from codex_orchestrator.rules.stage import StageOutcome, failure_words, interruption

SUMMARY_LENGTH = 240


@dataclass(frozen=True)
class Verdict:
    """A stage's final status, and what the run says of it.

    Attributes:
        status: Of the stage's entry.
        summary: Of the stage's entry.
        reason: Why it failed; None where it succeeded, or was left out.
        detail: The run's ``status_detail``, where the stage's kind has one of its own.
        line: The run's summary line, where it is not the one about an exit code.
    """

    status: StageStatus
    summary: str
    reason: Reason | None
    detail: str | None = None
    line: str | None = None


def judge(stage: CommandStage, outcome: StageOutcome) -> Verdict:
    """The verdict on a command's outcome."""
    summary = _summary(stage, outcome)
    if outcome.status == "succeeded":
        return Verdict("succeeded", summary, None)
    if outcome.status == "cancelled":
        return cancelled(stage.title, outcome)
    # What may fail is the command; where something else broke, nobody knows what the command did.
    if stage.allow_failure and outcome.exit_code is not None:
        return Verdict("skipped", summary, "command-allow-failure")
    if outcome.status == "timeout":
        return Verdict("failed", summary, "command-timeout")
    if outcome.cause:
        return execution_error(outcome.cause, summary)
    return Verdict("failed", summary, "command-failed")


def skipped_by_definition(reason: str) -> Verdict:
    """The verdict on a stage whose definition says why it is not run."""
    return Verdict("skipped", _text(reason), None)


def cancelled(title: str, outcome: StageOutcome) -> Verdict:
    """The verdict on a stage that was ended and did not fail by itself."""
    words = interruption(outcome) or "Cancelled"
    line = f"Stage '{title}' was {words.lower()[:1]}{words[1:]}."
    return Verdict("failed", words, "command-cancelled", line=line)


def execution_error(cause: str, summary: str | None = None) -> Verdict:
    """The verdict on a stage that could not be run, or of which nobody knows what it did."""
    return Verdict("failed", summary or cause, "command-execution-error", line=f"Execution error: {cause}")


def judge_child(stage: SubpipelineStage, child: Manifest) -> Verdict:
    """The verdict on a sub-pipeline whose run has ended."""
    summary = _text(child.summary or f"Run {child.run_id}: {child.status}")
    if child.status == "succeeded":
        return Verdict("succeeded", summary, None)
    cancelled = child.status == "cancelled"
    if stage.optional and not cancelled:
        return Verdict("skipped", summary, "command-allow-failure")
    return Verdict(
        "failed",
        summary,
        "command-cancelled" if cancelled else "command-failed",
        detail=f"subpipeline:{stage.pipeline}:failed",
        line=f"Sub-pipeline '{stage.pipeline}' failed.",
    )


def child_error(stage: SubpipelineStage, cause: str) -> Verdict:
    """The verdict on a sub-pipeline whose run could not be opened."""
    return Verdict(
        "failed",
        f"Sub-pipeline error: {cause}",
        "command-execution-error",
        detail=f"subpipeline:{stage.pipeline}:error",
        line=f"Sub-pipeline error: {cause}",
    )


def waiting_summary(stage: ManualStage) -> str:
    """The summary of a stage that waits for a decision."""
    return _text(f"Waiting for approval: {stage.instructions or stage.title}")


def judge_decision(stage: ManualStage, receipt: Receipt, *, cited: str) -> Verdict:
    """The verdict on a manual stage that somebody has decided on; ``cited`` names the decision."""
    said = f": {_text(receipt.reason)}" if receipt.reason else ""
    if receipt.decision == "approved":
        return Verdict(
            "succeeded", f"Approved by {receipt.actor} ({receipt.actor_kind}){said} — {cited}", None
        )
    return Verdict(
        "failed",
        f"Rejected by {receipt.actor} ({receipt.actor_kind}){said} — {cited}",
        "command-failed",
        detail=f"stage:{stage.id}:rejected",
        line=f"Stage '{stage.title}' was rejected by {receipt.actor}{said}.",
    )


def _summary(stage: CommandStage, outcome: StageOutcome) -> str:
    interrupted = interruption(outcome)
    if interrupted is not None:
        return interrupted
    said = stage.summary_hint or _what_it_said(outcome)
    if outcome.status == "succeeded" and outcome.retried:
        return f"{said} (passed on attempt {outcome.attempt})"
    return said


def _what_it_said(outcome: StageOutcome) -> str:
    said = _text(outcome.cause or outcome.stderr)
    if outcome.exit_code is None:
        return said
    if outcome.signal or outcome.exit_code != 0:
        return f"{failure_words(outcome)} — {said}" if said else failure_words(outcome)
    return _text(outcome.stdout) or said or f"Command completed with code {outcome.exit_code}"


def _text(output: str) -> str:
    text = output.strip()
    return text if len(text) <= SUMMARY_LENGTH else f"{text[:SUMMARY_LENGTH]}…"
