"""The orchestrator's side: the work tree made into a snapshot and sent, and what comes back taken in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from codex_orchestrator.clock import Clock
from codex_orchestrator.errors import Misplaced, UsageError
from codex_orchestrator.evidence import files
from codex_orchestrator.globs import rooted
from codex_orchestrator.model.definitions import CloudSettings
from codex_orchestrator.text import printable

from . import memory
from .copies import Copy
from .depot import Depot
from .disk import Folder, chunks, in_snapshot
from .listing import Choice, travelling
from .pieces import Piece, batches, pieces_of
from .returning import bring_back, check
from .scan import Scanned, is_gone, refused, scan, walk
from .snapshot import Outputs, Snapshot, digest_of, folders_above, matches
from .store import DamagedBlob

REMEMBERED, RETURNED = ".snapshot.json", ".returned"
"""In the runs folder: what need not be read again, and what comes back from workers while a run lives."""


class Sender:
    """The snapshot of one run, from its beginning to its end; for one thread.

    Attributes:
        snapshot: The work tree as workers get it: as it was taken, and with what stages have brought back.
        protected: Folders, from the root, that neither travel nor are written: those of evidence.
    """

    def __init__(self, root: Path, returned: Path, key: str, *, protected: Iterable[Path] = ()) -> None:
        """Know where things are.

        Args:
            root: The root of the work tree.
            returned: A folder for what comes back while runs live, made when something does: see `RETURNED`.
            key: Names the run in it.
            protected: The runs folder and the out folder, absolute; those that lie elsewhere do not matter.
        """
        self.snapshot = Snapshot()
        self._root = root
        self._returned = returned
        self._key = key
        self._copy: Copy | None = None
        within = [path for path in protected if path != root and path.is_relative_to(root)]
        self.protected = tuple(in_snapshot(path.relative_to(root).as_posix()) for path in within)
        self._pages: dict[str, bytes] = {}
        self._places: dict[str, str] = {}

    def take(
        self, cloud: CloudSettings, environ: Mapping[str, str], runs_dir: Path, clock: Clock
    ) -> Snapshot:
        """The work tree as it is.

        Args:
            cloud: What travels besides what git does not ignore, and what does not.
            environ: The environment, for git.
            runs_dir: The runs folder, in which is remembered what was read.
            clock: Time.

        Raises:
            CannotTravel: Something in it cannot be in a snapshot.
            ToolMissing: There is a repository, and no git to say what of it is ignored.
            UsageError: git or a folder cannot be read.
        """
        began = clock.now()
        known = memory.load(runs_dir, REMEMBERED)
        choice = Choice(tuple(map(rooted, cloud.include)), tuple(map(rooted, cloud.exclude)), self.protected)
        found: dict[str, Scanned] = {}
        try:
            with Folder(self._root) as folder:
                for path in travelling(folder, environ, choice):
                    # Git lists what was in a folder that has become a link, or a file: it is gone.
                    with suppress(Misplaced):
                        one = scan(folder, path, known.get(path))
                        if one and not matches(one.entry, choice.exclude):
                            found[path] = one
        except OSError as error:
            raise UsageError(
                f"{printable(str(error.filename or self._root))} cannot be read: {error.strerror}."
            ) from error
        kept = memory.settled(found, began)
        if kept != known:
            files.make_folder(runs_dir, below=runs_dir, ignored=True)
            memory.save(runs_dir, REMEMBERED, kept)
        occupied = {above for path in found for above in folders_above(path)}
        self._is_now(Snapshot(one.entry for path, one in found.items() if path not in occupied))
        return self.snapshot

    def pages(self, inputs: Sequence[str] | None = None) -> list[str]:
        """The pages of the snapshot, by their digests: what a copy on a worker is asked for.

        Args:
            inputs: Patterns of what a stage needs of it; None for all.
        """
        part = self.snapshot if inputs is None else self.snapshot.selected(map(rooted, inputs))
        pages = {digest_of(page): page for page in part.pages()}
        self._pages.update(pages)
        return list(pages)

    def send(self, digests: Iterable[str]) -> Iterator[list[Piece]]:
        """Pages and files that a worker lacks, in batches of bounded size.

        Raises:
            CannotTravel: A file is not any more as it was when the snapshot was taken.
            DamagedBlob: What came back from a stage is not there any more.
        """
        return batches(piece for sha256 in digests for piece in pieces_of(sha256, self._content(sha256)))

    def lacking(self, outputs: bytes) -> list[str]:
        """Which blobs have to be `put` before these outputs can be taken in.

        Raises:
            DamagedSnapshot: They are no outputs.
            StorageError: The disk refuses.
        """
        return self._kept().lacking_blobs(_blobs(Outputs.loads(outputs)))

    def put(self, pieces: Iterable[Piece]) -> None:
        """Take up pieces of blobs, in the order in which they are sent.

        Raises:
            DamagedBlob: One is not what its digest says, or a piece of it has not come.
            StorageError: The disk refuses.
        """
        self._kept().put(pieces)

    def take_in(self, outputs: bytes, patterns: Sequence[str]) -> Outputs:
        """Put what a stage has made into the work tree, and into the snapshot for the stages after it.

        Args:
            outputs: As its worker tells them; their content was `put`.
            patterns: The stage's own.

        Raises:
            DamagedSnapshot: They are no outputs.
            OutputRefused: Something of them may not be written; then nothing was.
            DamagedBlob: Something of their content was not put.
            StorageError: The disk refuses; a part may be written.
        """
        told = Outputs.loads(outputs)
        check(told, tuple(map(rooted, patterns)), self.protected, self.snapshot)
        made = told._replace(removed=tuple(path for path in told.removed if self.snapshot.at(path)))
        kept = self._kept()
        if absent := kept.lacking_blobs(_blobs(made)):
            raise DamagedBlob(f"Of what the stage has made, {len(absent)} files have not come.")
        with (
            files.storage_errors("write what a stage has made into", self._root),
            Folder(self._root) as folder,
        ):
            bring_back(folder, made, kept.store)
        self._is_now(self.snapshot.changed_by(made))
        return made

    def look_again(self, patterns: Sequence[str]) -> Outputs:
        """Have the snapshot know what a stage that ran in the work tree has made of what patterns name.

        Raises:
            CannotTravel: Something there cannot be in a snapshot.
            StorageError: The disk refuses.
        """
        globs = tuple(map(rooted, patterns))
        with files.storage_errors("read what a stage has made in", self._root), Folder(self._root) as folder:
            found = [scan(folder, path) for path in walk(folder, globs, self.protected)]
            made = tuple(one.entry for one in found if one and self.snapshot.at(one.entry.path) != one.entry)
            gone = tuple(entry.path for entry in self.snapshot.selected(globs) if is_gone(folder, entry))
        outputs = Outputs(made, gone)
        self._is_now(self.snapshot.changed_by(outputs))
        return outputs

    def close(self) -> None:
        """Remove what was kept for the run.

        Raises:
            StorageError: The disk refuses.
        """
        if self._copy is not None:
            self._copy.remove()
            self._copy = None

    def _is_now(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._places = {entry.sha256: entry.path for entry in snapshot if entry.has_content}

    def _kept(self) -> Copy:
        """What holds the content that has come back: a depot in which nothing outlives its run."""
        if self._copy is None:
            self._copy = Depot(self._returned, limit_bytes=0).copy(self._key)
        return self._copy

    def _content(self, sha256: str) -> Iterator[bytes]:
        if sha256 in self._pages:
            yield self._pages[sha256]
        elif self._copy is not None and self._copy.store.has(sha256):
            yield from self._copy.store.read(sha256)
        elif sha256 in self._places:
            yield from self._file(self._places[sha256], sha256)
        else:
            raise DamagedBlob(f"A worker asks for {sha256}, which is nothing of this run.")

    def _file(self, path: str, sha256: str) -> Iterator[bytes]:
        """A file of the work tree; its end is held back until it is known to be what was found there."""
        hashed, held = hashlib.sha256(), b""
        try:
            with Folder(self._root) as folder:
                descriptor = folder.opened(path)
            for chunk in chunks(descriptor):
                yield held
                hashed.update(chunk)
                held = chunk
        except (OSError, Misplaced) as error:
            raise refused(path, f"was there when the run began, and cannot be read: {error}") from error
        if hashed.hexdigest() != sha256:
            raise refused(path, "has changed since the run began")
        yield held


def _blobs(outputs: Outputs) -> dict[str, int]:
    return {entry.sha256: entry.size for entry in outputs.entries if entry.has_content}
