"""Removes runs so that whoever dies when, no reader meets half a run.

A run's folder is renamed out of ``cli/`` and into ``trash/``: from then on it is no run for anybody.
Only then is it deleted. What is found in the trash was left by a death or a refusing disk, and the
next housekeeping finishes it (docs/reference/files.md, "Housekeeping").
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from codex_orchestrator.clock import Clock
from codex_orchestrator.errors import StorageError
from codex_orchestrator.run.layout import RunLayout, TaskLayout

from . import files
from .finished import merge_queued
from .locks import SOFT_SUFFIX, held_lock

Removal = Literal["removed", "busy", "gone"]
_ATTEMPTS = 100
_LOCKS = frozenset({"run.lock", f"run.lock{SOFT_SUFFIX}"})


def trash_dir(task: TaskLayout) -> Path:
    """The folder of runs that are being deleted."""
    return task.runs_dir / "trash"


def is_queued(layout: RunLayout) -> bool:
    """Whether a record of this run waits to be merged, or its merger is not done with its manifest."""
    return any(
        path.name.startswith(f"{layout.run_id}.")
        for pending in layout.task.pending_dirs
        for path in pending.glob("*")
    )


def queued_records(task: TaskLayout) -> int:
    """How many records of a task wait to be merged."""
    return len(_queue(task, "*.json"))


def merge_records(task: TaskLayout, clock: Clock) -> int:
    """Merge what is queued, where the locks can be had at once; how many records that were.

    Raises:
        StorageError: Something could not be written; nothing is lost by it.
    """
    # A task without any has no need of lock files either.
    if not _queue(task, "*.json") and not _queue(task, "*.merged"):
        return 0
    before = set(_queue(task, "*.json"))
    merge_queued(task, clock)
    return len(before - set(_queue(task, "*.json")))


def remove_run(layout: RunLayout, *, unchanged: Callable[[], bool]) -> Removal:
    """Remove a run that nobody owns.

    Args:
        layout: The run; it had a manifest when it was judged.
        unchanged: Asked once its lock is held: whether it is still what was judged.

    Raises:
        StorageError: The disk refused. Either the run is as it was, or it is gone and its remains wait
            in the trash.
    """
    if not layout.manifest.exists():
        return "gone"
    files.make_folder(_usable_trash(layout.task))
    try:
        outcome = _move_away(layout, unchanged)
    except StorageError:
        if layout.manifest.exists():
            raise
        return "gone"  # While its lock was about to be taken.
    if outcome == "removed":
        # Or a power failure could bring back the run with a part of its files.
        for folder in (trash_dir(layout.task), layout.task.cli_dir):
            files.sync_folder(folder)
        discard(layout)
    return outcome


def leftovers(task: TaskLayout) -> list[RunLayout]:
    """Runs whose removal was begun and not finished.

    Raises:
        StorageError: The trash cannot be read, or is not a folder of our own.
    """
    try:
        return [task.run(path.name) for path in sorted(_usable_trash(task).iterdir())]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError(f"Cannot read {trash_dir(task)}: {error.strerror or error}.") from error


def discard(layout: RunLayout) -> None:
    """Delete what is named after a run that is in the trash.

    Its place in the trash goes last, as it is what names the rest to whoever has to finish this.

    Raises:
        StorageError: The disk refused; what is left waits in the trash.
    """
    if not layout.folder.exists():
        for folder in (layout.mcp_folder, layout.compat_folder):
            _delete(folder)
        files.remove(layout.live_marker)
    _delete(trash_dir(layout.task) / layout.run_id)


def bytes_of(path: Path) -> int:
    """The size of all files in a folder, in bytes; links count nothing and are not followed."""
    if path.is_symlink():
        return 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += (Path(folder) / name).lstat().st_size
            except OSError:
                continue  # Somebody else is deleting it, or hides it: it is only a figure.
    return total


def _move_away(layout: RunLayout, unchanged: Callable[[], bool]) -> Removal:
    with held_lock(layout.lock) as held:
        if not held:
            return "busy"
        if not layout.manifest.exists():
            _forget_remnant(layout)
            return "gone"
        if not unchanged():
            return "busy"
        files.move(layout.folder, trash_dir(layout.task) / layout.run_id)
    return "removed"


def _forget_remnant(layout: RunLayout) -> None:
    """Someone else removed the run just now, and taking its lock made the folder anew."""
    if layout.folder.is_dir() and {path.name for path in layout.folder.iterdir()} <= _LOCKS:
        files.remove_tree(layout.folder)


def _delete(path: Path) -> None:
    """Delete what others may be deleting too.

    Each stops at what the other took from under its hands; and whoever was about to lock the run when
    it was moved away makes its lock file here.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        if not os.path.lexists(path):
            return
        try:
            if path.is_dir() or path.is_symlink():
                files.remove_tree(path)
            else:
                files.remove(path)
        except StorageError as error:
            raced = getattr(error.__cause__, "errno", None) == errno.ENOTEMPTY
            if not raced or attempt == _ATTEMPTS:
                raise


def _usable_trash(task: TaskLayout) -> Path:
    trash = trash_dir(task)
    if trash.is_symlink():
        raise StorageError(
            f"{trash} is a link, and what it leads to is not ours to delete.", hint="Remove the link."
        )
    return trash


def _queue(task: TaskLayout, pattern: str) -> list[Path]:
    return [path for folder in task.pending_dirs for path in folder.glob(pattern)]
