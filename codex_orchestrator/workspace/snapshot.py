"""A snapshot: what is in a work tree, each thing by its path and content; pure.

It travels as pages, which are blobs like files are. A page ends where its last path says so, and so the pages
of two snapshots are the same but for those with what differs: no more of the list has to travel again.

Paths are text: UTF-8, with stray bytes as lone surrogates, which JSON has as escapes.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.globs import Glob

from .rules import link_problem, path_problem

Kind = Literal["file", "executable", "link", "folder"]

# On average, a page has so many entries: few enough that a changed file makes little travel.
_ENTRIES_ON_A_PAGE = 64
_FORMAT = 1
_KINDS: Mapping[str, Kind] = {"f": "file", "x": "executable", "l": "link", "d": "folder"}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}


class DamagedSnapshot(OrchestratorError):
    """What came as a snapshot is none."""


class Entry(NamedTuple):
    """One thing in a work tree.

    Attributes:
        path: Where, from the root, with ``/``.
        kind: A folder is one that nothing else in the snapshot lies in.
        size: Bytes of a file; 0 for all else.
        sha256: The content of a file, in hexadecimal digits; empty for all else.
        target: Where a link leads, as it is written in it; empty for all else.
    """

    path: str
    kind: Kind
    size: int = 0
    sha256: str = ""
    target: str = ""

    @property
    def has_content(self) -> bool:
        """Whether there is a blob for it."""
        return self.kind in ("file", "executable")


class Snapshot:
    """Entries by their paths, in the order of these."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = {entry.path: entry for entry in sorted(entries)}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self._entries == other._entries

    __hash__ = None  # type: ignore[assignment] # as large as it is, nobody looks one up

    def at(self, path: str) -> Entry | None:
        """What is at a path, or None."""
        return self._entries.get(path)

    def blobs(self) -> dict[str, int]:
        """The contents of its files: digests, with sizes in bytes."""
        return {entry.sha256: entry.size for entry in self if entry.has_content}

    def selected(self, patterns: Iterable[Glob]) -> Snapshot:
        """What of it some pattern matches."""
        chosen = tuple(patterns)
        return Snapshot(entry for entry in self if matches(entry, chosen))

    def changed_by(self, outputs: Outputs) -> Snapshot:
        """The snapshot after a stage has made its outputs.

        What lies at a path of theirs, in a place that a file has taken or above it, gives way.
        """
        taken = {entry.path for entry in outputs.entries if entry.kind != "folder"}
        kept = {
            path: entry
            for path, entry in self._entries.items()
            if path not in outputs.removed and taken.isdisjoint(folders_above(path))
        }
        kept.update((entry.path, entry) for entry in outputs.entries)
        occupied = {above for path in kept for above in folders_above(path)}
        return Snapshot(entry for path, entry in kept.items() if path not in occupied)

    def pages(self) -> Iterator[bytes]:
        """Its entries as blobs, in order; `of_pages` reads them."""
        page: list[bytes] = []
        for entry in self:
            page.append(_line(entry))
            if zlib.crc32(entry.path.encode("utf-8", "surrogateescape")) % _ENTRIES_ON_A_PAGE == 0:
                yield b"".join(page)
                page = []
        if page:
            yield b"".join(page)

    @classmethod
    def of_pages(cls, pages: Iterable[bytes]) -> Snapshot:
        """The snapshot that was made into pages.

        Raises:
            DamagedSnapshot: It was not, or has a path or a link that leads out of the root.
        """
        return cls(_entry(line) for page in pages for line in page.splitlines())


class Outputs(NamedTuple):
    """What a stage has made of what its patterns name.

    Attributes:
        entries: What is there now.
        removed: The paths, of those that the stage had found there, at which nothing is any more.
    """

    entries: tuple[Entry, ...] = ()
    removed: tuple[str, ...] = ()

    def dumps(self) -> bytes:
        """As bytes; `loads` reads them."""
        return b"".join(
            [json.dumps([_FORMAT, list(self.removed)]).encode() + b"\n", *map(_line, self.entries)]
        )

    @classmethod
    def loads(cls, data: bytes) -> Outputs:
        """The outputs that `dumps` has written.

        Raises:
            DamagedSnapshot: They are none, or have a path or a link that leads out of the root.
        """
        first, *lines = data.splitlines() or [b""]
        version, removed = _values(first, 2)
        if version != _FORMAT or not isinstance(removed, list):
            raise _damaged(first)
        for path in removed:
            if not isinstance(path, str) or path_problem(path):
                raise _damaged(first)
        return cls(tuple(map(_entry, lines)), tuple(removed))


def digest_of(data: bytes) -> str:
    """What a blob is known by."""
    return hashlib.sha256(data).hexdigest()


def matches(entry: Entry, patterns: Iterable[Glob]) -> bool:
    """Whether some pattern matches an entry."""
    path = f"{entry.path}/" if entry.kind == "folder" else entry.path
    return any(pattern.matches(path) for pattern in patterns)


def folders_above(path: str) -> Iterator[str]:
    """The folders that a path is in, the innermost first; not the root."""
    while path := path.rpartition("/")[0]:
        yield path


def _line(entry: Entry) -> bytes:
    what: list[str | int] = [_LETTERS[entry.kind], entry.path]
    if entry.has_content:
        what += [entry.size, entry.sha256]
    elif entry.kind == "link":
        what.append(entry.target)
    # ASCII throughout: no byte of a path ends a line, and lone surrogates survive.
    return json.dumps(what, separators=(",", ":")).encode("ascii") + b"\n"


def _entry(line: bytes) -> Entry:
    letter, path, *rest = _values(line)
    kind = _KINDS.get(letter) if isinstance(letter, str) else None
    if not isinstance(path, str) or path_problem(path):
        raise _damaged(line)
    match kind, rest:
        case "folder", []:
            return Entry(path, "folder")
        case "link", [str(target)] if not link_problem(path, target):
            return Entry(path, "link", target=target)
        case "file" | "executable", [int(size), str(sha256)] if size >= 0 and is_digest(sha256):
            return Entry(path, kind, size, sha256)
    raise _damaged(line)


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 in hexadecimal digits, and so can name a blob."""
    return len(text) == 64 and not text.strip("0123456789abcdef")


def _values(line: bytes, count: int | None = None) -> list[object]:
    try:
        values = json.loads(line)
    except ValueError:
        raise _damaged(line) from None
    if not isinstance(values, list) or len(values) < 2 or len(values) != (count or len(values)):
        raise _damaged(line)
    return values


def _damaged(line: bytes) -> DamagedSnapshot:
    return DamagedSnapshot(
        f"What came as a snapshot of a work tree is none: {line[:200]!r}.",
        hint="Both sides have to be of one version of codex-orchestrator.",
    )
