"""Which stages are guardrails (docs/reference/manifest.md, "Guardrails")."""

from __future__ import annotations

from codex_orchestrator.model.definitions import Pipeline, Stage

_MARK = "spec-guard"


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
