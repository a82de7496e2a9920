"""What the runs of a project have left, as tests compare it."""

from __future__ import annotations

import json

from .invariants import manifests
from .projects import Project


def statuses(project: Project) -> dict[str, str]:
    """By stage, how it ended in the newest run."""
    return statuses_in(project.manifest())


def statuses_in(manifest: dict) -> dict[str, str]:
    """By stage, how it ended."""
    return {entry["id"]: entry["status"] for entry in manifest["commands"]}


def events(project: Project, *kinds: str) -> list[dict]:
    """The events of the newest run, of these kinds or all."""
    log = (project.runs()[-1] / "runner.ndjson").read_bytes()
    return [event for event in map(json.loads, log.splitlines()) if not kinds or event["type"] in kinds]


def started(project: Project) -> list[int]:
    """The places of the stages of the newest run, from 1, in the order in which they started."""
    return [event["index"] for event in events(project, "command:start")]


def order(project: Project) -> list[tuple[str, str]]:
    """What began and ended in the newest run, in order: ``("a", "begins")``."""
    ids = [entry["id"] for entry in project.manifest()["commands"]]
    said = {"command:start": "begins", "command:end": "ends"}
    return [(ids[event["index"] - 1], said[event["type"]]) for event in events(project, *said)]


def by_pipeline(project: Project) -> dict[str, dict]:
    """The manifest of the only run of each pipeline."""
    found = {manifest["pipeline_id"]: manifest for manifest in manifests(project.root).values()}
    assert len(found) == len(manifests(project.root))
    return found


def ran(project: Project) -> list[str]:
    """What stages have left in the file ``ran``, in order."""
    path = project.root / "ran"
    return path.read_text().split() if path.exists() else []


def contents(project: Project) -> dict:
    """Every file of a project, with its bytes."""
    return {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}
