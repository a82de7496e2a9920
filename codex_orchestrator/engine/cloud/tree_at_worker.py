"""The copy of the work tree beside a worker: answers what the orchestrator asks of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codex_orchestrator.engine.cloud.frames import packed, unpacked
from codex_orchestrator.workspace.copies import Copy
from codex_orchestrator.workspace.depot import Depot
from codex_orchestrator.workspace.pieces import Piece


def pack_pieces(pieces: list[Piece]) -> bytes:
    """Pieces as bytes: what they are, then what is in them."""
    about = [(piece.sha256, piece.offset, len(piece.data), piece.last) for piece in pieces]
    return packed(about, b"".join(piece.data for piece in pieces))


def unpack_pieces(data: bytes) -> Iterator[Piece]:
    """The pieces that stand in ``data``."""
    about, content = unpacked(data)
    place = 0
    for sha256, offset, size, last in about:
        yield Piece(sha256, offset, content[place : place + size], last)
        place += size


class TreeAtWorker:
    """Answers what is asked of the copy, which is made at the first question."""

    def __init__(self, depot: Path, key: str) -> None:
        """Nothing is asked yet.

        Args:
            depot: Where what is kept between runs lies.
            key: Names this copy there.
        """
        self._depot = depot
        self._key = key
        self._made: Copy | None = None
        self._making = threading.Lock()

    def answer(self, what: str, value: Any, data: bytes) -> Iterator[tuple[Any, bytes]]:
        """The answers to a question, of which the last says that it is.

        Raises:
            OrchestratorError: The copy, or what came for it, is not as it should be.
        """
        copy = self._copy(value["label"])
        if what == "pages":
            yield copy.lacking_pages(value["pages"]), b""
        elif what == "blobs":
            yield copy.lacking(value["pages"]), b""
        elif what == "put":
            copy.put(unpack_pieces(data))
            yield None, b""
        elif what == "bring":
            yield str(copy.bring_up(value["pages"], value["removed"])), b""
        elif what == "collect":
            yield None, copy.collect(value["patterns"], value["protected"])
        elif what == "send":
            for batch in copy.send(value["digests"]):
                yield None, pack_pieces(batch)

    def remove(self) -> None:
        """Nothing runs in it any more.

        Raises:
            StorageError: The disk refuses.
        """
        if self._made is not None:
            self._made.remove()

    def _copy(self, label: str) -> Copy:
        with self._making:
            if self._made is None:
                self._made = Depot(self._depot).copy(self._key, label=label)
            return self._made
