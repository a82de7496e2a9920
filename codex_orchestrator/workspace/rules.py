"""Which paths and links may be in a snapshot, and which files a store gives up; pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import takewhile
from typing import NamedTuple


def path_problem(path: str) -> str | None:
    """Why nothing may be written at a path from the root, in a few words; None where it may."""
    names = path.split("/")
    if path.startswith("/"):
        return "it is absolute"
    if ".." in names:
        return "it leads out of the root"
    if not path or "\0" in path or {"", "."} & set(names):
        return "it is no path"
    if any(name.lower() == ".git" for name in names):
        return "it lies in .git"
    return None


def link_problem(path: str, target: str) -> str | None:
    """Why a link may not be in a snapshot, in a few words; None where it may.

    Args:
        path: The link, from the root.
        target: What is written in it.
    """
    if not target or "\0" in target:
        return "it leads nowhere"
    if target.startswith("/"):
        return f"it leads to an absolute path, {target}"
    # Where `..` is in front only, each step up is from a folder that is one; behind a name that is a link
    # itself, it could be anywhere.
    names = [name for name in target.split("/") if name not in ("", ".")]
    up = len(list(takewhile(lambda name: name == "..", names)))
    if up > path.count("/"):
        return f"it leads out of the root, to {target}"
    if ".." in names[up:]:
        return f"it goes into a folder and out again, to {target}"
    aimed = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if any(name.lower() == ".git" for name in aimed.split("/")):
        return f"it leads into .git, to {target}"
    return None


def lies_in(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of some folders, or in one of them."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


class Kept(NamedTuple):
    """A blob in a store: its digest, its size in bytes, and when it was last used, in any unit."""

    sha256: str
    size: int
    used: float


def given_up(blobs: Iterable[Kept], in_use: AbstractSet[str], limit: int) -> Iterator[str]:
    """The blobs to remove from a store, longest unused first, so that it keeps to its limit.

    Args:
        blobs: All that are there.
        in_use: Those that a live run needs: they stay, whatever the limit is.
        limit: How many bytes they may have together.
    """
    known = list(blobs)
    over = sum(blob.size for blob in known) - limit
    for blob in sorted(known, key=lambda blob: (blob.used, blob.sha256)):
        if over <= 0:
            return
        if blob.sha256 not in in_use:
            over -= blob.size
            yield blob.sha256
