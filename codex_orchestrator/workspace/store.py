"""A store of blobs: files that are known by the SHA-256 of their content, kept from run to run.

A blob is there as a whole or not at all: it is written beside, hashed while it is, and gets its name when it
is complete and its digest is right.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.evidence import files

from .disk import Folder, chunks
from .pieces import Piece, pieces_of
from .rules import Kept, given_up
from .snapshot import is_digest

_INCOMING, _BLOBS = "incoming", "blobs"


class DamagedBlob(OrchestratorError):
    """A blob is not what its digest says, or has not come as a whole."""


class BlobStore:
    """Blobs in a folder, for one sender at a time.

    Attributes:
        folder: Where they are; others may keep theirs there at the same time.
    """

    def __init__(self, folder: Path, incoming: Path | None = None) -> None:
        """Make what is not there of it.

        Args:
            folder: Where blobs are kept.
            incoming: Where they are written; on the same file system, and nobody else's.

        Raises:
            StorageError: It cannot be made.
        """
        self.folder = folder
        self._incoming = incoming or folder / _INCOMING
        self._hashes: dict[str, hashlib._Hash] = {}
        for each in (folder / _BLOBS, self._incoming):
            files.make_folder(each, below=folder)

    def lacking(self, wanted: Mapping[str, int]) -> list[str]:
        """Which of these digests, with their blobs' sizes, are not there; the others count as used now."""
        missing = []
        with Folder(self.folder) as folder:
            for sha256 in sorted(wanted):
                found = folder.status(_place(sha256))
                if found is None or found.st_size != wanted[sha256]:
                    missing.append(sha256)
                else:
                    folder.use(_place(sha256))
        return missing

    def has(self, sha256: str) -> bool:
        """Whether a blob is there."""
        with Folder(self.folder) as folder:
            return folder.status(_place(sha256)) is not None

    def put(self, pieces: Iterable[Piece]) -> None:
        """Take up pieces of blobs, those of one in their order.

        Raises:
            DamagedBlob: One is not what its digest says, or a piece of it has not come.
            StorageError: The disk refuses.
        """
        with (
            files.storage_errors("keep what stages need in", self.folder),
            Folder(self._incoming) as incoming,
            Folder(self.folder) as folder,
        ):
            for piece in pieces:
                if self._is_whole_with(piece, incoming):
                    _name(folder, incoming, piece.sha256, piece.sha256)

    def add(self, content: Iterable[bytes]) -> tuple[str, int]:
        """Keep what is read from `content`; its digest and its size in bytes.

        Raises:
            StorageError: The disk refuses.
        """
        hashed, size = hashlib.sha256(), 0

        def watched() -> Iterator[bytes]:
            nonlocal size
            for chunk in content:
                hashed.update(chunk)
                size += len(chunk)
                yield chunk

        with (
            files.storage_errors("keep what stages make in", self.folder),
            Folder(self._incoming) as incoming,
            Folder(self.folder) as folder,
        ):
            part = os.urandom(8).hex()
            incoming.write(part, watched(), executable=False, replacing=False)
            _name(folder, incoming, part, hashed.hexdigest())
        return hashed.hexdigest(), size

    def read(self, sha256: str) -> Iterator[bytes]:
        """A blob in chunks; after the last, it is known to be what its digest says.

        Raises:
            DamagedBlob: It is not, and is removed; or it is not there.
        """
        with Folder(self.folder) as folder:
            try:
                descriptor = folder.opened(_place(sha256))
            except FileNotFoundError:
                raise _gone(sha256, self.folder) from None
            hashed = hashlib.sha256()
            for chunk in chunks(descriptor):
                hashed.update(chunk)
                yield chunk
            if hashed.hexdigest() != sha256:
                folder.remove(_place(sha256))
                raise _gone(sha256, self.folder)

    def pieces(self, digests: Iterable[str]) -> Iterator[Piece]:
        """Blobs of these digests in pieces, to be sent."""
        for sha256 in digests:
            yield from pieces_of(sha256, self.read(sha256))

    def trim(self, in_use: AbstractSet[str], limit: int) -> int:
        """Remove what has not been used for longest, to keep no more than `limit` bytes; how many went.

        Args:
            in_use: What no run that lives may lose.
            limit: Bytes.
        """
        with (
            files.storage_errors("remove what no stage needs from", self.folder),
            Folder(self.folder) as folder,
        ):
            gone = list(given_up(self._kept(folder), in_use, limit))
            for sha256 in gone:
                folder.remove(_place(sha256))
        return len(gone)

    def _kept(self, folder: Folder) -> Iterator[Kept]:
        for prefix, kind in folder.names(_BLOBS):
            for name, _ in folder.names(f"{_BLOBS}/{prefix}") if kind == "folder" else ():
                found = folder.status(_place(name)) if is_digest(name) else None
                if found is not None:
                    yield Kept(name, found.st_size, found.st_mtime)

    def _is_whole_with(self, piece: Piece, incoming: Folder) -> bool:
        """Take up a piece; whether it is the last, and the blob what its digest says."""
        if not is_digest(piece.sha256):
            raise DamagedBlob(f"{piece.sha256!r} is no digest of a blob.")
        if piece.offset == 0:
            self._hashes[piece.sha256] = hashlib.sha256()
        hashed = self._hashes.get(piece.sha256)
        if hashed is None:
            raise DamagedBlob(f"The beginning of the blob {piece.sha256} has not come.")
        hashed.update(piece.data)
        incoming.append(piece.sha256, piece.data, offset=piece.offset)
        if not piece.last:
            return False
        del self._hashes[piece.sha256]
        if hashed.hexdigest() != piece.sha256:
            incoming.remove(piece.sha256)
            raise DamagedBlob(f"What came as the blob {piece.sha256} is another, or a part of it.")
        return True


def _name(folder: Folder, incoming: Folder, part: str, sha256: str) -> None:
    """Have what has come be the blob of a digest."""
    place = _place(sha256)
    folder.make_folder(place.rpartition("/")[0])
    folder.take_over(incoming, part, place)


def _place(sha256: str) -> str:
    return f"{_BLOBS}/{sha256[:2]}/{sha256}"


def _gone(sha256: str, folder: Path) -> DamagedBlob:
    return DamagedBlob(
        f"{folder} does not have the blob {sha256} as it was put there.",
        hint="Nothing but the orchestrator may write there; run the stage again.",
    )
