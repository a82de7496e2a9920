"""Reads zip files as bundles are, as a folder of which nothing is extracted; all others are refused."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator, KeysView
from pathlib import Path
from typing import BinaryIO

from codex_orchestrator import named, places
from codex_orchestrator.archives.entries import (
    CENTRAL,
    DEFLATED,
    END,
    LARGEST,
    LONGEST_NAME,
    MOST_ENTRIES,
    Entry,
    Names,
    limit_problem,
)
from codex_orchestrator.errors import Misplaced, UsageError
from codex_orchestrator.text import printable

_BLOCK_BYTES = 1 << 18
# Smaller entries are read as a whole, and so can be read in any order.
_SMALL_BYTES = 8 << 20
_ENCRYPTED = 0x1


class Damaged(OSError):
    """An entry's bytes are not those that were put there."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(errno.EIO, problem, name)

    def __str__(self) -> str:
        return str(self.strerror)


class Archive:
    """An archive that can stand for a folder; see `places.mounted`.

    Attributes:
        path: Its file, absolute, links followed.
    """

    def __init__(self, path: Path) -> None:
        """Open it and read its table of contents.

        Raises:
            UsageError: It cannot be read, or is not as `ArchiveWriter` writes it.
        """
        try:
            self._file = named.open_stream(path)
        except Misplaced as error:
            raise UsageError(error.message, hint=error.hint) from error
        except OSError as error:
            raise UsageError(f"Cannot read {path}: {error.strerror or error}.") from error
        try:
            self._entries = {entry.name: entry for entry in _contents(self._file)}
        except _Refused as refused:
            self.close()
            raise UsageError(
                f"{path} is no bundle that is read: {refused}.",
                hint="Nothing of it was read. Ask for one as `codex-orchestrator bundle` has made it.",
            ) from refused
        self.path = named.place(path)
        self._folders: dict[str, dict[str, places.Kind]] = {"": {}}
        for name in self._entries:
            self._place(name)

    def _place(self, name: str) -> None:
        kind: places.Kind = "file"
        while name:
            folder, _, last = name.rpartition("/")
            self._folders.setdefault(folder, {})[last] = kind
            name, kind = folder, "folder"

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def names(self) -> KeysView[str]:
        """All files in it, sorted."""
        return self._entries.keys()

    def listed(self, path: Path) -> list[tuple[str, places.Kind]]:
        """What is in a folder, by name; nothing where there is none."""
        return sorted(self._folders.get(self._name(path), {}).items())

    def status(self, path: Path) -> os.stat_result | None:
        """What is known of what is there; None where nothing is."""
        name = self._name(path)
        entry = self._entries.get(name)
        if entry is None and name not in self._folders:
            return None
        mode, size = (stat.S_IFDIR, 0) if entry is None else (stat.S_IFREG, entry.size)
        return os.stat_result((mode, 0, 0, 1, 0, 0, size, 0, 0, 0))

    def stream(self, path: Path) -> BinaryIO:
        """A file, to be read; `Damaged` is raised where its bytes are wrong, at the latest at its end.

        Raises:
            Misplaced: It is a folder.
            OSError: It is not there, or damaged.
        """
        name = self._name(path)
        entry = self._entries.get(name)
        if entry is None and name in self._folders:
            raise places.misplaced(path, "folder", "file")
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        content = _Content(self._file.fileno(), entry)
        if entry.size <= _SMALL_BYTES:
            return io.BufferedReader(io.BytesIO(content.readall()))
        return io.BufferedReader(content, _BLOCK_BYTES)

    def _name(self, path: Path) -> str:
        return "" if path == self.path else path.relative_to(self.path).as_posix()

    def damages(self) -> Iterator[tuple[str, str]]:
        """Each file whose bytes are wrong, and how; all are read."""
        for name, entry in self._entries.items():
            try:
                with io.BufferedReader(_Content(self._file.fileno(), entry), _BLOCK_BYTES) as content:
                    while content.read(_BLOCK_BYTES):
                        pass
            except Damaged as damaged:
                yield name, str(damaged)


