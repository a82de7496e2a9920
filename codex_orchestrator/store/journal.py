"""An append-only file fed from pending files, so that no record is lost, whoever dies when.

Each finished run first leaves its record in a file of its own. Whoever holds the lock appends all
pending records, then removes them, then writes the aggregate, which says how many bytes of the
journal it covers. Whatever lies beyond those bytes was appended by a merger that died on the way:
it is read, counted, and not appended again. So each step may be the last, and the cost does not
grow with the journal (docs/reference/files.md, "Metrics and state").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from . import files
from .locks import record_lock

_RETRIES = 3


class Journal(ABC):
    """One journal and its aggregate; a store says what the aggregate is."""

    def __init__(self, path: Path, *, pending: Path, lock: Path) -> None:
        """Nothing is touched yet.

        Args:
            path: The append-only file.
            pending: The folder of records to come, one file per run.
            lock: Held while merging.
        """
        self._path = path
        self._pending = pending
        self._lock = lock

    @abstractmethod
    def covered_bytes(self) -> int:
        """How much of the journal the aggregate on disk covers; 0 where there is no usable one."""

    @abstractmethod
    def update(self, lines: Sequence[bytes], covered_bytes: int, *, rebuild: bool) -> None:
        """Count more lines, or (``rebuild``) these lines alone, and write the aggregate."""

    def queue_line(self, run_id: str, line: bytes) -> None:
        """Leave a run's record where any merger finds it.

        Raises:
            StorageError: It could not be written.
        """
        files.make_folder(self._pending)
        files.replace(self._pending_file(run_id), line)

    def is_queued(self, run_id: str) -> bool:
        """Whether a run's record still waits."""
        return self._pending_file(run_id).exists()

    def merge(self, merged: Callable[[str], None]) -> bool:
        """Merge all pending records; False where the lock could not be had.

        Args:
            merged: Called with each run id before its pending file goes.

        Raises:
            StorageError: Something could not be written; nothing is lost by it.
        """
        for _ in range(_RETRIES):
            with record_lock(self._lock) as held:
                if not held:
                    return False
                self._merge_locked(merged)
            # A run may have queued while the lock was held and found it taken.
            if not self._pending_files():
                return True
        return True

    def _merge_locked(self, merged: Callable[[str], None]) -> None:
        covered = self.covered_bytes()
        rebuild = covered > self._size()
        start = 0 if rebuild else covered
        appended = self._repaired_tail(start)
        waiting = [(path, path.read_bytes()) for path in self._pending_files()]
        known = set(appended)
        fresh = [line for _, line in waiting if line not in known]
        if fresh:
            files.append(self._path, b"".join(fresh))
        for path, _ in waiting:
            merged(path.stem)
            files.remove(path)
        if fresh or appended or rebuild:
            self.update([*appended, *fresh], self._size(), rebuild=rebuild or start == 0)

    def _repaired_tail(self, start: int) -> list[bytes]:
        """The lines from ``start`` on, the last one ended where its writer died in it."""
        if self._size() == start:
            return []
        with self._path.open("rb") as journal:
            journal.seek(start)
            text = journal.read()
        if not text.endswith(b"\n"):
            files.append(self._path, b"\n")
            text += b"\n"
        return text.splitlines(keepends=True)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _pending_files(self) -> list[Path]:
        return sorted(self._pending.glob("*.json"))

    def _pending_file(self, run_id: str) -> Path:
        return self._pending / f"{run_id}.json"
