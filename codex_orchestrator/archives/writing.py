"""Writes zip files as bundles are: the same content has the same bytes."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from codex_orchestrator.archives.entries import END, LARGEST, Entry, limit_problem
from codex_orchestrator.errors import UsageError
from codex_orchestrator.text import printable

_LEVEL = 6
_BLOCK_BYTES = 1 << 18
_SMALLER = "Leave logs out with --logs failed, or --logs none."


class ArchiveWriter:
    """Writes an archive, entry by entry, in the order of their names as bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        """Begin.

        Args:
            stream: An empty file, in which this can go back.
        """
        self._stream = stream
        self._entries: list[Entry] = []

    def add(self, name: str, content: BinaryIO) -> None:
        """Add a file, to the end of its content.

        Raises:
            UsageError: It is too large.
            OSError: It cannot be read, or the archive not be written.
        """
        entry = Entry(name, 0, 0, 0, self._stream.tell())
        self._stream.write(entry.local_header())
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        crc = size = 0
        while block := content.read(_BLOCK_BYTES):
            crc, size = zlib.crc32(block, crc), size + len(block)
            self._stream.write(packer.compress(block))
        self._stream.write(packer.flush())
        end = self._stream.tell()
        if size > LARGEST or end > LARGEST:
            raise UsageError(f"{printable(name)} is too large for a bundle.", hint=_SMALLER)
        entry = entry._replace(crc=crc, size=size, packed=end - entry.start)
        self._stream.seek(entry.offset)
        self._stream.write(entry.local_header())
        self._stream.seek(end)
        self._entries.append(entry)

    def finish(self) -> None:
        """Write the table of contents.

        Raises:
            UsageError: The archive is too large.
            OSError: It cannot be written.
        """
        start = self._stream.tell()
        for entry in self._entries:
            self._stream.write(entry.central_header())
        size, count = self._stream.tell() - start, len(self._entries)
        self._stream.write(END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0))
        content = sum(entry.size for entry in self._entries)
        problem = limit_problem(entries=count, content=content, file=self._stream.tell())
        if problem is not None:
            raise UsageError(f"The bundle cannot be made: {problem}.", hint=_SMALLER)
