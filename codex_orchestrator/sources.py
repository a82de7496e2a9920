"""The files of a repository: a link is followed where it leads to a place inside, and nowhere else.

What is opened is a regular file; see `places` (docs/reference/files.md, "Links and special files").
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

from codex_orchestrator import places
from codex_orchestrator.errors import Misplaced
from codex_orchestrator.text import printable


def within(path: Path, root: Path) -> Path:
    """Where a path of the repository leads, all links followed; it need not be there.

    Raises:
        Misplaced: It leads out of the repository.
    """
    return _resolved(path, root)[0]


def open_stream(path: Path, *, root: Path) -> BinaryIO:
    """A file of the repository, to be read.

    Raises:
        Misplaced: It leads out of the repository, or is no regular file.
        OSError: It cannot be opened, or is not there.
    """
    real, home = _present(path, root)
    return places.open_stream(real, below=home)


def read(path: Path, *, root: Path, at_most: int = places.DOCUMENT_BYTES) -> bytes:
    """The content of a file of the repository.

    Raises:
        Misplaced: It leads out of the repository, is no regular file, or is too large.
        OSError: It cannot be read, or is not there.
    """
    real, home = _present(path, root)
    return places.read(real, below=home, at_most=at_most)


def kind(path: Path, *, root: Path) -> places.Kind | None:
    """What a path of the repository leads to; None where it leads nowhere.

    Raises:
        StorageError: It cannot be looked at; or `Misplaced`: it leads out of the repository.
    """
    try:
        real, home = _present(path, root)
    except FileNotFoundError:
        return None
    found = places.status(real, below=home)
    return None if found is None else places.kind_of(found)


def listed(path: Path, *, root: Path) -> list[tuple[str, places.Kind]]:
    """What is in a folder of the repository, by name; nothing where there is no such folder.

    Raises:
        StorageError: It cannot be listed; or `Misplaced`: it leads out of the repository.
    """
    if kind(path, root=root) != "folder":
        return []
    real, home = _resolved(path, root)
    return places.listed(real, below=home)


def _present(path: Path, root: Path) -> tuple[Path, Path]:
    """`_resolved`, for what is to be there: where a folder on the way is none, there is no such file."""
    real, home = _resolved(path, root)
    if not os.path.isdir(real.parent):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return real, home


def _resolved(path: Path, root: Path) -> tuple[Path, Path]:
    """Where a path and the root lead, links followed."""
    real, home = os.path.realpath(path), os.path.realpath(root)
    if real != home and not real.startswith(home.rstrip("/") + "/"):
        raise Misplaced(
            f"{printable(str(path))} is a link that leads out of {printable(str(root))}.",
            hint="Remove it, or put what it leads to in its place.",
        )
    return Path(real), Path(home)
