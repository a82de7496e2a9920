"""Makes bundles: runs and what their tasks' records say of them, in one file that is always the same."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from codex_orchestrator import named, places
from codex_orchestrator.archives.entries import Names
from codex_orchestrator.archives.writing import ArchiveWriter
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import UsageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.lineage import child_layout
from codex_orchestrator.evidence.seal_check import folder_of
from codex_orchestrator.evidence.sealed_files import sealed_file, sealed_paths
from codex_orchestrator.evidence.sealing import TOOL, read_seal
from codex_orchestrator.model.bundle import BundledRun, BundleList, KeptLogs, LeftOut
from codex_orchestrator.model.codec import dumps, loads, to_json
from codex_orchestrator.model.manifest import ChildRun
from codex_orchestrator.model.seal import SealedFile
from codex_orchestrator.rules.bundles import LIST, README, is_log, keeps_log, may_be_left_out, readme
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.lineage import known_children
from codex_orchestrator.text import printable

Open = Callable[[], BinaryIO]
_SEALS = ("seal.json", "seal.dsse.json")


@dataclass(frozen=True)
class RunToBundle:
    """A run, and its manifest as it was read."""

    layout: RunLayout
    manifest: Mapping[str, Any]

    @property
    def children(self) -> list[ChildRun]:
        """The runs that its manifest says it has started."""
        return known_children(self.manifest)


def write_bundle(runs: Sequence[RunToBundle], to: Path, *, logs: KeptLogs) -> BundleList:
    """Write runs into one file, in the place of whatever file is there.

    Args:
        runs: The run that it is about, and those that it has started, all of one runs folder.
        to: The file.
        logs: Which logs go into it.

    Returns:
        The list in it.

    Raises:
        UsageError: It cannot lie there, or would be too large.
        StorageError: Something cannot be read, or the disk refused.
    """
    target = named.place(to)
    _check_target(target, runs)
    with files.storage_errors("read", runs[0].layout.folder):
        gathered = _Gathered(logs)
        for run in runs:
            gathered.take_run(run)
        for name, content in _records(runs):
            gathered.take_record(name, content)
    listed = gathered.listed()
    with files.replacing(target, below=target.parent) as archive:
        writer = ArchiveWriter(archive)
        for name in sorted(gathered.contents, key=str.encode):
            with gathered.contents[name]() as stream:
                writer.add(name, stream)
        writer.finish()
    return listed


def _check_target(target: Path, runs: Iterable[RunToBundle]) -> None:
    if named.kind(target.parent) != "folder":
        raise UsageError(f"There is no folder {target.parent}.", hint="Make it, or name another with -o.")
    if named.kind(target) not in (None, "file"):
        raise UsageError(f"{target} is no file.", hint="Name another with -o.")
    for run in runs:
        if target.is_relative_to(named.place(run.layout.folder)):
            raise UsageError(
                f"{target} would be a part of the run that it is made of.", hint="Name another with -o."
            )


class _Gathered:
    """What goes into a bundle, by name, and what its list says.

    Attributes:
        contents: By name, what opens it.
    """

    def __init__(self, logs: KeptLogs) -> None:
        self.contents: dict[str, Open] = {}
        self._logs = logs
        self._names = Names()
        self._runs: list[BundledRun] = []
        self._files: list[SealedFile] = []
        self._left_out: list[LeftOut] = []

    def take_run(self, run: RunToBundle) -> None:
        layout = run.layout
        seal = read_seal(layout)
        prefix = folder_of(seal) if seal is not None else "/"
        sealed = {one.path: one for one in seal.files} if seal is not None else {}
        self._runs.append(
            BundledRun(layout.task.task_id, layout.run_id, seal.root if seal is not None else None)
        )
        for path in [*sealed_paths(layout), *(layout.folder / name for name in _SEALS)]:
            inner = os.fsencode(path.relative_to(layout.folder)).decode("utf-8", "replace")
            name = f"{_folder(layout)}/{inner}"
            known = sealed.get(f"{prefix}{inner}")
            reason = self._why_not(run, path, name, inner)
            if reason is None:
                self._take_file(layout, path, name, known)
            elif reason == "name" and not may_be_left_out(inner):
                raise _unfit(name)
            elif known is not None and reason != "gone":
                self._left_out.append(LeftOut(name, known.size, known.sha256, reason))  # type: ignore[arg-type]
        for child in run.children:
            place = child_layout(layout, child)
            if place is None or place.base == layout.base:
                continue
            known = sealed.get(layout.relative(place.seal))
            if known is not None:
                self._left_out.append(LeftOut(known.path, known.size, known.sha256, "elsewhere"))

    def _why_not(self, run: RunToBundle, path: Path, name: str, inner: str) -> str | None:
        found = places.status(path, below=run.layout.base)
        if found is None:
            return "gone"
        if places.kind_of(found) != "file":
            return "link"
        if is_log(inner) and not keeps_log(inner, self._logs, run.manifest):
            return "logs"
        is_text = os.fsencode(path.name) == path.name.encode("utf-8", "replace")
        return None if is_text and self._names.problem(name) is None else "name"

    def _take_file(self, layout: RunLayout, path: Path, name: str, known: SealedFile | None) -> None:
        self.contents[name] = lambda: places.open_stream(path, below=layout.base)
        if known is None:
            found = sealed_file(layout, path)
            if found is not None:
                self._files.append(replace(found, path=name))

    def take_record(self, name: str, content: bytes) -> None:
        if self._names.problem(name) is not None:
            raise _unfit(name)
        self.contents[name] = lambda: io.BytesIO(content)
        self._files.append(SealedFile(name, len(content), sha256(content).hexdigest()))

    def listed(self) -> BundleList:
        """The list, which is taken up too, with the text for people."""
        listed = BundleList(logs=self._logs, tool=TOOL, runs=tuple(self._runs), files=(), left_out=())
        self.take_record(README, readme(listed).encode())
        listed = replace(
            listed,
            files=tuple(sorted(self._files, key=lambda one: one.path)),
            left_out=tuple(sorted(self._left_out, key=lambda one: one.path)),
        )
        listed = replace(listed, root=listed.computed_root())
        document = dumps(to_json(listed)).encode()
        self.contents[LIST] = lambda: io.BytesIO(document)
        return listed


def _unfit(name: str) -> UsageError:
    return UsageError(f"The bundle cannot be made: {printable(name)} is no name that every system takes.")


def _folder(layout: RunLayout) -> str:
    """A run's folder in the bundle, wherever it was."""
    return f".runs/{layout.task.task_id}/cli/{layout.run_id}"


