"""A plan for people and programs (docs/reference/command-line.md, "plan")."""

from __future__ import annotations

from typing import Any

from codex_orchestrator.pipelines.guardrails import guardrails_required, is_guardrail_stage
from codex_orchestrator.pipelines.model import CommandStage, Pipeline, SubpipelineStage
from codex_orchestrator.pipelines.planner import Plan
from codex_orchestrator.records import to_json


def plan_document(pipeline: Pipeline, plan: Plan, source: str) -> dict[str, Any]:
    """The JSON answer of ``plan``."""
    return {
        "pipeline": {
            "id": pipeline.id,
            "title": pipeline.title,
            "description": pipeline.description,
            "source": source,
        },
        "stages": [
            {"index": index, **to_json(stage)} for index, stage in enumerate(pipeline.stages, start=1)
        ],
        "guardrails": {
            "required": guardrails_required(pipeline),
            "stages": [stage.id for stage in pipeline.stages if is_guardrail_stage(stage)],
        },
        "plan": to_json(plan),
        "targetId": plan.targetId,
    }


def plan_text(pipeline: Pipeline, plan: Plan, source: str) -> str:
    """The same for people."""
    lines = [f"Pipeline: {pipeline.id} — {pipeline.title} [{source}]"]
    if pipeline.description:
        lines.append(pipeline.description)
    lines.append("Stages:")
    for index, stage in enumerate(pipeline.stages, start=1):
        lines.append(f"  {index}. [{stage.kind}] {stage.title} ({stage.id})")
        if isinstance(stage, CommandStage):
            lines.append(f"     command: {stage.command}")
        if isinstance(stage, SubpipelineStage):
            lines.append(f"     pipeline: {stage.pipeline}")
        if stage.needs is not None:
            lines.append(f"     needs: {', '.join(stage.needs) or 'nothing'}")
    guards = [stage.id for stage in pipeline.stages if is_guardrail_stage(stage)]
    required = "required" if guardrails_required(pipeline) else "not required"
    lines.append(f"Guardrails: {required}; {', '.join(guards) or 'none'}")
    lines.append(f"Target: {plan.targetId}")
    return "\n".join(lines)
