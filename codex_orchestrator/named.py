"""What the user has named, or this machine's tools: it may lie anywhere, and links are followed.

What is opened is a regular file; see `places` (docs/reference/files.md, "Links and special files").
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from codex_orchestrator import places
from codex_orchestrator.errors import StorageError


def kind(path: Path) -> places.Kind | None:
    """What lies at a path that the user has named, links followed; None where nothing does."""
    found = places.status_of_chosen(path)
    return None if found is None else places.kind_of(found)


def status(path: Path) -> os.stat_result | None:
    """What the file system knows of whatever lies there, a link itself included; None where nothing does."""
    try:
        return os.lstat(path)
    except (OSError, ValueError):  # ValueError: a zero byte in a name.
        return None


def place(path: Path) -> Path:
    """Where a path that the user has named leads, links followed."""
    return Path(os.path.realpath(path))


def open_stream(path: Path) -> BinaryIO:
    """A regular file that the user has named, to be read; links are followed.

    Raises:
        Misplaced: It is no regular file.
        OSError: It cannot be opened, or is not there.
    """
    real = place(path)
    return places.open_stream(real, below=real.parent)


def read(path: Path, *, at_most: int = places.DOCUMENT_BYTES) -> bytes:
    """The content of a file that the user has named; links are followed.

    Raises:
        Misplaced: It is no regular file, or too large.
        OSError: It cannot be read, or is not there.
    """
    real = place(path)
    return places.read(real, below=real.parent, at_most=at_most)


def names(path: Path) -> list[str]:
    """What is in a folder that the user has named, links followed; nothing where it cannot be listed."""
    try:
        return [name for name, _ in places.listed(path, below=path)]
    except StorageError:
        return []


def is_executable(path: Path) -> bool:
    """Whether a path leads to something that may be run."""
    return os.access(path, os.X_OK)


def is_there(path: Path) -> bool:
    """Whether there is anything at a path, be it a link that leads nowhere."""
    return os.path.lexists(path)
