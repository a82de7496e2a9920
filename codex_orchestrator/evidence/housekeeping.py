"""Removes runs so that no reader ever meets half a run, whenever a process dies.

A run's folder is renamed out of ``cli/`` and into ``trash/``: from then on it is no run for anybody.
Only then is it deleted. What is found in the trash was left by a death or a refusing disk, and the
next housekeeping finishes it (docs/reference/files.md, "Housekeeping").
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from codex_orchestrator import places
from codex_orchestrator.clock import Clock
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.journal import merge_queued
from codex_orchestrator.evidence.locks import SOFT_SUFFIX, held_lock
from codex_orchestrator.evidence.pending_records import list_pending
from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.text import printable

Removal = Literal["removed", "busy", "gone"]
_ATTEMPTS = 100
_LOCKS = frozenset({"run.lock", f"run.lock{SOFT_SUFFIX}"})


def trash_dir(task: TaskLayout) -> Path:
    """The folder of runs that are being deleted."""
    return task.runs_dir / "trash"


def is_queued(layout: RunLayout, names: Sequence[str] | None = None) -> bool:
    """Whether a record of this run is not merged yet, or its manifest does not say so yet.

    Args:
        layout: The run.
        names: `queued_names` of its task, where the caller asks for many runs.
    """
    names = queued_names(layout.task) if names is None else names
    return any(name.startswith(f"{layout.run_id}.") for name in names)


def queued_names(task: TaskLayout) -> tuple[str, ...]:
    """The names of all pending records of a task."""
    return tuple(
        name for pending, base in task.pending_places() for name, _ in places.listed(pending, below=base)
    )


def queued_records(task: TaskLayout) -> int:
    """How many pending records a task has."""
    return len(_queue(task, ".json"))


def merge_records(task: TaskLayout, clock: Clock, tell: Callable[[str], object] = str) -> int:
    """Merge pending records if the lock is free at once; returns how many were merged.

    Args:
        task: The task.
        clock: Time.
        tell: Called with a message for each file that is no record.

    Raises:
        StorageError: Something could not be written; nothing is lost by it.
    """
    for notice in _odd_records(task):
        tell(notice)
    before = _queue(task, ".json")
    # A task without any has no need of a lock file either.
    if not before and not _queue(task, ".merged"):
        return 0
    merge_queued(task, clock, tell)
    return len(before - _queue(task, ".json"))


def remove_run(layout: RunLayout, *, unchanged: Callable[[], bool]) -> Removal:
    """Remove a run that nobody owns.

    Args:
        layout: The run; it had a manifest when it was judged.
        unchanged: Asked once its lock is held: whether it is still what was judged.

    Raises:
        StorageError: The disk refused. Either the run is as it was, or it is gone and its remains wait
            in the trash.
    """
    with files.storage_errors("remove", layout.folder):
        return _remove_run(layout, unchanged)


def _remove_run(layout: RunLayout, unchanged: Callable[[], bool]) -> Removal:
    if not places.has_file(layout.manifest, below=layout.base):
        return "gone"
    files.make_folder(trash_dir(layout.task), below=layout.base)
    try:
        outcome = _move_away(layout, unchanged)
    except StorageError:
        if places.has_file(layout.manifest, below=layout.base):
            raise
        return "gone"  # While its lock was about to be taken.
    if outcome == "removed":
        # Or a power failure could bring back the run with a part of its files.
        for folder in (trash_dir(layout.task), layout.task.cli_dir):
            files.sync_folder(folder, below=layout.base)
        discard(layout)
    return outcome


def leftovers(task: TaskLayout) -> list[RunLayout]:
    """The runs whose removal was begun and not finished.

    Raises:
        StorageError: The trash cannot be read, or is not a folder of our own.
    """
    return [task.run(name) for name in _in_trash(task) if id_problem(name) is None]


def unusable_trash(task: TaskLayout) -> list[str]:
    """A message for each entry of the trash that cannot be a run.

    Raises:
        StorageError: The trash cannot be read, or is not a folder of our own.
    """
    return [
        f"{printable(str(trash_dir(task) / name))} is no run, and is left alone."
        for name in _in_trash(task)
        if id_problem(name) is not None
    ]


def discard(layout: RunLayout) -> None:
    """Delete what is named after a run that is in the trash.

    Its place in the trash goes last, as it is what names the rest to whoever has to finish this.

    Raises:
        StorageError: The disk refused; what is left waits in the trash.
    """
    remains = trash_dir(layout.task) / layout.run_id
    with files.storage_errors("remove", remains):
        if places.status(layout.folder, below=layout.base) is None:
            for folder in (layout.mcp_folder, layout.compat_folder):
                _delete(folder, layout.base)
            files.remove(layout.live_marker, below=layout.base)
            _forget_node_summary(layout)
        _delete(remains, layout.base)


def bytes_of(path: Path, *, below: Path) -> int:
    """The size of all files in a folder, in bytes; links are not followed."""
    total, waiting = 0, [path]
    while waiting:
        place = waiting.pop()
        try:
            with places.folder(place, below=below) as descriptor:
                for name, kind in places.listed_in(descriptor):
                    if kind == "folder":
                        waiting.append(place / name)
                    else:
                        total += places.size_in(descriptor, name)
        except (OSError, StorageError):
            continue  # Somebody else is deleting it, or hides it: it is only a figure.
    return total


def _move_away(layout: RunLayout, unchanged: Callable[[], bool]) -> Removal:
    with held_lock(layout.lock, below=layout.base) as held:
        if not held:
            return "busy"
        if not places.has_file(layout.manifest, below=layout.base):
            _forget_remnant(layout)
            return "gone"
        if not unchanged():
            return "busy"
        files.move(layout.folder, trash_dir(layout.task) / layout.run_id, below=layout.base)
    return "removed"


def _forget_remnant(layout: RunLayout) -> None:
    """Remove the folder that taking the lock made again, after somebody else had removed the run."""
    found = places.listed(layout.folder, below=layout.base)
    if found and {name for name, _ in found} <= _LOCKS:
        files.remove_tree(layout.folder, below=layout.base)


def _forget_node_summary(layout: RunLayout) -> None:
    """Remove what the Node CLI leaves beside its runs, and its folder, where nothing else is in it."""
    summary = layout.node_summary
    if summary is None:
        return
    files.remove(summary, below=layout.base)
    if not places.listed(summary.parent, below=layout.base):
        files.remove_tree(summary.parent, below=layout.base)


def _delete(path: Path, below: Path) -> None:
    """Delete what others may be deleting too.

    Each stops at what the other took from under its hands; and whoever was about to lock the run when
    it was moved away makes its lock file here.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        found = places.status(path, below=below)
        if found is None:
            return
        try:
            if places.kind_of(found) == "folder":
                files.remove_tree(path, below=below)
            else:
                files.remove(path, below=below)
        except StorageError as error:
            raced = getattr(error.__cause__, "errno", None) == errno.ENOTEMPTY
            if not raced or attempt == _ATTEMPTS:
                raise


def _in_trash(task: TaskLayout) -> list[str]:
    trash = trash_dir(task)
    return [name for name, _ in places.listed(trash, below=task.environment.runs_dir)]


def _queue(task: TaskLayout, suffix: str) -> set[Path]:
    return {
        pending.path
        for folder, base in task.pending_places()
        for pending in list_pending(folder, suffix, below=base)[0]
    }


def _odd_records(task: TaskLayout) -> tuple[str, ...]:
    return tuple(
        notice
        for folder, base in task.pending_places()
        for suffix in (".json", ".merged")
        for notice in list_pending(folder, suffix, below=base)[1]
    )
