"""The worker's side: blobs that are kept from run to run, and for each run a copy of the work tree.

A copy belongs to one process, which holds its lock: copies of processes that have ended are removed by
whoever comes next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.clock import Clock, SystemClock
from codex_orchestrator.errors import Busy
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.locks import held_lock, try_lock

from .copies import INCOMING, USES, Copy, clear
from .disk import Folder
from .resting import TREE, Resting
from .store import BlobStore

DEPOT_BYTES = 5 * 1024**3
"""How much is kept for later runs unless something else is said."""

_COPIES, _LOCK = "copies", "lock"
_PATIENCE_SECONDS = 60.0


class Depot:
    """A folder of a worker with its blobs and copies; several processes may have the same.

    Attributes:
        folder: The folder.
        resting: What copies left for the next ones.
    """

    def __init__(self, folder: Path, *, limit_bytes: int = DEPOT_BYTES, clock: Clock | None = None) -> None:
        """Make the folder where it is not there, and remove what processes that have ended left in it.

        Args:
            folder: Where on the worker's disk.
            limit_bytes: How much is kept for later runs; what a run needs is there, whatever this says.
            clock: Time.

        Raises:
            StorageError: The disk refuses.
        """
        self.folder = folder
        self.resting = Resting(folder)
        self._clock = clock or SystemClock()
        self._limit = limit_bytes
        files.make_folder(folder / _COPIES, below=folder)
        # The work tree is nobody else's to read; and a folder of somebody else's is refused by that.
        with files.storage_errors("close to others", folder), Folder(folder) as opened:
            opened.make_private()
        self.sweep()

    def copy(self, key: str, *, label: str = "") -> Copy:
        """A new copy of a work tree; what is to be in it is brought up later.

        Args:
            key: Names it in the folder, as a run and a process of a worker do: no other copy has it.
            label: Names the work tree: copies of one label are likely to have much in common.

        Raises:
            Busy: A process that lives has it.
            StorageError: The disk refuses.
            ValueError: The key can be no folder's name.
        """
        if key in ("", ".", "..") or {"/", "\0"} & set(key):
            raise ValueError(f"no name of a folder: {key!r}")
        place = self.folder / _COPIES / key
        with self.locked():
            files.make_folder(place, below=self.folder)
            lock = try_lock(place / _LOCK, below=self.folder)
            if lock is None:
                raise Busy(f"{place} belongs to a process that lives.", hint="Give each process its own key.")
            files.remove(place / USES, below=self.folder)
            for name in (INCOMING, TREE):
                clear(place / name, below=self.folder)
            known = self.resting.wake(label, place / TREE)
        return Copy(self, place, lock, label=label, known=known, clock=self._clock)

    def sweep(self) -> int:
        """Remove the copies of processes that have ended; how many they were.

        Raises:
            StorageError: The disk refuses.
        """
        with self.locked():
            dead = [place for place in self._copies() if not self._lives(place)]
            for place in dead:
                clear(place, below=self.folder)
        return len(dead)

    def trim(self) -> None:
        """Remove what was not used for longest, beyond the limit, and nothing that a copy needs.

        Raises:
            StorageError: The disk refuses.
        """
        with self.locked():
            in_use = {sha256 for place in self._copies() for sha256 in self._uses(place)}
            resting = self.resting.trim(self._limit // 2)
            BlobStore(self.folder, self.folder / INCOMING).trim(in_use, self._limit - resting)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder while it is decided what of it is in use.

        Raises:
            Busy: Another process holds it for a minute.
        """
        with held_lock(self.folder / _LOCK, below=self.folder, patience_seconds=_PATIENCE_SECONDS) as taken:
            if not taken:
                raise Busy(f"Another process has held {self.folder / _LOCK} for a minute.", hint="End it.")
            yield

    def _copies(self) -> list[Path]:
        place = self.folder / _COPIES
        return [place / name for name, _ in places.listed(place, below=self.folder)]

    def _lives(self, place: Path) -> bool:
        with held_lock(place / _LOCK, below=self.folder) as taken:
            return not taken

    def _uses(self, place: Path) -> list[str]:
        try:
            return [line.decode("ascii").strip() for line in places.lines(place / USES, below=self.folder)]
        except FileNotFoundError:
            return []
