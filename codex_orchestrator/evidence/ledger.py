"""An append-only file of records with its aggregate, into which pending records are taken up.

Each finished run first leaves its records in files of their own. Whoever holds the lock of `journal` appends
all pending records, then removes them, then writes the aggregate, which says how many bytes of the file it
covers. Whatever lies beyond those bytes was appended by a merger that died on the way: it is read, counted,
and not appended again. So each step may be the last, and the cost does not grow with the file
(docs/reference/files.md, "Metrics and state").

A run that was resumed leaves a record again, under another name. Its line stands for the earlier one,
if there is one, which is looked for in the file from its end. Each merger takes all records that
wait, in the order of the runs' ids: so a record that was there before a run began lies before all of the
run's own, and the search ends there. It costs what was recorded since the run began.

A record of a run that is counted already, and is no later one, is not counted again. What is no record of
the run that its name tells stays where it is, and is told of: nobody's bytes but our own are appended.

A run that is merged by another, and is still busy with its manifest, is told by a file of another
name, which it removes when the manifest says so, or whoever merges next where it cannot any more.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from codex_orchestrator import places
from codex_orchestrator.clock import parse_timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.lines import append, lines_backwards, mend_last_line
from codex_orchestrator.evidence.pending_records import PendingRecord, list_pending
from codex_orchestrator.identifiers import born
from codex_orchestrator.model.codec import Mismatch, T, dumps_line, from_json, loads
from codex_orchestrator.text import printable

# Between a record's time and the moment at which it is there to be merged; also for clocks that are set back.
_SLACK_SECONDS = 60.0
_QUEUED = ".json"
_MERGED = ".merged"

Settle = Callable[[str], bool]


def read_aggregate(path: Path, shape: type[T], *, below: Path) -> T | None:
    """The aggregate on disk; None where there is none, or another tool wrote it: it is then made anew.

    Raises:
        Misplaced: What is there is not to be opened.
    """
    try:
        return from_json(shape, loads(places.read(path, below=below)), strict=False)
    except (OSError, ValueError, Mismatch):
        return None


@dataclass(frozen=True)
class Waiting:
    """A pending record, its JSON value and its line."""

    pending: PendingRecord
    document: dict[str, Any]
    line: bytes


@dataclass(frozen=True)
class Survey:
    """What taking up pending records comes to; nothing of it is done yet.

    Attributes:
        fresh: The lines to append.
        lines: The lines to count: those that a dead merger has appended, and the fresh ones.
        replaced: Lines that are counted, and that others of ``lines`` stand for now.
        rebuild: Whether nothing is counted so far.
    """

    fresh: tuple[bytes, ...]
    lines: tuple[bytes, ...]
    replaced: tuple[bytes, ...]
    rebuild: bool


class Ledger(ABC):
    """One such file and its aggregate; subclasses say what the aggregate is.

    Attributes:
        record_shape: The dataclass of a record.
        run_field: Its field with the run's id.
        time_key: The key of a line with the time at which it was queued.
        notices: A message for each pending file that is no record, and was left alone.
    """

    record_shape: ClassVar[Any]
    run_field: ClassVar[str] = "run_id"
    time_key: ClassVar[str] = "recorded_at"

    def __init__(self, path: Path, *, pending: Path, below: Path) -> None:
        """Nothing is touched yet.

        Args:
            path: The append-only file.
            pending: The folder of pending records, one file per run.
            below: The folder above them that the user has chosen.
        """
        self.notices: dict[str, None] = {}
        self._below = below
        self._path = path
        self._pending = pending

    @abstractmethod
    def covered_bytes(self) -> int:
        """How much of the file the aggregate on disk covers; 0 where there is no usable one."""

    @abstractmethod
    def update(
        self, lines: Sequence[bytes], covered_bytes: int, *, rebuild: bool, replaced: Sequence[bytes]
    ) -> None:
        """Count more lines, or (``rebuild``) these lines alone, and write the aggregate.

        Args:
            lines: The lines.
            covered_bytes: How much of the file is counted with them.
            rebuild: Whether nothing was counted before.
            replaced: Lines that were counted before, and that others of ``lines`` stand for now.
        """

    @abstractmethod
    def line_start(self) -> bytes:
        """The bytes that each line of ours begins with, up to and with the quote before the run's id."""

    def run_id_of(self, document: Any) -> str | None:
        """The id of a record's run, or None for a value that has not the shape of a record."""
        try:
            return str(getattr(from_json(self.record_shape, document, strict=False), self.run_field))
        except Mismatch:
            return None

    def queued_at(self, document: dict[str, Any]) -> object:
        """The time at which a record was queued, where it says so."""
        return document.get(self.time_key)

    def queue_line(self, name: str, line: bytes) -> None:
        """Write a run's record as a pending file.

        Args:
            name: Of the record, see `record_name`.
            line: The record.

        Raises:
            StorageError: It could not be written.
        """
        files.make_folder(self._pending, below=self._below)
        files.replace(self._pending_file(name), line, below=self._below)

    def is_queued(self, name: str) -> bool:
        """Whether a run's record is not merged yet."""
        return _is_ours(self._pending_file(name), self._below)

    def is_merged(self, name: str) -> bool:
        """Whether another process has merged a run's record and the run has not acknowledged it."""
        return _is_ours(self._merged_file(name), self._below)

    def forget(self, name: str) -> None:
        """Acknowledge that the run's record was merged.

        Raises:
            StorageError: The disk refused.
        """
        files.remove(self._merged_file(name), below=self._below)

    def take_up(self, waiting: Sequence[Waiting], settle: Settle) -> None:
        """Append records that wait, remove their pending files and bring the aggregate up to date.

        Only with the lock held: nobody else writes here then, and what is left was left by the dead.

        Args:
            waiting: The records; those of other folders than this ledger's keep their files.
            settle: Called with the id of each run; whether that run knows of it, so that its pending
                file may go.

        Raises:
            StorageError: Something could not be written; nothing is lost by it.
        """
        files.remove_temporaries(self._path.parent, below=self._below)
        covered = self.covered_bytes()
        if self._size() != covered:
            mend_last_line(self._path, below=self._below)
        survey = self.survey(waiting, covered)
        if survey.fresh:
            files.make_folder(self._path.parent, below=self._below)
            append(self._path, b"".join(survey.fresh), below=self._below)
        self._settle([one.pending for one in waiting if one.pending.path.parent == self._pending], settle)
        if survey.lines or covered > self._size():
            self.update(survey.lines, self._size(), rebuild=survey.rebuild, replaced=survey.replaced)

    def survey(self, waiting: Sequence[Waiting], covered: int) -> Survey:
        """What taking up records comes to, where the aggregate covers so many bytes; nothing is written."""
        start = 0 if covered > self._size() else covered
        appended = self._tail(start)
        # Nobody knows any more which of the lines of a dead merger were those of resumed runs.
        runs = [run for run in map(self._run_id_of_line, appended) if run is not None]
        earlier = self._earlier_lines([*runs, *(one.pending.run_id for one in waiting)], start)
        known = {**earlier, **{run: line for line in appended if (run := self._run_id_of_line(line))}}
        fresh = []
        for one in waiting:
            if not _stands(one, known.get(one.pending.run_id)):
                fresh.append(one)
                known[one.pending.run_id] = one.line
        counted = {*runs, *(one.pending.run_id for one in fresh)}
        return Survey(
            fresh=tuple(one.line for one in fresh),
            lines=(*appended, *(one.line for one in fresh)),
            replaced=tuple(line for run, line in earlier.items() if run in counted),
            rebuild=start == 0,
        )

    def waiting(self) -> list[Waiting]:
        """The pending records. What is none is left where it is, and told of."""
        found, odd = list_pending(self._pending, _QUEUED, below=self._below)
        self.notices.update(dict.fromkeys(odd))
        waiting = []
        for pending in found:
            try:
                document = loads(places.read(pending.path, below=self._below))
                run_id = self.run_id_of(document)
            except FileNotFoundError:
                continue  # Whoever has merged it removes it just now.
            except (OSError, ValueError, Misplaced):
                document, run_id = None, None
            if run_id == pending.run_id:
                waiting.append(Waiting(pending, document, dumps_line(document).encode()))
            else:
                name = printable(str(pending.path))
                self.notices[f"{name} is no record of run {pending.run_id}, and is left alone."] = None
        return waiting

    def _settle(self, merged: Sequence[PendingRecord], settle: Settle) -> None:
        left = [one for one in merged if not self._settled(one, settle)]
        for one in left:
            files.move(one.path, one.path.with_suffix(_MERGED), below=self._below)
        # After the others, and once more for those: a run that ended meanwhile has looked too early.
        for one in list_pending(self._pending, _MERGED, below=self._below)[0]:
            self._settled(one, settle)
        if merged:
            # Or a record could be back after a power failure, when the aggregate covers it already.
            files.sync_folder(self._pending, below=self._below)

    def _settled(self, pending: PendingRecord, settle: Settle) -> bool:
        known = settle(pending.run_id)
        if known:
            files.remove(pending.path, below=self._below)
        return known

    def _tail(self, start: int) -> list[bytes]:
        """The whole lines from ``start`` on; one that its writer died in is pending still."""
        if self._size() == start:
            return []
        with (
            files.storage_errors("read", self._path),
            places.open_stream(self._path, below=self._below) as stream,
        ):
            stream.seek(start)
            whole, newline, _ = stream.read().rpartition(b"\n")
            return (whole + newline).splitlines(keepends=True)

    def _earlier_lines(self, run_ids: Iterable[str], end: int) -> dict[str, bytes]:
        """For each of some runs its last line before ``end``, where it has one."""
        sought = {run_id: born(run_id) for run_id in run_ids}
        found: dict[str, bytes] = {}
        for line in lines_backwards(self._path, end, below=self._below) if sought and end else ():
            run_id = self._run_id_of_line(line)
            if run_id in sought:
                found[run_id] = line + b"\n"
                del sought[run_id]
            queued_at = self._queued_at(line) if sought else None
            if queued_at is not None:
                sought = {name: since for name, since in sought.items() if not _is_later(since, queued_at)}
            if not sought:
                break
        return found

    def _run_id_of_line(self, line: bytes) -> str | None:
        """The run of a line of the file, whose other keys may be those of other tools."""
        match = re.match(re.escape(self.line_start()) + rb'([^"\\]+)"', line)
        return match[1].decode("utf-8", "replace") if match else None

    def _queued_at(self, line: bytes) -> float | None:
        try:
            document = loads(line)
        except ValueError:
            return None
        moment = self.queued_at(document) if isinstance(document, dict) else None
        return parse_timestamp(moment) if isinstance(moment, str) else None

    def _size(self) -> int:
        found = places.status(self._path, below=self._below)
        return 0 if found is None else found.st_size

    def _pending_file(self, name: str) -> Path:
        return self._pending / f"{name}{_QUEUED}"

    def _merged_file(self, name: str) -> Path:
        return self._pending / f"{name}{_MERGED}"


def _is_ours(path: Path, below: Path) -> bool:
    try:
        return places.has_file(path, below=below)
    except StorageError:
        return False  # No record of ours is in a place that is not.


def _stands(one: Waiting, known: bytes | None) -> bool:
    """Whether a record is counted already: the same line, or the line of a run that started only once."""
    return known is not None and (one.line == known or one.pending.attempt == 1)


def _is_later(since: float | None, queued_at: float) -> bool:
    """Whether a run certainly began after a record was queued."""
    return since is not None and queued_at + _SLACK_SECONDS < since
