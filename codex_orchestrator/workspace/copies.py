"""The worker's side: blobs that are kept from run to run, and for each run a copy of the work tree.

A copy belongs to one process, which holds its lock: copies of processes that have ended are removed by
whoever comes next.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.errors import Busy
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.locks import Lock, held_lock, try_lock
from codex_orchestrator.globs import rooted

from .disk import Folder, kind_of, on_disk
from .pieces import Piece, batches
from .scan import scan, walk
from .snapshot import Entry, Outputs, Snapshot, matches
from .store import BlobStore

DEPOT_BYTES = 5 * 1024**3
"""How much of blobs is kept for later runs unless something else is said."""

_COPIES, _LOCK, _USES, _INCOMING, _TREE = "copies", "lock", "uses", "incoming", "tree"
_PATIENCE_SECONDS = 60.0


class Depot:
    """A folder of a worker with its blobs and copies; several processes may have the same."""

    def __init__(self, folder: Path, *, limit_bytes: int = DEPOT_BYTES) -> None:
        """Make the folder where it is not there, and remove what processes that have ended left in it.

        Raises:
            StorageError: The disk refuses.
        """
        self.folder = folder
        self._limit = limit_bytes
        files.make_folder(folder / _COPIES, below=folder)
        self.sweep()

    def copy(self, key: str) -> Copy:
        """A new copy of a work tree, with nothing in it yet.

        Args:
            key: Names it in the folder, as a run and a process of a worker do: no other copy has it.

        Raises:
            Busy: A process that lives has it.
            StorageError: The disk refuses.
        """
        place = self.folder / _COPIES / key
        with self.locked():
            files.make_folder(place, below=self.folder)
            lock = try_lock(place / _LOCK, below=self.folder)
            if lock is None:
                raise Busy(f"{place} belongs to a process that lives.", hint="Give each process its own key.")
            for name in (_USES, _INCOMING, _TREE):
                files.remove_tree(place / name, below=self.folder)
        return Copy(self, place, lock)

    def sweep(self) -> int:
        """Remove the copies of processes that have ended, and blobs beyond the limit; how many copies went.

        Raises:
            StorageError: The disk refuses.
        """
        with self.locked():
            dead = [place for place in self._copies() if not self._lives(place)]
            for place in dead:
                files.remove_tree(place, below=self.folder)
            in_use = {sha256 for place in self._copies() for sha256 in self._uses(place)}
            BlobStore(self.folder, self.folder / _INCOMING).trim(in_use, self._limit)
        return len(dead)

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
            return [line.decode("ascii").strip() for line in places.lines(place / _USES, below=self.folder)]
        except FileNotFoundError:
            return []


class Copy:
    """A run's own copy of the work tree, as far as this process has to have it.

    Attributes:
        root: The folder to run commands in.
    """

    def __init__(self, depot: Depot, place: Path, lock: Lock) -> None:
        self.root = place / _TREE
        self._depot = depot
        self._place = place
        self._lock = lock
        self._store = BlobStore(depot.folder, place / _INCOMING)
        self._uses: set[str] = set()
        self._uses_bytes = 0
        self._brought: dict[str, Entry] = {}
        # Commands run at once in one process.
        self._one_at_a_time = threading.RLock()
        files.make_folder(self.root, below=depot.folder)

    def lacking_pages(self, pages: Sequence[str]) -> list[str]:
        """Which of these pages of a snapshot have to be `put` before it can be read.

        Raises:
            StorageError: The disk refuses.
        """
        with self._one_at_a_time:
            self._claim(pages)
            # Their sizes are nobody's to know: what has the name is whole.
            return [page for page in pages if not self._store.has(page)]

    def lacking(self, pages: Sequence[str]) -> list[str]:
        """Which blobs have to be `put` before the snapshot of these pages can be brought up.

        Raises:
            DamagedBlob, DamagedSnapshot: A page is not there, or is none.
            StorageError: The disk refuses.
        """
        with self._one_at_a_time:
            wanted = {e.sha256: e.size for e in self._snapshot(pages) if e.has_content and self._is_new(e)}
            self._claim(wanted)
            return self._store.lacking(wanted)

    def put(self, pieces: Iterable[Piece]) -> None:
        """Take up pieces of blobs, in the order in which they are sent.

        Raises:
            DamagedBlob: One is not what its digest says, or a piece of it has not come.
            StorageError: The disk refuses.
        """
        with self._one_at_a_time:
            self._store.put(pieces)

    def bring_up(self, pages: Sequence[str]) -> Path:
        """Have in the copy what is in the snapshot of these pages; the folder to run commands in.

        What was brought up before and is the same in the snapshot is left as commands have left it.

        Raises:
            DamagedBlob, DamagedSnapshot: A page or a file is not there.
            StorageError: The disk refuses.
        """
        with (
            self._one_at_a_time,
            files.storage_errors("make the copy of the work tree in", self.root),
            Folder(self.root) as folder,
        ):
            again = bool(self._brought)
            for entry in self._snapshot(pages):
                if self._is_new(entry):
                    self._bring(folder, entry, replacing=again)
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
            made = []
            for path in walk(folder, globs, protected):
                # Read whatever its times say: they may be those of the moment in which it was brought.
                found = scan(folder, path, read=self._keep)
                if found is not None and self._is_new(found.entry):
                    made.append(found.entry)
                    self._brought[path] = found.entry
            gone = [
                entry.path
                for entry in self._brought.values()
                if matches(entry, globs) and folder.status(entry.path) is None
            ]
            for path in gone:
                del self._brought[path]
        return Outputs(tuple(made), tuple(gone)).dumps()

    def send(self, digests: Iterable[str]) -> Iterator[list[Piece]]:
        """Blobs of these digests, in batches of bounded size.

        Raises:
            DamagedBlob: One is not there.
        """
        return batches(self._store.pieces(digests))

    def remove(self) -> None:
        """Remove the copy, and blobs beyond the limit; nothing may run in it any more.

        Raises:
            StorageError: The disk refuses.
        """
        with self._one_at_a_time, ExitStack() as stack:
            stack.callback(self._depot.sweep)
            stack.callback(self._lock.release)
            files.remove_tree(self.root, below=self._depot.folder)

    def _snapshot(self, pages: Sequence[str]) -> Snapshot:
        return Snapshot.of_pages(b"".join(self._store.read(page)) for page in pages)

    def _is_new(self, entry: Entry) -> bool:
        return self._brought.get(entry.path) != entry

    def _claim(self, digests: Iterable[str]) -> None:
        """Have others know that this run needs these blobs, before it asks whether they are there."""
        new = sorted(set(digests) - self._uses)
        if not new:
            return
        text = "".join(f"{sha256}\n" for sha256 in new).encode("ascii")
        with self._depot.locked(), Folder(self._place) as folder:
            folder.append(_USES, text, offset=self._uses_bytes)
        self._uses.update(new)
        self._uses_bytes += len(text)

    def _keep(self, content: Iterable[bytes]) -> tuple[str, int]:
        sha256, size = self._store.add(content)
        self._claim([sha256])
        return sha256, size

    def _bring(self, folder: Folder, entry: Entry, *, replacing: bool) -> None:
        """Put an entry in its place; what a command has put in the way gives way."""
        if replacing:
            self._make_way(folder, entry)
        above = entry.path.rpartition("/")[0]
        if entry.kind == "folder":
            folder.make_folder(entry.path)
        else:
            folder.make_folder(above)
            if entry.kind == "link":
                folder.link(entry.path, entry.target)
            else:
                content = self._store.read(entry.sha256)
                folder.write(entry.path, content, executable=entry.kind == "executable", replacing=replacing)
        self._brought[entry.path] = entry

    def _make_way(self, folder: Folder, entry: Entry) -> None:
        if (obstacle := folder.obstacle(entry.path)) is not None:
            folder.remove(obstacle)
        found = folder.status(entry.path)
        is_folder = found is not None and kind_of(found) == "folder"
        if is_folder and entry.kind != "folder":
            files.remove_tree(self.root / on_disk(entry.path), below=self._depot.folder)
        elif entry.kind == "folder" and not is_folder:
            folder.remove(entry.path)
