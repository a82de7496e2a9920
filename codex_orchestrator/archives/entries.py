"""What is in a zip file as bundles are (docs/reference/files.md, "Bundles"): there is one way to write one.

The same content has the same bytes: names sorted, times and modes fixed, everything deflated. What is read is
held to that, byte by byte of its headers. So there is no place for what zip files have been abused for: two
names for one place, entries that overlap, other sizes in the one header than in the other, links, something
before or after. Nothing is extracted: entries are read as streams.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from typing import NamedTuple

LARGEST = 0xFFFF_FFFE
"""The most bytes of an entry, and of the file: what a zip file can say without its 64-bit extension."""
MOST_ENTRIES = 60_000
LONGEST_NAME = 1_000
# Up to this, nobody is harmed; beyond it content may be this many times as large as the file.
_HARMLESS_BYTES = 1 << 30
_LARGEST_RATIO = 200
LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
DEFLATED = 8
_NEEDS, _MADE_BY, _UTF_8 = 20, (3 << 8) | 20, 0x800
_MIDNIGHT, _FIRST_OF_1980 = 0, (1 << 5) | 1
_MODE = 0o100644 << 16


class Entry(NamedTuple):
    """A file in an archive."""

    name: str
    crc: int
    packed: int
    size: int
    offset: int

    @property
    def flags(self) -> int:
        """Whether its name is more than ASCII."""
        return 0 if self.name.isascii() else _UTF_8

    @property
    def start(self) -> int:
        """Where its content begins."""
        return self.offset + LOCAL.size + len(self.name.encode())

    def local_header(self) -> bytes:
        """What is before its content."""
        name = self.name.encode()
        about = (_NEEDS, self.flags, DEFLATED, _MIDNIGHT, _FIRST_OF_1980)
        return LOCAL.pack(b"PK\3\4", *about, self.crc, self.packed, self.size, len(name), 0) + name

    def central_header(self) -> bytes:
        """Its line in the table of contents."""
        name = self.name.encode()
        about = (_MADE_BY, _NEEDS, self.flags, DEFLATED, _MIDNIGHT, _FIRST_OF_1980)
        sizes = (self.crc, self.packed, self.size)
        return CENTRAL.pack(b"PK\1\2", *about, *sizes, len(name), 0, 0, 0, 0, _MODE, self.offset) + name


def name_problem(name: str) -> str | None:
    """Why something must not be called so in an archive; None where it may."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "is no text"
    parts = name.split("/")
    if not name or length > LONGEST_NAME:
        return f"is empty, or longer than {LONGEST_NAME} bytes"
    if any(unicodedata.category(character)[0] == "C" for character in name):
        return "has a control character"
    if name.startswith("/") or "\\" in name or re.match("[A-Za-z]:", name):
        return "is absolute, or has a backslash"
    if {"", ".", ".."} & set(parts):
        return "leads elsewhere"
    return None


class Names:
    """The names of an archive, of which no two may be one file, or one a folder of the other, anywhere."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def problem(self, name: str) -> str | None:
        """Why a name cannot be added; None where it has been."""
        problem = name_problem(name)
        if problem is not None:
            return problem
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        parts = folded.split("/")
        folders = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if folded in self._files or folded in self._folders or folders & self._files:
            return "is that of another one, on some file systems"
        self._files.add(folded)
        self._folders |= folders
        return None


def limit_problem(*, entries: int, content: int, file: int) -> str | None:
    """Why an archive is too large; None where it is not.

    Args:
        entries: How many there are.
        content: The bytes of all of them.
        file: The bytes of the archive.
    """
    if entries > MOST_ENTRIES:
        return f"it has more than {MOST_ENTRIES} entries"
    if file > LARGEST:
        return f"it is larger than {LARGEST} bytes"
    if content > _HARMLESS_BYTES and content > _LARGEST_RATIO * file:
        return f"its content is more than {_LARGEST_RATIO} times as large as the file"
    return None
