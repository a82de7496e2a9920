"""A plan for people and programs: all that a run would execute (docs/reference/command-line.md, "plan")."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, get_args

from codex_orchestrator import named
from codex_orchestrator.definitions.planner import Planned
from codex_orchestrator.engine.preparation import Prepared
from codex_orchestrator.model.codec import json_name, to_json
from codex_orchestrator.model.definitions import CommandStage, Pipeline, Stage
from codex_orchestrator.repository.commands import BuildStep
from codex_orchestrator.rules.guardrails import guardrails_required, is_guardrail_stage
from codex_orchestrator.text import labelled

# What the line of a stage says by itself.
_IN_HEADING = ("kind", "id", "title")
_INDENT = "  "
_KEEPS_GOING = "after a failure, what does not need the failed stage still runs"


def plan_document(prepared: Prepared) -> dict[str, Any]:
    """The JSON answer of ``plan``."""
    planned, pipeline = prepared.planned, prepared.planned.shown
    configuration = prepared.definitions.configuration
    scrub = prepared.options.guard.scrub
    below = (each.shown for each in _first_of_each(planned) if each is not planned)
    return {
        **_pipeline_document(prepared, pipeline),
        "guardrails": {
            "required": guardrails_required(pipeline),
            "stages": [stage.id for stage in pipeline.stages if is_guardrail_stage(stage)],
        },
        "plan": to_json(planned.plan),
        "targetId": planned.plan.targetId,
        "subpipelines": [_pipeline_document(prepared, each) for each in below],
        "definitions": _definitions(prepared),
        "plugins": [scrub(name) for name in configuration.plugins],
        "review": {"command": configuration.review.command and scrub(configuration.review.command)},
    }


def plan_lines(prepared: Prepared) -> Iterator[str]:
    """The same for people; each item is a line of its own, whatever is in it."""
    planned, pipeline = prepared.planned, prepared.planned.shown
    yield f"Pipeline: {_name(prepared, pipeline)}"
    yield f"Definitions: {_definitions(prepared) or 'packaged ones alone'}"
    if pipeline.description is not None:
        yield from labelled("Description", pipeline.description)
    if pipeline.keep_going:
        yield f"Keeps going: {_KEEPS_GOING}"
    yield "Stages:"
    yield from _stages(prepared)
    guards = [_guard_name(stage) for stage in pipeline.stages if is_guardrail_stage(stage)]
    required = "required" if guardrails_required(pipeline) else "not required"
    yield f"Guardrails: {required}; {', '.join(guards) or 'none'}"
    configuration = prepared.definitions.configuration
    scrub = prepared.options.guard.scrub
    if configuration.plugins:
        named = ", ".join(map(scrub, configuration.plugins))
        yield f"Plugins: {named} (loaded by a run, and may change what it runs)"
    if configuration.review.command:
        yield from labelled("Review command", scrub(configuration.review.command))
    yield f"Target: {planned.plan.targetId}"


def _pipeline_document(prepared: Prepared, pipeline: Pipeline) -> dict[str, Any]:
    return {
        "pipeline": {
            "id": pipeline.id,
            "title": pipeline.title,
            "description": pipeline.description,
            **({"keepGoing": True} if pipeline.keep_going else {}),
            "source": prepared.definitions.sources[pipeline.id],
        },
        "stages": [
            {"index": index, **to_json(stage)} for index, stage in enumerate(pipeline.stages, start=1)
        ],
    }


def _definitions(prepared: Prepared) -> str | None:
    """The file that the repository's definitions are in, or None where there is none."""
    path = prepared.environment.config_path
    return str(path) if named.is_there(path) else None


def _name(prepared: Prepared, pipeline: Pipeline) -> str:
    return f"{pipeline.id} — {pipeline.title} [{prepared.definitions.sources[pipeline.id]}]"


def _guard_name(stage: Stage) -> str:
    """A guardrail's id, and whether it may fail."""
    return f"{stage.id} (its failure is allowed)" if getattr(stage, "allow_failure", False) else stage.id


def _first_of_each(planned: Planned) -> Iterator[Planned]:
    """A pipeline and all below it, each once, in the order in which they are first met."""
    met = {planned.pipeline.id}
    waiting = deque([planned])
    while waiting:
        each = waiting.popleft()
        yield each
        for child in each.children.values():
            if child.pipeline.id not in met:
                met.add(child.pipeline.id)
                waiting.append(child)


def _stages(prepared: Prepared) -> Iterator[str]:
    """The stages, those of a sub-pipeline below the first stage that runs it."""
    shown = {prepared.pipeline.id}
    levels = [(prepared.planned, _INDENT, enumerate(prepared.planned.shown.stages, start=1))]
    while levels:
        planned, indent, stages = levels[-1]
        index, stage = next(stages, (0, None))
        if stage is None:
            levels.pop()
            continue
        yield f"{indent}{index}. [{stage.kind}] {stage.title} ({stage.id})"
        own = f"{indent}   "
        child = planned.children.get(stage.id)
        if child is not None:
            again = child.pipeline.id in shown
            yield f"{own}pipeline: {_name(prepared, child.shown)}{', shown above' if again else ''}"
        yield from _details(stage, own)
        if isinstance(stage, CommandStage) and (why := _why(prepared, stage)):
            yield from labelled(f"{own}why", why)
        if child is not None and child.pipeline.id not in shown:
            shown.add(child.pipeline.id)
            if child.shown.description is not None:
                yield from labelled(f"{own}description", child.shown.description)
            if child.shown.keep_going:
                yield f"{own}keeps going: {_KEEPS_GOING}"
            levels.append((child, own, enumerate(child.shown.stages, start=1)))


def _why(prepared: Prepared, stage: CommandStage) -> str | None:
    """What in the repository suggests the command of a packaged stage."""
    if stage.id not in get_args(BuildStep):
        return None  # Whoever has none of these need not have the repository looked at.
    choice = prepared.definitions.packaged.project.step_commands.get(stage.id)
    return choice.why if choice is not None and choice.command == stage.command else None


def _details(stage: Stage, indent: str) -> Iterator[str]:
    """The settings of a stage, a line each; defaults are left out."""
    document = to_json(stage)
    usual = {json_name(type(stage), each): each.default for each in fields(stage)}
    for key, value in document.items():
        if key in _IN_HEADING or key == "pipeline" or value in (None, usual[key]):
            continue
        if key == "env":
            yield from (f"{indent}env: {name}={hidden}" for name, hidden in value.items())
        elif key == "needs":
            yield f"{indent}needs: {', '.join(value) or 'nothing'}"
        else:
            yield from labelled(f"{indent}{key}", value if isinstance(value, str) else _as_json(value))


def _as_json(value: Any) -> str:
    if isinstance(value, Mapping):
        value = {key: each for key, each in value.items() if each not in (None, [])}
    return json.dumps(value, ensure_ascii=False)
