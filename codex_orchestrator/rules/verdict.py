"""What an outcome means for its stage, and the stages for the run: status, words and reason.

Rules: docs/reference/manifest.md, "Status" and "Run summary".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.definitions import CommandStage, ManualStage, SubpipelineStage
from codex_orchestrator.model.events import RunCompleted
from codex_orchestrator.model.manifest import Manifest, Reason, Receipt, RunStatus, StageStatus
from codex_orchestrator.rules import recorder
from codex_orchestrator.rules.guardrails import guardrail_status
from codex_orchestrator.rules.stage import StageOutcome, failure_words, interruption
from codex_orchestrator.rules.summary import compose_summary, failure_line, joined, partial_line

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
    if outcome.missing:
        words = failure_words(outcome)
        line = f"Stage '{stage.title}' {words[:1].lower()}{words[1:]}."
        return Verdict("failed", summary, "command-failed", line=line)
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
    if outcome.missing:
        return _text(failure_words(outcome))
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


@dataclass(frozen=True)
class RunEndFacts:
    """The facts that decide on a run's end besides its manifest.

    Attributes:
        selected: The ids of the stages that this session meant to run.
        cancelled_by: The signal that cancelled the run, or None.
        lines: By stage index, what the summary says of a failure where it is not the exit code.
        interrupted: The indexes of stages that were ended, and did not fail by themselves.
        warnings: Degraded recording and the like.
    """

    selected: Collection[str]
    cancelled_by: str | None
    lines: Mapping[int, str]
    interrupted: Collection[int]
    warnings: Sequence[str]


def finish(
    manifest: Manifest, ending: RunEndFacts, *, now: str, run_summary_path: str
) -> tuple[Manifest, RunCompleted]:
    """The manifest of the ended run, and the event that says so."""
    guardrails = guardrail_status(manifest, computed_at=now)
    status = final_status(manifest, ending)
    completed = RunCompleted(
        run_id=manifest.run_id,
        status=status,
        status_detail=_detail(manifest, ending, status),
        summary=compose_summary(
            manifest, guardrails, first_lines=_first_lines(manifest, ending), warnings=ending.warnings
        ),
        timestamp=now,
    )
    finished = replace(
        recorder.apply(manifest, completed),
        guardrail_status=guardrails,
        run_summary_path=run_summary_path,
    )
    return finished, completed


def _detail(manifest: Manifest, ending: RunEndFacts, status: RunStatus) -> str | None:
    if ending.cancelled_by:
        return f"cancelled:{ending.cancelled_by}"
    # Still there where a resumed run had nothing left to do but to end.
    detail = None if manifest.status_detail == recorder.RESUMING else manifest.status_detail
    ended = next((entry for entry in manifest.commands if entry.status == "failed"), None)
    if detail is None and ended is not None and status == "failed":
        # None has failed by itself, and no signal has ended them.
        return f"stage:{ended.id}:error"
    return detail


def final_status(manifest: Manifest, ending: RunEndFacts) -> RunStatus:
    """Cancelled, failed, or (only when every selected stage ended well) succeeded."""
    if ending.cancelled_by:
        return "cancelled"
    if manifest.control_plane is not None and manifest.control_plane.refuses:
        return "failed"
    ended_well = all(
        entry.status in ("succeeded", "skipped") for entry in manifest.commands if entry.id in ending.selected
    )
    return "succeeded" if ended_well else "failed"


def add_warnings(manifest: Manifest, warnings: Sequence[str]) -> Manifest:
    """The manifest with warnings that came after its summary; the guardrail part stays last."""
    if not warnings or manifest.guardrail_status is None or manifest.summary is None:
        return manifest
    guardrails = manifest.guardrail_status
    last = [line for line in (guardrails.recommendation, guardrails.summary) if line]
    lines = manifest.summary.split("\n")[: -len(last)]
    return replace(manifest, summary=joined([*lines, *warnings, *last]))


def _first_lines(manifest: Manifest, ending: RunEndFacts) -> list[str]:
    """Cancellation or failure, stages that never ran, and a partial selection."""
    control_plane = manifest.control_plane
    lines = [control_plane.summary] if control_plane is not None and control_plane.refuses else []
    failure = failure_line(manifest, ending.lines, ending.interrupted)
    if ending.cancelled_by:
        lines.append(f"Run cancelled by {ending.cancelled_by}.")
    elif failure:
        lines.append(failure)
    else:
        waiting = [e for e in manifest.commands if e.id in ending.selected and e.status == "pending"]
        if waiting:
            lines.append(f"{len(waiting)} of {len(ending.selected)} selected stages did not run.")
    partial = partial_line(len(ending.selected), len(manifest.commands))
    return [*lines, partial] if partial else lines
