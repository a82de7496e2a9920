"""Zip files by hand, with whatever in their headers."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Raw:
    """An entry; what is not said is right."""

    name: bytes = b"a"
    content: bytes = b"text\n"
    packed: bytes | None = None
    method: int = 8
    flags: int | None = None
    mode: int = 0o100644
    made_by: int = (3 << 8) | 20
    needs: int = 20
    moment: tuple[int, int] = (0, 33)
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    extra: bytes = b""
    comment: bytes = b""
    offset: int | None = None
    disk: int = 0

    @property
    def data(self) -> bytes:
        if self.packed is not None:
            return self.packed
        packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        return packer.compress(self.content) + packer.flush()

    def fields(self) -> tuple[int, ...]:
        flags = self.flags if self.flags is not None else (0 if self.name.isascii() else 0x800)
        crc = zlib.crc32(self.content) if self.crc is None else self.crc
        size = len(self.content) if self.size is None else self.size
        packed_size = len(self.data) if self.packed_size is None else self.packed_size
        return (
            self.needs,
            flags,
            self.method,
            *self.moment,
            crc,
            packed_size,
            size,
            len(self.name),
            len(self.extra),
        )

    def local(self) -> bytes:
        return struct.pack("<4s5H3I2H", b"PK\3\4", *self.fields()) + self.name + self.extra

    def central(self, offset: int) -> bytes:
        at = offset if self.offset is None else self.offset
        rest = (len(self.comment), self.disk, 0, self.mode << 16, at)
        header = struct.pack("<4s6H3I5H2I", b"PK\1\2", self.made_by, *self.fields(), *rest)
        return header + self.name + self.extra + self.comment


def zipped(
    *entries: Raw,
    local: dict | None = None,
    before: bytes = b"",
    between: bytes = b"",
    after: bytes = b"",
    end: dict | None = None,
    shift: int = 0,
) -> bytes:
    """A zip file.

    Args:
        entries: What is in it.
        local: What the headers in front of the content say otherwise.
        before: Bytes at the beginning.
        between: Bytes before the table of contents.
        after: Bytes at the end.
        end: What the record at the end says otherwise.
        shift: What is added to all offsets.
    """
    body, table = before, b""
    for entry in entries:
        table += entry.central(len(body) - len(before) + shift)
        body += replace(entry, **(local or {})).local() + entry.data
    body += between
    start = len(body) - len(before) + shift
    said = {
        "disk": 0,
        "first": 0,
        "here": len(entries),
        "all": len(entries),
        "size": len(table),
        "start": start,
    }
    said |= {"comment": b"", **(end or {})}
    comment = said.pop("comment")
    return body + table + struct.pack("<4s4H2IH", b"PK\5\6", *said.values(), len(comment)) + comment + after
