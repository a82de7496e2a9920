"""Find runs on disk: by id under any task, the latest of a task, all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import TASK_VARIABLE, Environment, choose_task
from codex_orchestrator.errors import UnknownRun
from codex_orchestrator.identifiers import check_id, id_problem
from codex_orchestrator.manifests import read_document
from codex_orchestrator.run.layout import RunLayout, TaskLayout

LATEST = "latest"


@dataclass(frozen=True)
class FoundRun:
    """A run and what its manifest says; readers ignore keys they do not know."""

    layout: RunLayout
    manifest: dict[str, Any]


def find_run(environment: Environment, run: str, task: str) -> FoundRun:
    """The run of that id under any task, or the latest of ``task`` that has no parent.

    Raises:
        UsageError: The id could not be one.
        UnknownRun: There is no such run, or its manifest cannot be read.
    """
    if run == LATEST:
        return _latest(environment, task)
    check_id(run, name="run ID")
    for candidate in (task, *task_ids(environment)):
        layout = TaskLayout(environment, candidate).run(run)
        if layout.folder.is_dir():
            return FoundRun(layout, read_manifest(layout.manifest))
    raise UnknownRun(
        f'Unknown run "{run}" under {environment.runs_dir}.', hint="List runs with: codex-orchestrator runs"
    )


def named_run(environment: Environment, run: str | None, task: str | None) -> str | None:
    """The id of the run that a flag names: itself, or what ``latest`` stands for.

    Args:
        environment: Where things are.
        run: A run id, which need not be one of a run that there is; ``latest``; None where none is named.
        task: A task id as the user gave it, or None.

    Raises:
        UnknownRun: The task has no run.
        UsageError: The task id could not be one.
    """
    if run != LATEST:
        return run
    return find_run(environment, run, task_of(environment, task)).layout.run_id


def list_runs(environment: Environment, task: str | None, limit: int | None) -> list[FoundRun]:
    """Runs of a task, or of all, newest first; folders without a readable manifest are left out."""
    tasks = [task] if task is not None else task_ids(environment)
    layouts = [layout for name in tasks for layout in run_layouts(TaskLayout(environment, name))]
    layouts.sort(key=lambda layout: layout.run_id, reverse=True)
    found: list[FoundRun] = []
    for layout in layouts:
        if limit is not None and len(found) >= limit:
            break
        try:
            found.append(FoundRun(layout, read_manifest(layout.manifest)))
        except UnknownRun:
            continue  # Another tool's folder, or a run that died in its first moments.
    return found


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest as it is.

    Raises:
        UnknownRun: It is missing, unreadable or no manifest.
    """
    manifest = read_document(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("run_id"), str):
        raise UnknownRun(f"{path} is not a run manifest.")
    commands = manifest.get("commands")
    if not isinstance(commands, list) or not all(isinstance(entry, dict) for entry in commands):
        raise UnknownRun(f"{path} is not a run manifest: it has no commands.")
    return manifest


def task_ids(environment: Environment) -> list[str]:
    """All tasks that have a folder."""
    return sorted(folder for folder in _folders(environment.runs_dir) if id_problem(folder) is None)


def run_layouts(task: TaskLayout) -> Iterator[RunLayout]:
    """Whatever may be a run of a task: its manifest need not be readable."""
    return (task.run(name) for name in _folders(task.cli_dir) if id_problem(name) is None)


def _latest(environment: Environment, task: str) -> FoundRun:
    task_layout = TaskLayout(environment, task)
    for layout in sorted(run_layouts(task_layout), key=lambda layout: layout.run_id, reverse=True):
        try:
            manifest = read_manifest(layout.manifest)
        except UnknownRun:
            continue
        if manifest.get("parent_run_id") is None:
            return FoundRun(layout, manifest)
    raise UnknownRun(
        f'Task "{task}" has no runs under {environment.runs_dir}.',
        hint="Name another task with --task, or list runs with: codex-orchestrator runs",
    )


def _folders(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.iterdir() if entry.is_dir()]
    except OSError:
        return []


def task_of(environment: Environment, option: str | None) -> str:
    """The task whose runs are meant; a guess needs no notice where nothing is written.

    Raises:
        UsageError: The id that counts is not valid.
    """
    configured = None
    if option is None and environment.setting(TASK_VARIABLE) is None:
        configured = _configured_task(environment.config_path)
    return choose_task(environment, option, configured).task_id


def _configured_task(path: Path) -> str | None:
    """``taskId`` of the definitions; a file that cannot be used is no reason to hide a run's status."""
    try:
        task = json.loads(path.read_bytes()).get("taskId")
    except (OSError, ValueError, AttributeError):
        return None
    return task if isinstance(task, str) and id_problem(task) is None else None
