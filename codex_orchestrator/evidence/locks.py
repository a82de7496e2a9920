"""Kernel locks: they die with their process, so a lock file that is left over never blocks.

Where a file system has none (some network and FUSE mounts), a lock is a file that names its holder, and
one whose holder is provably dead is taken over (docs/reference/files.md, "Locks").
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from codex_orchestrator import places
from codex_orchestrator.errors import Busy
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.owner import render_owner, this_process

if TYPE_CHECKING:
    from filelock import BaseFileLock

SOFT_SUFFIX = ".held"
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})
# Most are held for milliseconds: whoever waits comes second soon, for 6 ms of CPU in a second of waiting.
_POLL_SECONDS = 0.02
# Whether there is nothing to wait for any more.
Unless = Callable[[], bool]


class RunLock:
    """A run's lock, held by the owner for as long as it lives.

    Attributes:
        soft: Whether the file system has no locks of its own, so that a file stands for this one.
    """

    def __init__(self, path: Path, *, below: Path) -> None:
        self._path = path
        self._below = below
        self._lock: BaseFileLock | None = None
        self._shown: int | None = None
        self.soft = False

    def acquire(self, *, patience_seconds: float = 1.0) -> None:
        """Take the lock and write this process into it.

        Raises:
            Busy: A live process holds it, and did so for ``patience_seconds``.
            StorageError: The file cannot be made.
        """
        self._lock = wait_for_lock(self._path, patience_seconds, below=self._below)
        if self._lock is None:
            raise Busy(f"A live process owns the run ({self._path}).", hint="Wait for it to end.")
        self.soft = self._lock.lock_file.endswith(SOFT_SUFFIX)
        files.overwrite(self._path, render_owner(this_process()), below=self._below)
        if self.soft:
            # As with a lock of the kernel's, the holder is told by having this file open.
            with places.folder(self._path.parent, below=self._below) as folder:
                self._shown = places.open_in(folder, self._path, os.O_RDONLY)

    def release(self) -> None:
        """Give the lock up; the file stays and keeps its owner's name."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._shown is not None:
            os.close(self._shown)
            self._shown = None


@contextmanager
def held_lock(
    path: Path, *, below: Path, patience_seconds: float = 0.0, unless: Unless | None = None
) -> Iterator[bool]:
    """Hold a lock for the length of a block; False where it cannot be had, as `wait_for_lock` says it.

    Raises:
        StorageError: The lock file cannot be made, or `Misplaced`.
    """
    lock = wait_for_lock(path, patience_seconds, below=below, unless=unless)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def is_held(path: Path, *, below: Path) -> bool:
    """Whether somebody holds a lock: found by taking it, for a moment where nobody does.

    Raises:
        StorageError: The lock file cannot be made.
    """
    with held_lock(path, below=below) as taken:
        return not taken


def wait_for_lock(
    path: Path, patience_seconds: float, *, below: Path, unless: Unless | None = None
) -> BaseFileLock | None:
    """Take a lock; None where somebody else held it for so long.

    Args:
        path: The lock.
        patience_seconds: How long to try; with 0 it is taken now or not at all.
        below: The folder above it that the user has chosen.
        unless: Asked while it waits: whether there is nothing to wait for any more.

    Raises:
        StorageError: The lock file cannot be made, or `Misplaced`.
    """
    # Imported here: it costs 20 ms, and only runs need it.
    from filelock import FileLock, SoftFileLock

    with files.storage_errors("lock", path):
        try:
            kernel_lock = FileLock(path, thread_local=False, fallback_to_soft=False)
            return _taken(kernel_lock, patience_seconds, below, unless)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        # Beside the file, not in its place: what the file itself holds is read by others.
        soft = path.with_name(path.name + SOFT_SUFFIX)
        return _taken(SoftFileLock(soft, thread_local=False), patience_seconds, below, unless)


def try_lock(path: Path, *, below: Path) -> BaseFileLock | None:
    """Take a lock now, or not at all: None where somebody else holds it.

    Raises:
        StorageError: The lock file cannot be made, or `Misplaced`.
    """
    return wait_for_lock(path, 0.0, below=below)


def _taken(
    lock: BaseFileLock, patience_seconds: float, below: Path, unless: Unless | None
) -> BaseFileLock | None:
    from filelock import Timeout

    path = Path(lock.lock_file)
    # The library goes by the path: looked at before, and again once nobody else of ours can be at it.
    places.has_file(path, below=below)
    try:
        lock.acquire(timeout=patience_seconds, poll_interval=_POLL_SECONDS, cancel_check=unless)
    except Timeout:
        return None
    try:
        places.has_file(path, below=below)
    except BaseException:
        lock.release()
        raise
    return lock
