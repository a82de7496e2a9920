"""The facts about a task's runs on disk that housekeeping decides on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from codex_orchestrator import places
from codex_orchestrator.clock import parse_timestamp
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UnknownRun
from codex_orchestrator.evidence.housekeeping import is_queued, queued_names
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.evidence.owner import Liveness
from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.retention import HoldReason, RunFacts
from codex_orchestrator.views.lookup import FoundRun, run_layouts, task_ids
from codex_orchestrator.views.status import liveness_of_run

_HOLDS: dict[Liveness, HoldReason] = {"alive": "alive", "waiting": "waiting"}
_SIGNS_OF_LIFE = ("completed_at", "updated_at", "started_at")


def task_runs(task: TaskLayout, *, now: float) -> list[RunFacts]:
    """The facts of all runs of a task; what cannot be read is ``unreadable``."""
    names = queued_names(task)
    return [run_facts(layout, now=now, names=names) for layout in run_layouts(task)]


def run_facts(layout: RunLayout, *, now: float, names: Sequence[str] | None = None) -> RunFacts:
    """The facts of one run; ``names`` are those of pending records, where they are known already."""
    try:
        run = FoundRun(layout, read_manifest(layout))
    except UnknownRun:
        return RunFacts(layout.run_id, "unreadable")
    manifest = run.manifest
    return RunFacts(
        layout.run_id,
        _HOLDS.get(liveness_of_run(run, now=now)),
        status=_text(manifest.get("status")),
        last_activity=_last_activity(manifest),
        parent_run_id=_text(manifest.get("parent_run_id")),
        queued=is_queued(layout, names),
    )


def foreign_parents(environment: Environment, runs: Iterable[RunFacts], *, now: float) -> list[RunFacts]:
    """The ancestors of runs that belong to other tasks."""
    known = {run.run_id: run for run in runs}
    found: list[RunFacts] = []
    asked = [run.parent_run_id for run in known.values()]
    tasks: list[TaskLayout] | None = None
    while asked:
        run_id = asked.pop()
        if run_id is None or run_id in known or id_problem(run_id) is not None:
            continue
        tasks = tasks or [TaskLayout(environment, name) for name in task_ids(environment)]
        for layout in (task.run(run_id) for task in tasks):
            if places.has_folder(layout.folder, below=layout.base):
                known[run_id] = run_facts(layout, now=now)
                found.append(known[run_id])
                asked.append(known[run_id].parent_run_id)
                break
    return found


def _last_activity(manifest: dict[str, Any]) -> float | None:
    """When the run ended, else when its manifest was last written, else when it began."""
    texts = (manifest.get(key) for key in _SIGNS_OF_LIFE)
    moments = (parse_timestamp(text) for text in texts if isinstance(text, str))
    return next((moment for moment in moments if moment is not None), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
