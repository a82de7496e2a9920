"""Kernel locks: they die with their process, so a lock file that is left over never blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from codex_orchestrator.errors import Busy, StorageError

from . import files
from .owner import render_owner, this_process

if TYPE_CHECKING:
    from filelock import BaseFileLock

_RECORD_TIMEOUT_SECONDS = 10.0
_RECORD_POLL_SECONDS = 0.02
_RUN_TIMEOUT_SECONDS = 1.0


class RunLock:
    """A run's lock, held by the owner for as long as it lives."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: BaseFileLock | None = None

    def acquire(self) -> None:
        """Take the lock and write this process into it.

        Raises:
            Busy: A live process holds it.
            StorageError: The file cannot be made.
        """
        self._lock = _acquire(self._path, timeout=_RUN_TIMEOUT_SECONDS, poll=0.05)
        if self._lock is None:
            raise Busy(f"A live process owns the run ({self._path}).", hint="Wait for it to end.")
        files.overwrite(self._path, render_owner(this_process()))

    def release(self) -> None:
        """Give the lock up; the file stays and keeps its owner's name."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


@contextmanager
def record_lock(path: Path, timeout: float = _RECORD_TIMEOUT_SECONDS) -> Iterator[bool]:
    """Hold the lock of a shared file; False where it could not be had within ``timeout`` seconds.

    Raises:
        StorageError: The lock file cannot be made.
    """
    lock = _acquire(path, timeout=timeout, poll=_RECORD_POLL_SECONDS)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def _acquire(path: Path, *, timeout: float, poll: float) -> BaseFileLock | None:
    # Imported here: it costs 20 ms, and only runs need it.
    from filelock import FileLock, Timeout

    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=timeout, poll_interval=poll)
    except Timeout:
        return None
    except OSError as error:
        raise StorageError(f"Cannot lock {path}: {error.strerror or error}.") from error
    return lock
