"""Kernel locks: they die with their process, so a lock file that is left over never blocks.

Where a file system has none (some network and FUSE mounts), a lock is a file that names its holder, and
one whose holder is provably dead is taken over (docs/reference/files.md, "Locks").
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from codex_orchestrator import places
from codex_orchestrator.clock import Clock, SystemClock
from codex_orchestrator.errors import Busy
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.owner import render_owner, this_process

SOFT_SUFFIX = ".held"
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})
# Most are held for milliseconds: whoever waits comes second soon, for 6 ms of CPU in a second of waiting.
_POLL_SECONDS = 0.02
_TAKEN = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES})
# Whether there is nothing to wait for any more.
Unless = Callable[[], bool]


class Lock(Protocol):
    """A lock that is held."""

    @property
    def lock_file(self) -> str:
        """The file that is locked, or stands for the lock."""
        ...

    def release(self) -> None:
        """Give it up; the file of a kernel's lock stays."""
        ...


class RunLock:
    """A run's lock, held by the owner for as long as it lives.

    Attributes:
        soft: Whether the file system has no locks of its own, so that a file stands for this one.
    """

    def __init__(self, path: Path, *, below: Path) -> None:
        self._path = path
        self._below = below
        self._lock: Lock | None = None
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
) -> Lock | None:
    """Take a lock; None where somebody else held it for so long.

    Args:
        path: The lock.
        patience_seconds: How long to try; with 0 it is taken now or not at all.
        below: The folder above it that the user has chosen.
        unless: Asked while it waits: whether there is nothing to wait for any more.

    Raises:
        StorageError: The lock file cannot be made, or `Misplaced`.
    """
    with files.storage_errors("lock", path):
        try:
            return _kernel_lock(path, patience_seconds, below, unless, SystemClock())
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        return _soft_lock(path, patience_seconds, below, unless)


def try_lock(path: Path, *, below: Path) -> Lock | None:
    """Take a lock now, or not at all: None where somebody else holds it.

    Raises:
        StorageError: The lock file cannot be made, or `Misplaced`.
    """
    return wait_for_lock(path, 0.0, below=below)


class _KernelLock:
    """A file that this process has locked by `flock`, as filelock does: either keeps the other out.

    Without the library: to import it took 12 ms of the 260 ms of processor time of a run of four stages.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.lock_file = str(path)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it up; the file stays, so that all who wait for it wait for the same one."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)


def _kernel_lock(
    path: Path, patience_seconds: float, below: Path, unless: Unless | None, clock: Clock
) -> _KernelLock | None:
    until = clock.monotonic() + patience_seconds
    while True:
        descriptor = _locked(path, below)
        if descriptor is not None:
            return _KernelLock(path, descriptor)
        left = until - clock.monotonic()
        if left <= 0 or (unless is not None and unless()):
            return None
        clock.sleep(min(_POLL_SECONDS, left))


def _locked(path: Path, below: Path) -> int | None:
    """The descriptor of the file once it is locked; None where somebody else holds it, or has removed it."""
    descriptor = _opened(path, below)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever removed it between the two has left a file that nobody else can lock.
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except OSError as error:
        if error.errno not in _TAKEN:
            os.close(descriptor)
            raise
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _opened(path: Path, below: Path) -> int:
    try:
        return _opened_in_folder(path, below)
    except FileNotFoundError:
        files.make_folder(path.parent, below=below)
        return _opened_in_folder(path, below)


def _opened_in_folder(path: Path, below: Path) -> int:
    with places.folder(path.parent, below=below) as folder:
        return places.open_in(folder, path, os.O_RDWR | os.O_CREAT, files.PUBLIC)


def _soft_lock(path: Path, patience_seconds: float, below: Path, unless: Unless | None) -> Lock | None:
    from filelock import SoftFileLock, Timeout

    # Beside the file, not in its place: what the file itself holds is read by others.
    soft = path.with_name(path.name + SOFT_SUFFIX)
    lock = SoftFileLock(soft, thread_local=False)
    # The library goes by the path: looked at before, and again once nobody else of ours can be at it.
    places.has_file(soft, below=below)
    try:
        lock.acquire(timeout=patience_seconds, poll_interval=_POLL_SECONDS, cancel_check=unless)
    except Timeout:
        return None
    try:
        places.has_file(soft, below=below)
    except BaseException:
        lock.release()
        raise
    return lock
