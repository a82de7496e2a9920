"""An append-only file fed from pending files, so that no record is lost, whoever dies when.

Each finished run first leaves its record in a file of its own. Whoever holds the lock appends all
pending records, then removes them, then writes the aggregate, which says how many bytes of the
journal it covers. Whatever lies beyond those bytes was appended by a merger that died on the way:
it is read, counted, and not appended again. So each step may be the last, and the cost does not
grow with the journal (docs/reference/files.md, "Metrics and state").

A run that was resumed leaves a record again, under another name. Its line stands for the earlier one,
if there is one, which is looked for in the journal from its end. Each merger takes all records that
wait, in the order of the runs' ids: so a record that was there before a run began lies before all of the
run's own, and the search ends there. It costs what was recorded since the run began.

A run that is merged by another, and is still busy with its manifest, is told by a file of another
name, which it removes when the manifest says so, or whoever merges next where it cannot any more.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from codex_orchestrator.clock import parse_timestamp
from codex_orchestrator.identifiers import born
from codex_orchestrator.records import Mismatch, T, from_json

from . import files
from .lines import append, lines_backwards, mend_last_line
from .locks import backoff, held_lock, pause

PATIENCE_SECONDS = 10.0
_LOOKS = 3
# Between a record's time and the moment at which it is there to be merged; also for clocks that are set back.
_SLACK_SECONDS = 60.0
_QUEUED = ".json"
_MERGED = ".merged"

Settle = Callable[[str], bool]


class Record(NamedTuple):
    """Whose a line of a journal is, and when it was left, as a timestamp, where that is known."""

    run_id: str
    left_at: str | None


def read_aggregate(path: Path, shape: type[T]) -> T | None:
    """What an aggregate on disk says; None where there is none yet, or another tool's: it is made anew."""
    try:
        return from_json(shape, json.loads(path.read_bytes()), strict=False)
    except (OSError, ValueError, RecursionError, Mismatch):
        return None


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
    def update(
        self, lines: Sequence[bytes], covered_bytes: int, *, rebuild: bool, replaced: Sequence[bytes]
    ) -> None:
        """Count more lines, or (``rebuild``) these lines alone, and write the aggregate.

        Args:
            lines: The lines.
            covered_bytes: How much of the journal is counted with them.
            rebuild: Whether nothing was counted before.
            replaced: Lines that were counted before, and that others of ``lines`` stand for now.
        """

    @abstractmethod
    def record(self, line: bytes) -> Record | None:
        """Whose line it is, or None where that cannot be told."""

    def queue_line(self, name: str, line: bytes) -> None:
        """Leave a run's record where any merger finds it.

        Args:
            name: Of the record, see `record_name`.
            line: The record.

        Raises:
            StorageError: It could not be written.
        """
        files.make_folder(self._pending)
        files.replace(self._pending_file(name), line)

    def is_queued(self, name: str) -> bool:
        """Whether a run's record still waits."""
        return self._pending_file(name).exists()

    def merge(self, name: str, settle: Settle, *, patience_seconds: float = PATIENCE_SECONDS) -> bool:
        """Merge all pending records, or see that another process has merged this run's.

        Args:
            name: The record on whose behalf this is done.
            settle: Called with the id of each merged run; whether that run knows of it, so that its
                pending file may go.
            patience_seconds: How long to try for the lock.

        Returns:
            False where the record still waits, as the lock could not be had.

        Raises:
            StorageError: Something could not be written; nothing is lost by it.
        """
        for delay in backoff(patience_seconds):
            pause(delay)
            if not self.is_queued(name):
                return True
            if self.merge_now(settle):
                return True
        return False

    def merge_now(self, settle: Settle) -> bool:
        """Merge all pending records if the lock can be had at once; whether it could.

        Raises:
            StorageError: Something could not be written; nothing is lost by it.
        """
        merged = False
        for _ in range(_LOOKS):
            with held_lock(self._lock) as held:
                if not held:
                    break
                self._merge_locked(settle)
                merged = True
            # A run may have queued while the lock was held, and found it taken for the last time.
            if not self._pending_files(_QUEUED):
                break
        return merged

    def is_merged(self, name: str) -> bool:
        """Whether a run's record was merged by another, and the run has not said yet that it knows."""
        return self._pending_file(name).with_suffix(_MERGED).exists()

    def forget(self, name: str) -> None:
        """The run knows that its record was merged.

        Raises:
            StorageError: The disk refused.
        """
        files.remove(self._pending_file(name).with_suffix(_MERGED))

    def _merge_locked(self, settle: Settle) -> None:
        # Under the lock nobody else writes here: what is left was left by the dead.
        files.remove_temporaries(self._path.parent)
        covered = self.covered_bytes()
        rebuild = covered > self._size()
        start = 0 if rebuild else covered
        appended = self._tail(start)
        waiting = [(path, path.read_bytes()) for path in self._pending_files(_QUEUED)]
        known = set(appended)
        fresh = [line for _, line in waiting if line not in known]
        if fresh:
            append(self._path, b"".join(fresh))
        self._settle([path for path, _ in waiting], settle)
        if fresh or appended or rebuild:
            # Nobody knows any more which of the lines of a dead merger were those of resumed runs.
            again = [*appended, *(line for path, line in waiting if _run_and_attempt(path)[1] > 1)]
            self.update(
                [*appended, *fresh],
                self._size(),
                rebuild=rebuild or start == 0,
                replaced=self._earlier_lines(again, start),
            )

    def _settle(self, merged: Sequence[Path], settle: Settle) -> None:
        left = [path for path in merged if not self._settled(path, settle)]
        for path in left:
            files.move(path, path.with_suffix(_MERGED))
        # After the others, and once more for those: a run that ended meanwhile has looked too early.
        for path in self._pending_files(_MERGED):
            self._settled(path, settle)
        if merged:
            # Or a record could be back after a power failure, when the aggregate covers it already.
            files.sync_folder(self._pending)

    def _settled(self, path: Path, settle: Settle) -> bool:
        known = settle(_run_and_attempt(path)[0])
        if known:
            files.remove(path)
        return known

    def _tail(self, start: int) -> list[bytes]:
        """The whole lines from ``start`` on; one that its writer died in is pending still."""
        if self._size() == start:
            return []
        mend_last_line(self._path)
        with self._path.open("rb") as journal:
            journal.seek(start)
            return journal.read().splitlines(keepends=True)

    def _earlier_lines(self, lines: Sequence[bytes], end: int) -> list[bytes]:
        """For each of some lines the last one of the same run before ``end``, where there is one."""
        sought = {record.run_id: born(record.run_id) for record in map(self.record, lines) if record}
        found = []
        for line in lines_backwards(self._path, end) if sought else ():
            record = self.record(line)
            if record is None:
                continue
            if record.run_id in sought:
                found.append(line)
                del sought[record.run_id]
            left_at = parse_timestamp(record.left_at or "")
            if left_at is not None:
                sought = {name: since for name, since in sought.items() if not _is_later(since, left_at)}
            if not sought:
                break
        return found

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _pending_files(self, suffix: str) -> list[Path]:
        return sorted(self._pending.glob(f"*{suffix}"), key=_run_and_attempt)

    def _pending_file(self, name: str) -> Path:
        return self._pending / f"{name}{_QUEUED}"


def record_name(run_id: str, attempts: int) -> str:
    """What a run's record is called: by the run, and from its second start on by the start as well."""
    return run_id if attempts == 1 else f"{run_id}.{attempts}"


def _run_and_attempt(path: Path) -> tuple[str, int]:
    run_id, dot, attempt = path.stem.rpartition(".")
    return (run_id, int(attempt)) if dot and attempt.isdecimal() else (path.stem, 1)


def _is_later(since: float | None, left_at: float) -> bool:
    """Whether a run surely began after a record was left."""
    return since is not None and left_at + _SLACK_SECONDS < since
