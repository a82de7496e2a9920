"""Find runs on disk: by id under any task, the latest of a task, all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codex_orchestrator import places, sources
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import CONFIG_NAME, TASK_VARIABLE, Environment, choose_task
from codex_orchestrator.errors import Misplaced, StorageError, UnknownRun
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.identifiers import check_id, id_problem, is_run_id, new_run_id
from codex_orchestrator.model.codec import loads
from codex_orchestrator.rules.layout import RunLayout, TaskLayout

LATEST = "latest"
# A clock may have been set back a little; a run from further ahead has not been.
_AHEAD_SECONDS = 3_600.0


@dataclass(frozen=True)
class FoundRun:
    """A run and its manifest as it was read; unknown keys are kept and ignored.

    Attributes:
        layout: Where it lies.
        manifest: Its manifest.
        notices: What was passed over while it was looked for.
    """

    layout: RunLayout
    manifest: dict[str, Any]
    notices: tuple[str, ...] = ()


def find_run(environment: Environment, run: str, task: str) -> FoundRun:
    """The run of that id under any task, or the latest of ``task`` that has no parent.

    Raises:
        UsageError: The id could not be one.
        UnknownRun: There is no such run, or its manifest cannot be read.
        Misplaced: What lies in its place is not to be opened.
    """
    if run == LATEST:
        return _latest(environment, task)
    check_id(run, name="run ID")
    refused: Misplaced | None = None
    for candidate in (task, *task_ids(environment)):
        layout = TaskLayout(environment, candidate).run(run)
        try:
            if places.has_folder(layout.folder, below=layout.base):
                return FoundRun(layout, read_manifest(layout))
        except Misplaced as error:
            refused = refused or error
    if refused is not None:
        raise refused
    raise UnknownRun(
        f'Unknown run "{run}" under {environment.runs_dir}.', hint="List runs with: codex-orchestrator runs"
    )


def named_run(environment: Environment, run: str | None, task: str | None) -> str | None:
    """The run id that a flag names: an id, or ``latest``.

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


def list_runs(
    environment: Environment, task: str | None, limit: int | None
) -> tuple[list[FoundRun], list[str]]:
    """The runs of a task, or of all tasks, newest first, and a notice for each that cannot be read."""
    tasks = [
        TaskLayout(environment, name) for name in ([task] if task is not None else task_ids(environment))
    ]
    notices: list[str] = []
    layouts: list[RunLayout] = []
    for one in tasks:
        notices += unusable_entries(one)
        layouts += run_layouts(one)
    layouts.sort(key=lambda layout: layout.run_id, reverse=True)
    found: list[FoundRun] = []
    for layout in layouts:
        if limit is not None and len(found) >= limit:
            break
        try:
            found.append(FoundRun(layout, read_manifest(layout)))
        except UnknownRun as error:
            notices += _passed_over(layout, error)
    return found, notices


def task_ids(environment: Environment) -> list[str]:
    """All tasks that have a folder."""
    found = _folders(environment.runs_dir, environment)
    return [name for name in found if id_problem(name) is None]


def run_layouts(task: TaskLayout) -> Iterator[RunLayout]:
    """The run folders of a task; their manifests may be unreadable."""
    try:
        found = _folders(task.cli_dir, task.environment)
    except Misplaced:
        return  # Told by `unusable_entries`.
    yield from (task.run(name) for name in found if id_problem(name) is None)


def unusable_entries(task: TaskLayout) -> list[str]:
    """A message for each entry among the runs of a task that cannot be a run."""
    try:
        found = places.listed(task.cli_dir, below=task.environment.runs_dir)
    except StorageError as error:
        return [error.in_a_line]
    return [
        places.misplaced(task.cli_dir / name, kind, "folder").in_a_line
        for name, kind in found
        if kind not in ("folder", "file")
    ]


def _latest(environment: Environment, task: str) -> FoundRun:
    """The newest run by its own form of id, whose manifest says that it is that very run."""
    task_layout = TaskLayout(environment, task)
    notices: list[str] = []
    newest = new_run_id(SystemClock().now() + _AHEAD_SECONDS)
    names = _folders(task_layout.cli_dir, environment)
    for layout in map(task_layout.run, sorted(filter(is_run_id, names), reverse=True)):
        if layout.run_id > newest:
            notices.append(f"Run {layout.run_id} is passed over: it lies in the future.")
            continue
        try:
            manifest = read_manifest(layout)
        except UnknownRun as error:
            notices += _passed_over(layout, error)
            continue
        if manifest["run_id"] != layout.run_id:
            notices.append(f"Run {layout.run_id} is passed over: its manifest is that of another run.")
        elif manifest.get("parent_run_id") is None:
            return FoundRun(layout, manifest, tuple(notices))
    raise UnknownRun(
        f'Task "{task}" has no runs under {environment.runs_dir}.',
        hint="\n".join(
            [*notices, "Name another task with --task, or list runs with: codex-orchestrator runs"]
        ),
    )


def _passed_over(layout: RunLayout, error: UnknownRun) -> list[str]:
    """The notice about a run whose manifest cannot be read; none about one that is being created."""
    try:
        is_begun = places.status(layout.manifest, below=layout.base) is not None
        is_ours = is_run_id(layout.run_id)
        is_live = places.status(layout.live_marker, below=layout.base) is not None
    except StorageError:
        is_begun, is_ours, is_live = True, True, False
    if not is_begun and (is_live or not is_ours):
        return []
    return [f"Run {layout.run_id} is passed over: {error.in_a_line}"]


def _folders(path: Path, environment: Environment) -> list[str]:
    try:
        found = places.listed(path, below=environment.runs_dir)
    except Misplaced:
        raise
    except StorageError:
        return []
    return [name for name, kind in found if kind == "folder"]


def task_of(environment: Environment, option: str | None) -> str:
    """The task whose runs to read; a guessed task needs no notice, as nothing is written.

    Raises:
        UsageError: The id that counts is not valid.
    """
    configured = None
    if option is None and environment.setting(TASK_VARIABLE) is None:
        configured = _configured_task(environment)
    return choose_task(environment, option, configured).task_id


def _configured_task(environment: Environment) -> str | None:
    """``taskId`` of the definitions; a file that cannot be used is no reason to hide a run's status."""
    try:
        document = _definitions_of(environment)
    except (OSError, ValueError, Misplaced):
        return None
    task = document.get("taskId") if isinstance(document, dict) else None
    return task if isinstance(task, str) and id_problem(task) is None else None


def _definitions_of(environment: Environment) -> Any:
    content = sources.read(environment.config_path, root=environment.root)
    if environment.config_name == CONFIG_NAME:
        return loads(content)
    from codex_orchestrator.definitions.source import pyproject_table

    return pyproject_table(content.decode("utf-8-sig"))
