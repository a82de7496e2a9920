"""Reads bundles: opened as a place where runs are, and held to their lists and seals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.archives.reading import Archive, Damaged
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import StorageError, UsageError
from codex_orchestrator.evidence.seal_check import folder_of
from codex_orchestrator.evidence.sealing import TOOL, read_seal
from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.model.bundle import BundledRun, BundleList, LeftOut
from codex_orchestrator.model.codec import Mismatch, dumps, from_json, loads, to_json
from codex_orchestrator.model.seal import SealedFile
from codex_orchestrator.rules.bundles import LIST, README, is_log, may_be_left_out, readme
from codex_orchestrator.rules.flaws import Flaw, FlawKind
from codex_orchestrator.rules.layout import RunLayout, TaskLayout


class Bundle:
    """A bundle that is open: its runs are read as any others are, and nothing of it is on disk.

    Attributes:
        listed: What its own list says.
        environment: Where its runs are.
    """

    def __init__(self, archive: Archive, content: bytes, listed: BundleList) -> None:
        self.listed = listed
        self.environment = Environment(
            archive.path, archive.path / ".runs", archive.path / "out", archive.path, {}
        )
        self._archive = archive
        self._content = content

    @property
    def layouts(self) -> list[RunLayout]:
        """Its runs; the first is the one that it was made of."""
        return [self._layout(run) for run in self.listed.runs]

    def _layout(self, run: BundledRun) -> RunLayout:
        return TaskLayout(self.environment, run.task_id).run(run.run_id)

    def damages(self) -> Iterator[Flaw]:
        """What cannot be read as it was written; all of it is read."""
        for name, problem in self._archive.damages():
            yield self._flaw("changed", name, f"It is damaged: {problem}.")

    def left_out(self) -> dict[str, LeftOut]:
        """By path, what was left out on purpose, as far as a seal has it and evidence can do without it."""
        sealed = {path: one for run in self.listed.runs for path, one in self._sealed(run).items()}
        return {one.path: one for one in self.listed.left_out if self._may_lack(one, sealed.get(one.path))}

    def _may_lack(self, one: LeftOut, sealed: tuple[str, SealedFile] | None) -> bool:
        if sealed is None or one.path in self._archive.names:
            return False
        inner, known = sealed
        if is_log(inner) and self.listed.logs == "all":
            return False
        return may_be_left_out(inner) and (known.size, known.sha256) == (one.size, one.sha256)

    def _sealed(self, run: BundledRun) -> dict[str, tuple[str, SealedFile]]:
        """What a run's seal has: by path in the bundle, the path in the run's folder, and the file."""
        layout = self._layout(run)
        seal = read_seal(layout)
        if seal is None:
            return {}
        prefix, folder = folder_of(seal), layout.relative(layout.folder)
        found = {}
        for one in seal.files:
            if one.path.startswith(prefix):
                inner = one.path.removeprefix(prefix)
                found[f"{folder}/{inner}"] = (inner, one)
            else:
                found[one.path] = (one.path, one)  # The seal of a run that it has started.
        return found

    def flaws(self) -> Iterator[Flaw]:
        """Where the bundle is not what its list says; its runs are verified as any others are."""
        if dumps(to_json(self.listed)).encode() != self._content:
            yield self._flaw("changed", LIST, "It is not written as bundles are.")
        if self.listed.root != self.listed.computed_root():
            said, computed = self.listed.root[:16], self.listed.computed_root()[:16]
            message = f"Its root is {said}…, and that of what it says {computed}…."
            yield self._flaw("changed", LIST, message)
        for run in self.listed.runs:
            seal = read_seal(self._layout(run))
            if run.root != (seal.root if seal is not None else None):
                message = f"The seal of run {run.run_id} is not the one that it names."
                yield self._flaw("changed", LIST, message, run.run_id)
        yield from self._of_files()
        yield from self._of_names()
        accepted = self.left_out()
        for one in self.listed.left_out:
            if one.path not in accepted:
                message = "The list says that it was left out, and no seal has it so, or it must be there."
                yield self._flaw("missing", one.path, message)

    def _of_files(self) -> Iterator[Flaw]:
        for one in self.listed.files:
            if one.path not in self._archive.names:
                yield self._flaw("missing", one.path, f"{LIST} has it, and it is not there.")
                continue
            with self._archive.stream(self.environment.root / one.path) as stream:
                digest = file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
                size = stream.tell()
            if (size, digest) != (one.size, one.sha256):
                yield self._flaw("changed", one.path, f"It is not what {LIST} has.")
        if self.listed.tool == TOOL and README in self._archive.names:
            with self._archive.stream(self.environment.root / README) as stream:
                if stream.read(places.DOCUMENT_BYTES) != readme(self.listed).encode():
                    yield self._flaw("changed", README, "It does not say what this bundle is.")

    def _of_names(self) -> Iterator[Flaw]:
        known = {LIST, *(one.path for one in self.listed.files)}
        folders = {}
        for run in self.listed.runs:
            sealed = self._sealed(run)
            known |= sealed.keys()
            if sealed:
                folders[self._layout(run).folder] = run.run_id
        for name in self._archive.names:
            if name not in known:
                of = folders.get(self.environment.root.joinpath(*name.split("/")[:_FOLDER_DEPTH]))
                message = f"{LIST} does not have it." if of is None else "The seal does not have it."
                yield self._flaw("added", name, message, of)

    def _flaw(self, kind: FlawKind, path: str, message: str, run_id: str | None = None) -> Flaw:
        return Flaw(kind, path, message, run_id or self.listed.runs[0].run_id)


@contextmanager
def opened_bundle(path: Path) -> Iterator[Bundle]:
    """A bundle, for the length of a block.

    Raises:
        UsageError: It is no bundle, or one that is not read; or what the block has read of it is damaged.
    """
    archive = Archive(path)
    try:
        with places.mounted(archive, archive.path):
            yield _bundle(archive, path)
    except Damaged as damaged:
        problem = f"{damaged.filename}: {damaged}"
        raise UsageError(f"{path} is damaged: {problem}.", hint="Ask for it anew.") from damaged
    finally:
        archive.close()


def _bundle(archive: Archive, path: Path) -> Bundle:
    try:
        content = places.read(archive.path / LIST, below=archive.path)
        listed = from_json(BundleList, loads(content))
    except FileNotFoundError as error:
        raise UsageError(f"{path} is no bundle: it has no {LIST}.", hint=_HINT) from error
    except (OSError, StorageError, ValueError, Mismatch) as error:
        raise UsageError(f"{path} is no bundle that can be read: its {LIST} is none.", hint=_HINT) from error
    ids = [name for run in listed.runs for name in (run.task_id, run.run_id)]
    if not ids or any(id_problem(name) is not None for name in ids):
        raise UsageError(f"{path} is no bundle that can be read: its {LIST} names no run.", hint=_HINT)
    return Bundle(archive, content, listed)


# `.runs/T/cli/R`
_FOLDER_DEPTH = 4
_HINT = "Ask for one as `codex-orchestrator bundle` has made it."
