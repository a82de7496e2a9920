"""A run's own copy of the work tree on a worker: brought up to a snapshot, read, removed.

What of it is as it was brought rests until the next run (`resting`), and nothing else of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from codex_orchestrator.clock import Clock
from codex_orchestrator.errors import Misplaced
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.locks import Lock
from codex_orchestrator.globs import rooted

from . import memory
from .disk import Folder, kind_of, on_disk
from .pieces import Piece, batches
from .resting import TREE, Disorder, cleanse
from .scan import Scanned, Signature, is_gone, scan, walk
from .snapshot import Entry, Outputs, Snapshot, matches
from .store import BlobStore

if TYPE_CHECKING:
    from .depot import Depot

USES, INCOMING = "uses", "incoming"
"""In the folder of a copy: which blobs it needs, and those that have not come as a whole."""

_DISORDER = (Disorder, OSError, Misplaced)


class Copy:
    """A run's own copy of the work tree, as far as this process has to have it.

    Attributes:
        root: The folder to run commands in.
        store: Has the content of its files.
    """

    def __init__(
        self, depot: Depot, place: Path, lock: Lock, *, label: str, known: dict[str, Scanned], clock: Clock
    ) -> None:
        """Know the copy.

        Args:
            depot: Has it.
            place: Its folder there.
            lock: Its lock, held.
            label: The work tree that it is of.
            known: What of an earlier copy is in it, as it was brought.
            clock: Time.
        """
        self.root = place / TREE
        self._label = label
        self._known = known
        self._clock = clock
        self._is_fresh = True
        self._is_awake = False
        self._latest: tuple[tuple[str, ...], Snapshot] = (), Snapshot()
        self._depot = depot
        self._place = place
        self._lock = lock
        self.store = BlobStore(depot.folder, place / INCOMING)
        self._uses: set[str] = set()
        self._uses_bytes = 0
        self._brought: dict[str, Entry] = {}
        # Outputs of which the orchestrator has not said yet what it makes of them.
        self._told: dict[str, Entry | None] = {}
        # Commands run at once in one process.
        self._one_at_a_time = threading.RLock()
        files.make_folder(self.root, below=depot.folder)
        with Folder(place) as folder:
            self._mode = folder.mode()

    def lacking_pages(self, pages: Sequence[str]) -> list[str]:
        """Which of these pages of a snapshot have to be `put` before it can be read.

        Raises:
            StorageError: The disk refuses.
        """
        with self._one_at_a_time:
            self._claim(pages)
            # Their sizes are nobody's to know: what has the name is whole.
            return [page for page in pages if not self.store.has(page)]

    def lacking(self, pages: Sequence[str]) -> list[str]:
        """Which blobs have to be `put` before the snapshot of these pages can be brought up.

        Raises:
            DamagedBlob, DamagedSnapshot: A page is not there, or is none.
            StorageError: The disk refuses.
        """
        with self._one_at_a_time:
            snapshot = self._snapshot(pages)
            self._wake(snapshot)
            self._hear(snapshot)
            wanted = {e.sha256: e.size for e in snapshot if e.has_content and self._is_new(e)}
            return self.lacking_blobs(wanted)

    def lacking_blobs(self, wanted: Mapping[str, int]) -> list[str]:
        """Which of these blobs, digests with sizes, have to be `put`; all are kept until the copy is removed.

        Raises:
            StorageError: The disk refuses.
        """
        with self._one_at_a_time:
            self._claim(wanted)
            return self.store.lacking(wanted)

    def put(self, pieces: Iterable[Piece]) -> None:
        """Take up pieces of blobs, in the order in which one sender sends them.

        Raises:
            DamagedBlob: One is not what its digest says, or a piece of it has not come.
            StorageError: The disk refuses.
        """
        with self._one_at_a_time:
            self.store.put(pieces)

    def bring_up(self, pages: Sequence[str], removed: Sequence[str] = ()) -> Path:
        """Have in the copy what is in the snapshot of these pages; the folder to run commands in.

        What was brought up before and is the same in the snapshot is left as commands have left it; what
        stages elsewhere have ``removed`` goes.

        Raises:
            DamagedBlob, DamagedSnapshot: A page or a file is not there.
            StorageError: The disk refuses.
        """
        with (
            self._one_at_a_time,
            files.storage_errors("make the copy of the work tree in", self.root),
            Folder(self.root) as folder,
        ):
            snapshot = self._snapshot(pages)
            self._wake(snapshot)
            self._hear(snapshot)
            for path in removed:
                for known in (self._known, self._brought):
                    known.pop(path, None)
                folder.remove(path)
            new = {}
            for entry in snapshot:
                if self._is_new(entry):
                    self._bring(folder, entry, replacing=not self._is_fresh)
                    if found := folder.status(entry.path):
                        new[entry.path] = Scanned(entry, Signature.of(found))
            self._is_fresh = False
            # A command may write on what was brought in this very moment, and it would look as it was.
            self._known.update(memory.settled(new, self._clock.now()))
        return self.root

    def collect(self, patterns: Sequence[str], protected: Sequence[str]) -> bytes:
        """What a command has made of what some patterns name, as `Outputs` in bytes; its blobs are kept.

        Args:
            patterns: From the root.
            protected: Folders, from the root, that nothing may come from.

        Raises:
            CannotTravel: Something there cannot be in a snapshot.
            StorageError: The disk refuses.
        """
        globs = tuple(map(rooted, patterns))
        with (
            self._one_at_a_time,
            files.storage_errors("read what a stage has made in", self.root),
            Folder(self.root) as folder,
        ):
            gone = [
                entry.path
                for entry in self._brought.values()
                if matches(entry, globs) and is_gone(folder, entry)
            ]
            made = []
            for path in walk(folder, globs, protected):
                # Read whatever its times say: they may be those of the moment in which it was brought.
                found = scan(folder, path, read=self._keep)
                if found is not None and (path in gone or self._is_new(found.entry)):
                    made.append(found.entry)
            self._told.update(dict.fromkeys(gone))
            self._told.update((entry.path, entry) for entry in made)
        return Outputs(tuple(made), tuple(gone)).dumps()

    def send(self, digests: Iterable[str]) -> Iterator[list[Piece]]:
        """Blobs of these digests, in batches of bounded size.

        Raises:
            DamagedBlob: One is not there.
        """
        return batches(self.store.pieces(digests))

    def remove(self) -> None:
        """Remove all that commands have made or changed in the copy; nothing may run in it any more.

        Raises:
            StorageError: The disk refuses.
        """
        with self._one_at_a_time, ExitStack() as stack:
            stack.callback(self._depot.trim)
            stack.callback(self._depot.sweep)
            stack.callback(self._lock.release)
            if not self._lies_down():
                clear(self.root, below=self._depot.folder)

    def _lies_down(self) -> bool:
        """Leave what is as it was brought to the next copy; False where commands have left no order in it."""
        try:
            with Folder(self.root) as folder:
                left = cleanse(folder, self._known, self._mode)
        except _DISORDER:
            return False
        if not left:
            return False
        with self._depot.locked():
            self._depot.resting.lay_down(self._label, self.root, left)
        return True

    def _hear(self, snapshot: Snapshot) -> None:
        """Know by the next snapshot which outputs were taken: what is in it need not be brought here."""
        for path, entry in self._told.items():
            if entry is None:
                self._brought.pop(path, None)
            elif snapshot.at(path) == entry:
                self._brought[path] = entry
        self._told.clear()

    def _wake(self, snapshot: Snapshot) -> None:
        """Keep of an earlier copy what is the same in the first snapshot that is asked for."""
        if self._is_awake:
            return
        try:
            with Folder(self.root) as folder:
                self._known = cleanse(folder, self._known, self._mode, snapshot)
        except _DISORDER:
            self._known = {}
            clear(self.root, below=self._depot.folder)
            files.make_folder(self.root, below=self._depot.folder)
        self._brought = {path: one.entry for path, one in self._known.items()}
        self._is_awake = True

    def _snapshot(self, pages: Sequence[str]) -> Snapshot:
        # Asked for twice: for what lacks, and to be brought up.
        if self._latest[0] != tuple(pages):
            self._latest = tuple(pages), self._read(pages)
        return self._latest[1]

    def _read(self, pages: Sequence[str]) -> Snapshot:
        return Snapshot.of_pages(b"".join(self.store.read(page)) for page in pages)

    def _is_new(self, entry: Entry) -> bool:
        return self._brought.get(entry.path) != entry

    def _claim(self, digests: Iterable[str]) -> None:
        """Have others know that this run needs these blobs, before it asks whether they are there."""
        new = sorted(set(digests) - self._uses)
        if not new:
            return
        text = "".join(f"{sha256}\n" for sha256 in new).encode("ascii")
        with self._depot.locked(), Folder(self._place) as folder:
            folder.append(USES, text, offset=self._uses_bytes)
        self._uses.update(new)
        self._uses_bytes += len(text)

    def _keep(self, content: Iterable[bytes]) -> tuple[str, int]:
        sha256, size = self.store.add(content)
        self._claim([sha256])
        return sha256, size

    def _bring(self, folder: Folder, entry: Entry, *, replacing: bool) -> None:
        """Put an entry in its place; what a command has put in the way gives way."""
        if replacing:
            _make_way(folder, self.root, entry, below=self._depot.folder)
        above = entry.path.rpartition("/")[0]
        if entry.kind == "folder":
            folder.make_folder(entry.path)
        else:
            folder.make_folder(above)
            if entry.kind == "link":
                folder.link(entry.path, entry.target)
            else:
                content = self.store.read(entry.sha256)
                folder.write(entry.path, content, executable=entry.kind == "executable", replacing=replacing)
        self._brought[entry.path] = entry


def _make_way(folder: Folder, root: Path, entry: Entry, *, below: Path) -> None:
    """Remove what a command has put in the way of an entry."""
    if (obstacle := folder.obstacle(entry.path)) is not None:
        folder.remove(obstacle)
    found = folder.status(entry.path)
    is_folder = found is not None and kind_of(found) == "folder"
    if is_folder and entry.kind != "folder":
        folder.leave()
        clear(root / on_disk(entry.path), below=below)
    elif entry.kind == "folder" and not is_folder:
        folder.remove(entry.path)


def clear(path: Path, *, below: Path) -> None:
    """Remove a folder with all that commands have left in it, in folders that may not be written, too.

    Raises:
        StorageError: The disk refuses.
    """
    with suppress(FileNotFoundError, Misplaced), Folder(path) as folder:
        folder.unlock()
    files.remove_tree(path, below=below)
