"""New files that are old ones under another name, found by what git would call their content.

Nothing is written into the repository's store (docs/reference/guards.md, section "Renames").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import BinaryIO

_READ_BYTES = 1024 * 1024
_SHA1_LENGTH = 40


def blob_id(stream: BinaryIO, size: int, like: str) -> str:
    """What git calls a content.

    Args:
        stream: The content.
        size: How many bytes it has.
        like: Any hash of the repository's, which has one kind only.
    """
    name = "sha1" if len(like) == _SHA1_LENGTH else "sha256"
    digest = hashlib.new(name, b"blob %d\0" % size, usedforsecurity=False)
    for chunk in iter(lambda: stream.read(_READ_BYTES), b""):
        digest.update(chunk)
    return digest.hexdigest()


def parse_sizes(output: bytes) -> dict[str, int]:
    """The sizes of blobs by hash, from ``git cat-file --batch-check``; without those that are not here."""
    lines = (line.split(" ") for line in output.decode("ascii", "replace").splitlines())
    return {words[0]: int(words[2]) for words in lines if len(words) == 3 and words[1] == "blob"}


def pair_renames(gone: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Old paths by the new ones that have their content, each once; of several, one of the same name.

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
