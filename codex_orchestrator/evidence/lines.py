"""Append-only files of lines: whole lines, or nothing of them.

A line that its writer died in, or that a full disk took a part of, is passed over by every reader
and mended by the next writer (docs/reference/files.md, "How files are written").
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.evidence.files import PUBLIC, storage_errors, sync_folder
from codex_orchestrator.evidence.standard_streams import write_all
from codex_orchestrator.model.codec import is_json

_BLOCK_BYTES = 65_536
_FIRST_BLOCK_BYTES = 4_096
# macOS has no other.
_fdatasync = getattr(os, "fdatasync", os.fsync)


def append(path: Path, data: bytes, *, below: Path) -> None:
    """Append whole lines and wait until the disk has them.

    Raises:
        StorageError: The disk refused, or `Misplaced`; none of the lines is there, or, where they cannot
            even be taken back, a torn one that readers tolerate and `mend_last_line` mends.
    """
    with storage_errors("append to", path):
        descriptor = _opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, below)
        try:
            end = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, data)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, end)
                raise
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def append_block(path: Path, data: bytes, *, below: Path) -> None:
    """Append lines to a file that others write too, beginning on a line of their own.

    Raises:
        StorageError: As `append` does.
    """
    with storage_errors("read", path):
        size = found.st_size if (found := places.status(path, below=below)) is not None else 0
        if size:
            with places.open_stream(path, below=below) as stream:
                if os.pread(stream.fileno(), 1, size - 1) != b"\n":
                    data = b"\n" + data
    append(path, data, below=below)


def lines_backwards(path: Path, end: int, *, below: Path) -> Iterator[bytes]:
    """The lines of a file up to ``end``, where one ends, from the last back; read as they are asked for.

    Args:
        path: The file.
        end: In bytes from its beginning.
        below: The folder above it that the user has chosen.

    Raises:
        StorageError: The file cannot be read.
    """
    with storage_errors("read", path), places.open_stream(path, below=below) as stream:
        rest = b""
        block = _FIRST_BLOCK_BYTES  # Mostly the search ends with the first line.
        while end > 0:
            size = min(end, block)
            end -= size
            block = min(2 * block, _BLOCK_BYTES)
            stream.seek(end)
            first, *lines = (stream.read(size) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line)
            rest = first  # It may begin in the block before.
        if rest:
            yield rest


def mend_last_line(path: Path, *, below: Path) -> None:
    """End the last line of a file of lines where its writer died in it, or take back what is no line yet.

    Only for who may write the file: the owner of a log, the holder of a lock.

    Raises:
        StorageError: The disk refused, or `Misplaced`.
    """
    with storage_errors("mend", path):
        try:
            descriptor = _opened(path, os.O_RDWR, below)
        except FileNotFoundError:
            return
        try:
            _mend(descriptor, path)
        finally:
            os.close(descriptor)


def _mend(descriptor: int, path: Path) -> None:
    end, torn = _torn_line(descriptor, path)
    if not torn:
        return
    if is_json(torn):
        os.lseek(descriptor, 0, os.SEEK_END)
        write_all(descriptor, b"\n")
    else:
        os.ftruncate(descriptor, end)
    os.fsync(descriptor)


class LogFile:
    """An append-only log with one writer that stays open; each write is whole lines, or nothing."""

    def __init__(self, path: Path, *, below: Path) -> None:
        """Open or create it; a last line that an earlier writer died in is mended.

        Raises:
            StorageError: The disk refused.
        """
        self._path = path
        self._below = below
        with storage_errors("open", path):
            self._descriptor = _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, below)
        try:
            with storage_errors("mend", path):
                _mend(self._descriptor, path)
            self._end = os.fstat(self._descriptor).st_size
        except BaseException:
            os.close(self._descriptor)
            raise
        self._torn = False
        self._is_named = False

    def write(self, data: bytes) -> None:
        """Append whole lines.

        Raises:
            StorageError: The disk refused; none of it is there, at the latest after the next write.
        """
        with storage_errors("append to", self._path):
            if self._torn:
                self._take_back()
            try:
                write_all(self._descriptor, data)
            except OSError:
                self._torn = True
                with suppress(OSError):
                    self._take_back()
                raise
            self._end += len(data)

    def sync(self) -> None:
        """Wait until the disk has all lines, and the file its name.

        Raises:
            StorageError: The disk refused.
        """
        with storage_errors("append to", self._path):
            _fdatasync(self._descriptor)
            if not os.fstat(self._descriptor).st_nlink:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # Somebody has removed it.
        if not self._is_named:
            sync_folder(self._path.parent, below=self._below)
            self._is_named = True

    def _take_back(self) -> None:
        """Cut off the line that a full disk took a part of, or all later lines would hang on to it."""
        os.ftruncate(self._descriptor, self._end)
        self._torn = False

    def close(self, *, durable: bool) -> None:
        """Close, first waiting (``durable``) until the disk has it all; a second call does nothing.

        Raises:
            StorageError: The disk refused.
        """
        if self._descriptor < 0:
            return
        with storage_errors("append to", self._path):
            descriptor, self._descriptor = self._descriptor, -1
            try:
                if self._torn:
                    os.ftruncate(descriptor, self._end)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _opened(path: Path, flags: int, below: Path) -> int:
    with places.folder(path.parent, below=below) as folder:
        return places.open_in(folder, path, flags, PUBLIC)


def _torn_line(descriptor: int, path: Path) -> tuple[int, bytes]:
    """Where the last whole line ends, and what follows it."""
    end = start = os.fstat(descriptor).st_size
    blocks: list[bytes] = []
    size = _FIRST_BLOCK_BYTES  # Mostly the last byte tells.
    while start > 0:
        size = min(start, size)
        start -= size
        block = os.pread(descriptor, size, start)
        size = min(2 * size, _BLOCK_BYTES)
        newline = block.rfind(b"\n")
        blocks.append(block[newline + 1 :])
        if newline >= 0:
            return start + newline + 1, b"".join(reversed(blocks))
        if end - start > places.DOCUMENT_BYTES:
            raise places.overlong(path)
    return 0, b"".join(reversed(blocks))