class _Content(io.RawIOBase):
    """The content of an entry, unpacked as it is read. It goes back to its beginning and to nowhere else."""

    def __init__(self, descriptor: int, entry: Entry) -> None:
        self._descriptor = descriptor
        self._entry = entry
        self._rewind()

    def _rewind(self) -> None:
        self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        self._read = self._crc = self._position = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if (offset, whence) != (0, os.SEEK_SET):
            raise OSError(errno.ESPIPE, "it is too large to be read from its end", self._entry.name)
        self._rewind()
        return 0

    def seekable(self) -> bool:
        return True

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self._unpacked(_BLOCK_BYTES), b""))

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self._unpacked(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def _unpacked(self, most: int) -> bytes:
        entry = self._entry
        block = b""
        try:
            while not block and not self._unpacker.eof:
                packed = self._unpacker.unconsumed_tail or self._packed()
                block = self._unpacker.decompress(packed, most)
                if not block and not packed and not self._unpacker.eof:
                    raise Damaged(entry.name, "it is cut off")
        except zlib.error:
            raise Damaged(entry.name, "it cannot be unpacked") from None
        self._crc = zlib.crc32(block, self._crc)
        self._position += len(block)
        if self._position > entry.size:
            raise Damaged(entry.name, f"it has more than the {entry.size} bytes that it says")
        if not block:
            rest = entry.packed - self._read + len(self._unpacker.unused_data)
            if self._position != entry.size or rest:
                raise Damaged(entry.name, f"it has not the {entry.size} bytes that it says")
            if self._crc != entry.crc:
                raise Damaged(entry.name, "its checksum is that of something else")
        return block

    def _packed(self) -> bytes:
        start = self._entry.start + self._read
        packed = os.pread(self._descriptor, min(_BLOCK_BYTES, self._entry.packed - self._read), start)
        self._read += len(packed)
        return packed


class _Refused(Exception):
    """Why a file is no archive that is read."""


def _contents(file: BinaryIO) -> list[Entry]:
    """The entries, with all that headers say held to what `ArchiveWriter` writes."""
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    start, count = _table(descriptor, size)
    table = os.pread(descriptor, size - END.size - start, start)
    entries: list[Entry] = []
    names, place, at = Names(), 0, 0
    for _ in range(count):
        entry, length = _entry(table, at)
        shown = printable(entry.name)
        problem = names.problem(entry.name)
        if problem is not None:
            raise _Refused(f'the name "{shown}" {problem}')
        if entries and entry.name.encode() <= entries[-1].name.encode():
            raise _Refused(f'the entry "{shown}" is not in its order')
        if entry.offset != place:
            raise _Refused(f'the entry "{shown}" overlaps another one, or something is before it')
        header = entry.local_header()
        if os.pread(descriptor, len(header), place) != header:
            raise _Refused(f'the entry "{shown}" says one thing in front of it, and another in the table')
        place, at = entry.start + entry.packed, at + length
        entries.append(entry)
    if place != start or at != len(table):
        raise _Refused("there is something between its entries and its end")
    content = sum(entry.size for entry in entries)
    problem = limit_problem(entries=count, content=content, file=size)
    if problem is not None:
        raise _Refused(problem)
    return entries


def _table(descriptor: int, size: int) -> tuple[int, int]:
    """Where the table of contents begins, and how many entries it has."""
    if size > LARGEST:
        raise _Refused(f"it is larger than {LARGEST} bytes")
    end = os.pread(descriptor, END.size, max(0, size - END.size))
    if len(end) < END.size or end[:4] != b"PK\5\6":
        near = os.pread(descriptor, 1 << 17, max(0, size - (1 << 17)))
        follows = b"PK\5\6" in near
        raise _Refused("something follows its end" if follows else "it is no zip file, or cut off")
    _, *disks, here, count, length, start, comment = END.unpack(end)
    if 0xFFFF in (here, count) or 0xFFFF_FFFF in (length, start):
        raise _Refused("it is of the 64-bit kind (zip64)")
    if disks != [0, 0] or here != count or comment:
        raise _Refused("its end is not as it is written")
    if start + length != size - END.size:
        raise _Refused("something is before its beginning, or it is cut off")
    if count > MOST_ENTRIES or length > count * (CENTRAL.size + LONGEST_NAME):
        raise _Refused("its table of contents is too large")
    return start, count


def _entry(table: bytes, at: int) -> tuple[Entry, int]:
    """The entry at a place of the table, and the length of what the table has of it."""
    try:
        fields = CENTRAL.unpack_from(table, at)
    except struct.error:
        raise _Refused("its table of contents is cut off") from None
    flags, method, mode, length = fields[3], fields[4], fields[15] >> 16, fields[10]
    raw = table[at + CENTRAL.size : at + CENTRAL.size + length]
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise _Refused("a name is no text") from None
    crc, packed, size = fields[7:10]
    entry = Entry(name, crc, packed, size, fields[16])
    shown = printable(name)
    if flags & _ENCRYPTED:
        raise _Refused(f'the entry "{shown}" is encrypted')
    if fields[0] == b"PK\1\2" and method != DEFLATED:
        raise _Refused(f'the entry "{shown}" is packed in a way ({method}) that bundles are not')
    if stat.S_ISLNK(mode):
        raise _Refused(f'the entry "{shown}" is a link')
    if 0xFFFF_FFFF in (entry.packed, entry.size, entry.offset):
        raise _Refused("it is of the 64-bit kind (zip64)")
    header = entry.central_header()
    if table[at : at + len(header)] != header:
        raise _Refused(f'the entry "{shown}" has a header that bundles have not')
    return entry, len(header)
