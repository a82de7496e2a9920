"""What a folder's file system can do, found by trying (docs/reference/command-line.md, "doctor")."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from codex_orchestrator import named
from codex_orchestrator.clock import Clock
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.locks import SOFT_SUFFIX, Lock, try_lock

LockSupport = Literal["kernel", "files", "none"]


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder for the length of a block, in ``folder``, or where that one will be made.

    Raises:
        StorageError: It cannot be made, or not be removed.
    """
    # No task or run can have a name that begins so.
    place = _nearest(folder) / f".probe-{os.urandom(4).hex()}"
    files.make_folder(place, below=place.parent)
    try:
        yield place
    finally:
        files.remove_tree(place, below=place.parent)


def seconds_to_disk(folder: Path, clock: Clock) -> float:
    """How long it takes to bring a small file and its name to disk.

    Raises:
        StorageError: The disk refused.
    """
    began = clock.monotonic()
    files.replace(folder / "file", b"probe\n", below=folder)
    return clock.monotonic() - began


def locks_in(folder: Path) -> LockSupport:
    """Which kind of lock keeps others out: the kernel's, files in their place, or none at all.

    Raises:
        StorageError: A lock file cannot be made.
    """
    path = folder / "lock"
    first = try_lock(path, below=folder)
    second = try_lock(path, below=folder)
    try:
        if first is None or second is not None:
            return "none"
        return "files" if first.lock_file.endswith(SOFT_SUFFIX) else "kernel"
    finally:
        _release(first, second)


def _release(*locks: Lock | None) -> None:
    for lock in locks:
        if lock is not None:
            lock.release()


def _nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    for place in (folder, *folder.parents):
        if named.is_there(place):
            return place
    return folder
