"""A failed stage in a few lines: what failed, and where to look."""

from __future__ import annotations

import shlex

from codex_orchestrator.model.definitions import ManualStage
from codex_orchestrator.model.manifest import CommandEntry
from codex_orchestrator.rules.stage import StageOutcome, interruption
from codex_orchestrator.text import labelled, one_line

TAIL_LINES = 20
_LINE_LENGTH = 400
_CANCELLED = "cancelled by "


def failure_details(entry: CommandEntry, outcome: StageOutcome) -> tuple[str, ...]:
    """Command, last lines of output, and where to look."""
    lines = labelled("  command", str(entry.command))
    for name, text, cut in (
        ("stdout", outcome.stdout, outcome.stdout_truncated),
        ("stderr", outcome.stderr, outcome.stderr_truncated),
    ):
        # Not at every mark that Python takes for an end: a carriage return begins the line anew.
        tail = text.removesuffix("\n").split("\n")
        if not text:
            continue
        shown = [one_line(line)[:_LINE_LENGTH] for line in tail[-TAIL_LINES:]]
        lines.append(f"  {name}, last {len(shown)} lines:" if cut or len(tail) > TAIL_LINES else f"  {name}:")
        lines.extend(f"    {line}" for line in shown)
    lines.append(f"  log: {entry.log_path}")
    if entry.error_file:
        lines.append(f"  error file: {entry.error_file}")
    return tuple(lines)


def decision_help(stage: ManualStage, run_id: str, *, resumed: str) -> tuple[str, ...]:
    """The question to a person about a manual stage, and how to answer it.

    Args:
        stage: The stage that waits.
        run_id: Its run.
        resumed: The run to take up again then: that one, or the first above it.
    """
    # Behind a bar, so that none is taken for a line of ours.
    asked = [f"  |  {line}" for line in (stage.instructions or "").splitlines()]
    words = f"--run {shlex.quote(run_id)} --stage {shlex.quote(stage.id)}"
    return (
        *asked,
        f"  decide: codex-orchestrator approve {words}  (or: reject)",
        f"  go on:  codex-orchestrator resume --run {shlex.quote(resumed)}",
    )


def failure_cause(entry: CommandEntry, outcome: StageOutcome) -> str:
    """How the stage ended, in a few words."""
    interrupted = interruption(outcome)
    if interrupted is not None:
        return f"{interrupted[0].lower()}{interrupted[1:]}"
    if outcome.cause:
        return outcome.cause
    if outcome.missing:
        return f"exit code {entry.exit_code}, but {outcome.missing}"
    if outcome.signal:
        return f"terminated with signal {outcome.signal}"
    return f"exit code {entry.exit_code}"


def is_cancellation(cause: str) -> bool:
    """Whether a cause in the words of `failure_cause` says that the stage was cancelled."""
    return cause.startswith(_CANCELLED)
