"""Blobs on their way: cut into pieces, and these put together to batches of bounded size; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

BATCH_BYTES = 4 * 1024 * 1024
"""About how much is on its way at once, and so in memory on each side."""


class Piece(NamedTuple):
    """A part of a blob.

    Attributes:
        sha256: The digest of the whole blob.
        offset: Where the part begins, in bytes.
        data: The bytes.
        last: Whether the blob ends with it.
    """

    sha256: str
    offset: int
    data: bytes
    last: bool


def pieces_of(sha256: str, chunks: Iterable[bytes]) -> Iterator[Piece]:
    """A blob in pieces, of the sizes in which it is read; an empty one is a piece, too."""
    offset, held = 0, b""
    for chunk in chunks:
        if held:
            yield Piece(sha256, offset, held, last=False)
            offset += len(held)
        held = chunk
    yield Piece(sha256, offset, held, last=True)


def batches(pieces: Iterable[Piece], most: int = BATCH_BYTES) -> Iterator[list[Piece]]:
    """Pieces in their order, put together until they have `most` bytes."""
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        # What goes along with the bytes counts, as there may be a million small files.
        size += len(piece.data) + 128
        batch.append(piece)
        if size >= most:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
