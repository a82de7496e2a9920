"""The pipelines that come with the product: JSON that is fitted to the repository.

``{"pipelines"?: […], "stageSets": {name: stages}}``, where stages are one list for every repository, or
one for each kind: ``{"npm": […], "python": […], "bare": […]}``. In it a stage has either a ``command`` or
``choose``: candidates ``{"when"?, "command", …}`` of which the first that holds is taken. A set may take in
other packaged ones by ``ref``. Everything else is as in ``codex.orchestrator.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from codex_orchestrator import resources
from codex_orchestrator.environment import Environment
from codex_orchestrator.records import from_json, loads

from .model import Configuration
from .project import Project

NOTICES = {
    "diagnostics": "diagnostics runs the spec guard alone",
    "implementation-gate": "implementation-gate runs without build, lint and test",
}


def packaged_folder() -> Path:
    """Where the JSON lies: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / "packaged"
    return inside if resources.files_in(inside) else Path(__file__).parents[2] / "pipelines"


def load_packaged(environment: Environment, tell: Callable[[str], object] = str) -> Configuration:
    """The packaged pipelines as they fit this repository.

    Args:
        environment: The repository.
        tell: Told what was taken for missing, as it leads out of the repository.
    """
    project = Project(environment)
    pipelines: list[Any] = []
    written: dict[str, Any] = {}
    for path in resources.files_in(packaged_folder(), "*.json"):
        document = loads(resources.read_text(path))
        pipelines.extend(document.get("pipelines", ()))
        written.update(document["stageSets"])
    stage_sets = {name: list(_fitted(name, written, project)) for name in written}
    for notice in project.notices:
        tell(notice)
    return from_json(Configuration, {"pipelines": pipelines, "stageSets": stage_sets})


def packaged_notice(environment: Environment, pipeline_id: str) -> str | None:
    """What to tell a user in whose repository a packaged pipeline has less to do; else None."""
    if pipeline_id not in NOTICES or Project(environment).kind != "bare":
        return None
    return f"No package.json and no Python project file here: {NOTICES[pipeline_id]}."


def _fitted(name: str, written: Mapping[str, Any], project: Project) -> Iterator[dict[str, Any]]:
    """A set's stages as they are here, those of the sets that it takes in among them."""
    stages = written[name]
    for stage in stages[project.kind] if isinstance(stages, dict) else stages:
        if "ref" in stage:
            yield from _fitted(stage["ref"], written, project)
        else:
            yield _chosen(stage, project)


def _chosen(stage: dict[str, Any], project: Project) -> dict[str, Any]:
    chosen = {key: value for key, value in stage.items() if key != "choose"}
    for candidate in stage.get("choose", ()):
        if "when" not in candidate or project.holds(candidate["when"]):
            chosen.update({key: value for key, value in candidate.items() if key != "when"})
            break
    chosen["command"] = project.fill(chosen["command"])
    return chosen