def _records(runs: Sequence[RunToBundle]) -> Iterator[tuple[str, bytes]]:
    """What the records of tasks say of the runs, and the seals that came before theirs."""
    environment = runs[0].layout.task.environment
    by_task: dict[str, set[str]] = {}
    for run in runs:
        by_task.setdefault(run.layout.task.task_id, set()).add(run.layout.run_id)
    sealed = {task_id: set(ids) for task_id, ids in by_task.items()}
    for run in runs:
        for child in run.children:  # One may have been removed since: its seal stays in the chain.
            place = child_layout(run.layout, child)
            if place is not None and place.base == environment.runs_dir:
                sealed.setdefault(place.task.task_id, set()).add(place.run_id)
    for task_id, ids in by_task.items():
        task = TaskLayout(environment, task_id)
        runs_dir, out_dir = environment.runs_dir, environment.out_dir
        metrics = _lines_of(task.metrics, ids, "run_id", runs_dir)
        history = _lines_of(task.history, ids, "runId", out_dir)
        yield from ((f".runs/{task_id}/metrics.json", metrics),) if metrics else ()
        yield from ((f"out/{task_id}/runs.ndjson", history),) if history else ()
    for task_id, ids in sealed.items():
        chain = _chain(TaskLayout(environment, task_id), ids)
        yield from ((f"out/{task_id}/seals.ndjson", chain),) if chain else ()


def _lines_of(path: Path, ids: set[str], key: str, below: Path) -> bytes:
    return b"".join(line for line in _lines(path, below) if _value(line, key) in ids)


def _chain(task: TaskLayout, ids: set[str]) -> bytes:
    """The chain up to the last seal of these runs: what comes later does not change what is bundled."""
    kept: list[bytes] = []
    end = 0
    for line in _lines(task.seals, task.environment.out_dir):
        kept.append(line)
        if _value(line, "run_id") in ids:
            end = len(kept)
    return b"".join(kept[:end])


def _lines(path: Path, below: Path) -> Iterator[bytes]:
    with suppress(FileNotFoundError):
        yield from places.lines(path, below=below)


def _value(line: bytes, key: str) -> Any:
    try:
        document = loads(line)
    except ValueError:
        return None
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, str) else None
