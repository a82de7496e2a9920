"""Changed files as git lists them, and renames among them, found by the hash of their content.

Pure but for the streams that are hashed. Nothing is written into the repository's object store
(docs/reference/guards.md, section "Renames").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import BinaryIO

from codex_orchestrator.dataclass import dataclass

_READ_BYTES = 1024 * 1024
_SHA1_LENGTH = 40


@dataclass(frozen=True)
class TrackedChange:
    """A file that git tracks, or tracked, and that differs from the base.

    Attributes:
        path: Its name from the top of the work tree.
        earlier: Its name before it was renamed; None where it was not.
        kind: ``A`` added, ``D`` deleted, ``R`` renamed, ``M`` and others changed.
        regular: Whether it was a regular file in the base.
        blob: Hash of what the base has there; zeros where it has nothing.
        same: Whether its content is what the base has.
        added: Lines added; None for a binary file.
        deleted: Lines deleted; None for a binary file.
    """

    path: bytes
    earlier: bytes | None
    kind: str
    regular: bool
    blob: str
    same: bool
    added: int | None
    deleted: int | None


def parse_diff(output: bytes) -> dict[bytes, TrackedChange]:
    """The files by path.

    Args:
        output: What git prints with ``--raw --numstat -z``: first all raw entries, then all numbers.
    """
    words = iter(output.split(b"\0"))
    raw: dict[bytes, tuple[bytes | None, list[str]]] = {}
    found = {}
    for word in words:
        if word.startswith(b":"):
            fields = word[1:].decode("ascii").split(" ")
            earlier = next(words) if fields[4][0] in "RC" else None
            # Of a file in conflict there is an entry for that, and one for the file.
            raw[next(words)] = earlier, fields
        elif word:
            added, deleted, path = word.split(b"\t", 2)
            if not path:
                path = [next(words), next(words)][1]
            earlier, fields = raw[path]
            found[path] = TrackedChange(
                path,
                earlier,
                fields[4][0],
                fields[0].startswith("100"),
                fields[2],
                fields[4] == "R100" or fields[2] == fields[3],
                _number(added),
                _number(deleted),
            )
    return found


def _number(digits: bytes) -> int | None:
    return None if digits == b"-" else int(digits)


def blob_id(stream: BinaryIO, size: int, like: str) -> str:
    """The hash that git has for a content.

    Args:
        stream: The content.
        size: How many bytes it has.
        like: Any hash of the repository, whose kind is taken.
    """
    name = "sha1" if len(like) == _SHA1_LENGTH else "sha256"
    digest = hashlib.new(name, b"blob %d\0" % size, usedforsecurity=False)
    for chunk in iter(lambda: stream.read(_READ_BYTES), b""):
        digest.update(chunk)
    return digest.hexdigest()


def parse_sizes(output: bytes) -> dict[str, int]:
    """The sizes of blobs by hash, from ``git cat-file --batch-check``; missing ones are left out."""
    lines = (line.split(" ") for line in output.decode("ascii", "replace").splitlines())
    return {words[0]: int(words[2]) for words in lines if len(words) == 3 and words[1] == "blob"}


def pair_renames(gone: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """The old path of each new file that has the content of a deleted one; those of the same name first.

    Args:
        gone: Blobs of deleted files, by path.
        new: Blobs of new files, by path.
    """
    by_blob: dict[str, list[str]] = {}
    for path, blob in sorted(gone.items()):
        by_blob.setdefault(blob, []).append(path)
    pairs: dict[str, str] = {}
    for alike in (True, False):
        for path, blob in sorted(new.items()):
            left = by_blob.get(blob, [])
            if path not in pairs and (old := _chosen(path, left, alike=alike)) is not None:
                left.remove(old)
                pairs[path] = old
    return pairs


def _chosen(path: str, candidates: Iterable[str], *, alike: bool) -> str | None:
    name = path.rpartition("/")[2]
    return next((old for old in candidates if not alike or old.rpartition("/")[2] == name), None)
