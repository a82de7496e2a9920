"""Which stages are guardrails, and what they say about a run (docs/reference/manifest.md, "Guardrails")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from codex_orchestrator.model.definitions import Pipeline, Stage

if TYPE_CHECKING:
    from codex_orchestrator.model.manifest import CommandEntry, GuardrailCounts, GuardrailStatus, Manifest

_MARK = "spec-guard"
_RERUN = "codex-orchestrator start diagnostics --approval-policy never --format json --no-interactive"
_MISSING = f'Guardrail command missing; run "{_RERUN}" to capture reviewer diagnostics.'
_FAILED = f'Guardrail command failed; re-run "{_RERUN}" to gather failure artifacts.'


def is_guardrail(*texts: str | None) -> bool:
    """Whether any of a command's id, title and command line names the spec guard."""
    return any(_MARK in text.lower() for text in texts if text)


def is_guardrail_stage(stage: Stage) -> bool:
    """Whether a stage counts as a guardrail."""
    return is_guardrail(stage.id, stage.title, getattr(stage, "command", None))


def guardrails_required(pipeline: Pipeline) -> bool:
    """The pipeline's own flag, else whether it has a guardrail stage."""
    if pipeline.guardrails_required is not None:
        return pipeline.guardrails_required
    return any(is_guardrail_stage(stage) for stage in pipeline.stages)


def guardrail_status(manifest: Manifest, *, computed_at: str) -> GuardrailStatus:
    """What the guardrail commands of a run say about it."""
    from codex_orchestrator.model.manifest import GuardrailCounts, GuardrailStatus

    entries = guardrail_entries(manifest)
    counts = GuardrailCounts(
        total=len(entries),
        succeeded=_count(entries, "succeeded"),
        failed=_count(entries, "failed"),
        skipped=_count(entries, "skipped"),
        other=_count(entries, "pending") + _count(entries, "running"),
    )
    if counts.failed:
        recommendation: str | None = _FAILED
    else:
        missing = counts.total == 0 and manifest.guardrails_required
        recommendation = _MISSING if missing else None
    return GuardrailStatus(
        present=counts.succeeded > 0,
        recommendation=recommendation,
        summary=_guardrail_line(counts),
        computed_at=computed_at,
        counts=counts,
    )


def guardrail_entries(manifest: Manifest) -> list[CommandEntry]:
    """The entries that are guardrail commands."""
    return [entry for entry in manifest.commands if is_guardrail(entry.id, entry.title, entry.command)]


def _guardrail_line(counts: GuardrailCounts) -> str:
    total = counts.total
    if total == 0:
        return "Guardrails: spec-guard command not found."
    if counts.failed:
        return f"Guardrails: spec-guard failed ({counts.failed}/{total} failed)."
    if counts.succeeded == total:
        return f"Guardrails: spec-guard succeeded ({total} passed)."
    if counts.skipped == total:
        return f"Guardrails: spec-guard skipped (all {total} skipped)."
    parts = ((counts.succeeded, "passed"), (counts.skipped, "skipped"), (counts.other, "pending"))
    named = ", ".join(f"{number} {word}" for number, word in parts if number)
    return f"Guardrails: spec-guard partial ({named} of {total})."


def _count(entries: Sequence[CommandEntry], status: str) -> int:
    return sum(entry.status == status for entry in entries)
