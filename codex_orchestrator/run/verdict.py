"""What an outcome means for its stage: status, summary, reason (docs/reference/manifest.md, "Status")."""

from __future__ import annotations

from dataclasses import dataclass

from codex_orchestrator.pipelines.model import CommandStage

from .shapes import Reason, StageStatus
from .stage import StageOutcome

SUMMARY_LENGTH = 240


@dataclass(frozen=True)
class Verdict:
    """A stage's final status; ``reason`` is None only where it succeeded."""

    status: StageStatus
    summary: str
    reason: Reason | None


def judge(stage: CommandStage, outcome: StageOutcome) -> Verdict:
    """The verdict on a command's outcome."""
    summary = _summary(stage, outcome)
    if outcome.status == "succeeded":
        return Verdict("succeeded", summary, None)
    if outcome.status == "cancelled":
        return Verdict("failed", summary, "command-cancelled")
    # What may fail is the command; where something else broke, nobody knows what the command did.
    if stage.allow_failure and outcome.exit_code is not None:
        return Verdict("skipped", summary, "command-allow-failure")
    if outcome.status == "timeout":
        return Verdict("failed", summary, "command-timeout")
    return Verdict("failed", summary, "command-execution-error" if outcome.cause else "command-failed")


def interruption(outcome: StageOutcome) -> str | None:
    """``Timed out after 2 s``, ``Cancelled by SIGINT``, or None where the command ended by itself."""
    if outcome.status == "timeout":
        return f"Timed out after {outcome.timeout_seconds:.12g} s"
    if outcome.status == "cancelled":
        return f"Cancelled by {outcome.cancelled_by}"
    return None


def _summary(stage: CommandStage, outcome: StageOutcome) -> str:
    interrupted = interruption(outcome)
    if interrupted is not None:
        return interrupted
    if stage.summary_hint:
        return stage.summary_hint
    said = _text(outcome.cause or outcome.stderr)
    if outcome.exit_code is None:
        return said
    tail = f" — {said}" if said else ""
    if outcome.signal:
        return f"Terminated with signal {outcome.signal}{tail}"
    if outcome.exit_code != 0:
        return f"Exited with code {outcome.exit_code}{tail}"
    return _text(outcome.stdout) or said or f"Command completed with code {outcome.exit_code}"


def _text(output: str) -> str:
    text = output.strip()
    return text if len(text) <= SUMMARY_LENGTH else f"{text[:SUMMARY_LENGTH]}…"
