"""Removes what dead runs left: temporary files, and folders that never became a run.

Only runs that have not ended have a marker, so looking for the dead among them costs the same
however many runs there have been (docs/reference/files.md, "Leftovers").
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codex_orchestrator import named, places
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.locks import SOFT_SUFFIX, held_lock
from codex_orchestrator.evidence.owner import exists, is_alive, read_owner, this_process
from codex_orchestrator.identifiers import id_problem, is_run_id
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.text import printable

_SUFFIX = ".json"
# What a run has before its first manifest; all else was left by a run that was one.
_FIRST_FILES = frozenset(
    {".heartbeat", "plan.json", "resume-token.json", "run.lock", f"run.lock{SOFT_SUFFIX}"}
)


@dataclass(frozen=True)
class SweepResult:
    """What was removed, and a warning for each thing that could not be.

    Attributes:
        temporaries: Temporary files, by their paths relative to the root.
        folders: Folders that never became a run, likewise.
        warnings: What was left alone, and why.
    """

    temporaries: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __add__(self, other: SweepResult) -> SweepResult:
        return SweepResult(
            (*self.temporaries, *other.temporaries),
            (*self.folders, *other.folders),
            (*self.warnings, *other.warnings),
        )


def sweep(task: TaskLayout, *, dry_run: bool = False) -> SweepResult:
    """Remove what dead runs of a task left; runs that are alive, here or elsewhere, are not touched.

    Args:
        task: The task.
        dry_run: Only say what would be swept.
    """
    here, base = this_process(), task.environment.runs_dir
    swept = SweepResult()
    try:
        found = places.listed(task.live_dir, below=base)
    except StorageError as error:
        return SweepResult(warnings=(error.in_a_line,))
    for name in files.temporaries(found, is_dead=lambda pid: not exists(pid)):
        try:
            swept += _without(task.live_dir / name, task, dry_run=dry_run)
        except StorageError as error:
            swept += SweepResult(warnings=(error.in_a_line,))
    for name, kind in found:
        if not name.endswith(_SUFFIX) or name.startswith("."):
            continue
        layout = task.run(name.removesuffix(_SUFFIX))
        marker = printable(str(task.live_dir / name))
        if kind != "file" or id_problem(layout.run_id) is not None:
            swept += SweepResult(warnings=(f"{marker} is no marker of a run, and is left alone.",))
            continue
        try:
            owner = read_owner(layout.live_marker, below=base)
        except StorageError as error:
            swept += SweepResult(warnings=(error.in_a_line,))
            continue
        if owner is None or is_alive(owner, here) is False:
            swept += _sweep_run(layout, dry_run=dry_run)
    return swept


def _sweep_run(layout: RunLayout, *, dry_run: bool) -> SweepResult:
    swept = SweepResult()
    try:
        if places.has_folder(layout.folder, below=layout.base):
            # Before the lock, which makes a file: in a folder that is not ours there is nothing to do.
            swept = _leftovers(layout, dry_run=True)
            if dry_run or swept.warnings:
                return swept
            swept = SweepResult()
            with held_lock(layout.lock, below=layout.base) as held:
                if not held:
                    return swept  # Somebody has taken it up again.
                swept = _leftovers(layout, dry_run=False)
        if not dry_run and not swept.warnings:
            files.remove(layout.live_marker, below=layout.base)
    except (OSError, StorageError) as error:
        if not named.is_there(layout.folder):
            return swept  # Housekeeping has just removed all of it.
        why = error.in_a_line if isinstance(error, StorageError) else str(error)
        warning = f"Leftovers of run {layout.run_id} not swept: {why}"
        return swept + SweepResult(warnings=(warning,))
    return swept


def _leftovers(layout: RunLayout, *, dry_run: bool) -> SweepResult:
    """What a dead run left: its temporary files, or all of it where it never became a run."""
    if places.has_file(layout.manifest, below=layout.base):
        return remove_temporaries(layout, dry_run=dry_run)
    foreign = next(_foreign(layout), None)
    if foreign is not None or not is_run_id(layout.run_id):
        why = f"it holds {printable(foreign)}" if foreign else "no run of ours has such a name"
        return SweepResult(warnings=(f"{layout.folder} has no manifest, but {why}: it is left alone.",))
    if not dry_run:
        # Without a manifest it is no run for anybody: nothing of it was ever executed.
        for folder in (layout.mcp_folder, layout.compat_folder, layout.folder):
            files.remove_tree(folder, below=layout.base)
    return SweepResult(folders=(layout.relative(layout.folder),))


def _foreign(layout: RunLayout) -> Iterator[str]:
    """The paths in a run's folder that no run without a manifest can have left."""
    for path, kind in places.walked(layout.folder, below=layout.base):
        name = path.relative_to(layout.folder).as_posix()
        is_ours = kind == "file" and (name in _FIRST_FILES or files.temporaries([(path.name, kind)]))
        if kind != "folder" and not is_ours:
            yield name


def remove_temporaries(layout: RunLayout, *, dry_run: bool = False) -> SweepResult:
    """Remove what writers of a run died in, with its lock held.

    Args:
        layout: The run.
        dry_run: Only say what would be removed.

    Raises:
        StorageError: The disk refused.
    """
    task = layout.task
    inside = places.listed(layout.folder, below=layout.base)
    own = (layout.folder / name for name, kind in inside if kind == "folder")
    swept = SweepResult()
    for folder in (layout.folder, *own, layout.mcp_folder, layout.compat_folder):
        for name in files.temporaries(places.listed(folder, below=layout.base)):
            swept += _without(folder / name, task, dry_run=dry_run)
    for pending, base in task.pending_places():
        for name in files.temporaries(places.listed(pending, below=base), of=f"{layout.run_id}."):
            swept += _without(pending / name, task, dry_run=dry_run)
    return swept


def _without(temporary: Path, task: TaskLayout, *, dry_run: bool) -> SweepResult:
    """Remove a temporary file."""
    environment = task.environment
    base = environment.runs_dir if temporary.is_relative_to(environment.runs_dir) else environment.out_dir
    if not dry_run:
        files.remove(temporary, below=base)
    return SweepResult(temporaries=(environment.relative(temporary),))
