"""An append-only file fed from pending files, so that no record is lost, whoever dies when.

Each finished run first leaves its record in a file of its own. Whoever holds the lock appends all
pending records, then removes them, then writes the aggregate, which says how many bytes of the
journal it covers. Whatever lies beyond those bytes was appended by a merger that died on the way:
it is read, counted, and not appended again. So each step may be the last, and the cost does not
grow with the journal (docs/reference/files.md, "Metrics and state").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from . import files
from .locks import record_lock

_RETRIES = 3


class Aggregate(Protocol):
    """What is kept of a journal without reading it again."""

    def covered_bytes(self) -> int:
        """How much of the journal it covers; 0 where there is no usable aggregate."""
        ...

    def update(self, lines: Sequence[bytes], covered_bytes: int, *, rebuild: bool) -> None:
        """Count more lines, or (``rebuild``) these lines alone, and write itself."""
        ...


@dataclass(frozen=True)
class Journal:
    """One journal: its file, its pending folder and its lock.

    Attributes:
        path: The append-only file.
        pending: The folder of records to come, one file per run.
        lock: Held while merging.
    """

    path: Path
    pending: Path
    lock: Path

    def queue(self, run_id: str, line: bytes) -> None:
        """Leave a run's record where any merger finds it.

        Raises:
            StorageError: It could not be written.
        """
        files.make_folder(self.pending)
        files.replace(self._pending_file(run_id), line)

    def is_queued(self, run_id: str) -> bool:
        """Whether a run's record still waits."""
        return self._pending_file(run_id).exists()

    def merge(self, aggregate: Aggregate, merged: Callable[[str], None]) -> bool:
        """Merge all pending records; False where the lock could not be had.

        Args:
            aggregate: Brought up to date under the lock.
            merged: Called with each run id before its pending file goes.

        Raises:
            StorageError: Something could not be written; nothing is lost by it.
        """
        for _ in range(_RETRIES):
            with record_lock(self.lock) as held:
                if not held:
                    return False
                self._merge_locked(aggregate, merged)
            # A run may have queued while the lock was held and found it taken.
            if not self._pending_files():
                return True
        return True

    def _merge_locked(self, aggregate: Aggregate, merged: Callable[[str], None]) -> None:
        covered = aggregate.covered_bytes()
        rebuild = covered > self._size()
        start = 0 if rebuild else covered
        appended = self._repaired_tail(start)
        waiting = [(path, path.read_bytes()) for path in self._pending_files()]
        known = set(appended)
        fresh = [line for _, line in waiting if line not in known]
        if fresh:
            files.append(self.path, b"".join(fresh))
        for path, _ in waiting:
            merged(path.stem)
            files.remove(path)
        if fresh or appended or rebuild:
            aggregate.update([*appended, *fresh], self._size(), rebuild=rebuild or start == 0)

    def _repaired_tail(self, start: int) -> list[bytes]:
        """The lines from ``start`` on, the last one ended where its writer died in it."""
        if self._size() == start:
            return []
        with self.path.open("rb") as journal:
            journal.seek(start)
            text = journal.read()
        if not text.endswith(b"\n"):
            files.append(self.path, b"\n")
            text += b"\n"
        return text.splitlines(keepends=True)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _pending_files(self) -> list[Path]:
        return sorted(self.pending.glob("*.json"))

    def _pending_file(self, run_id: str) -> Path:
        return self.pending / f"{run_id}.json"
