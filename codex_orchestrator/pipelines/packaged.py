"""The pipelines that come with the product: JSON with a variant for each kind of repository.

``{"pipelines": […], "stageSets": {name: {"npm": […], "python": […], "bare": […]}}}``, where a stage
has either a ``command`` or ``choose``: candidates ``{"when"?, "command", …}`` of which the first that
holds is taken. Everything else is as in ``codex.orchestrator.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codex_orchestrator.environment import Environment
from codex_orchestrator.records import from_json

from .model import Configuration
from .project import Project

NOTICES = {
    "bare": "No package.json and no Python project file here: diagnostics runs the spec guard alone.",
}


def packaged_folder() -> Path:
    """Where the JSON lies: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / "packaged"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "pipelines"


def load_packaged(environment: Environment) -> Configuration:
    """The packaged pipelines as they fit this repository."""
    project = Project(environment)
    pipelines: list[Any] = []
    stage_sets: dict[str, Any] = {}
    for path in sorted(packaged_folder().glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        pipelines.extend(document["pipelines"])
        for name, variants in document["stageSets"].items():
            stage_sets[name] = [_chosen(stage, project) for stage in variants[project.kind]]
    return from_json(Configuration, {"pipelines": pipelines, "stageSets": stage_sets})


def packaged_notice(environment: Environment) -> str | None:
    """What to tell a user whose repository has nothing to diagnose, or None."""
    return NOTICES.get(Project(environment).kind)


def _chosen(stage: dict[str, Any], project: Project) -> dict[str, Any]:
    chosen = {key: value for key, value in stage.items() if key != "choose"}
    for candidate in stage.get("choose", ()):
        if "when" not in candidate or project.holds(candidate["when"]):
            chosen.update({key: value for key, value in candidate.items() if key != "when"})
            break
    chosen["command"] = project.fill(chosen["command"])
    return chosen
