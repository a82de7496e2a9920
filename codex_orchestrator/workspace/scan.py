"""Files made into entries of a snapshot: looked at, hashed where nothing says that they are as they were."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.globs import Glob
from codex_orchestrator.text import printable

from .disk import Folder, chunks, kind_of, state
from .rules import lies_in, link_problem
from .snapshot import Entry, matches

_READINGS = 3


class CannotTravel(OrchestratorError):
    """Something in a work tree cannot be in a snapshot of it."""


class Signature(NamedTuple):
    """What changes whenever a file does, without looking into it: what of it the file system knows.

    Nobody can set `ctime_ns`, but a file that is written twice within a tick of the clock has it only once.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """A file's."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode)


class Scanned(NamedTuple):
    """An entry, with the signature that what is there had when it was made."""

    entry: Entry
    signature: Signature


Reader = Callable[[Iterable[bytes]], tuple[str, int]]
"""What is done with the content of a file to have its digest and its size."""


def hashed(content: Iterable[bytes]) -> tuple[str, int]:
    """The digest of what is read, and its size in bytes."""
    digest, size = hashlib.sha256(), 0
    for chunk in content:
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def scan(folder: Folder, path: str, known: Scanned | None = None, read: Reader = hashed) -> Scanned | None:
    """What is at a path; None where nothing is.

    Args:
        folder: The root.
        path: From there.
        known: What was there before: a file whose signature is the same is not read again.
        read: Takes the content of a file that is.

    Raises:
        CannotTravel: It is neither a file, a folder nor a link, a link that leads out of the root, or a file
            that cannot be read or does not come to rest.
    """
    found = folder.status(path)
    if found is None:
        return None
    kind, signature = kind_of(found), Signature.of(found)
    if known is not None and known.signature == signature:
        return known
    if kind is None:
        raise refused(path, "is neither a file, a folder nor a link")
    if kind == "folder":
        return Scanned(Entry(path, "folder"), signature)
    if kind == "link":
        target = folder.target(path)
        if problem := link_problem(path, target):
            raise refused(path, f"is a link that cannot travel: {problem}")
        return Scanned(Entry(path, "link", target=target), signature)
    return _read(folder, path, read)


def _read(folder: Folder, path: str, read: Reader) -> Scanned | None:
    for _ in range(_READINGS):
        try:
            descriptor = folder.opened(path)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise refused(path, f"cannot be read: {error.strerror}") from error
        # Two descriptors: what is read closes its own.
        watched = os.dup(descriptor)
        try:
            before = state(watched)
            sha256, size = read(chunks(descriptor))
            after = state(watched)
        finally:
            os.close(watched)
        kind, signature = kind_of(after), Signature.of(after)
        if signature == Signature.of(before) and size == after.st_size and kind is not None:
            return Scanned(Entry(path, kind, size, sha256), signature)
    raise refused(path, "changes while it is read")


def is_gone(folder: Folder, entry: Entry) -> bool:
    """Whether nothing is any more where an entry was, or a folder where it was none."""
    if folder.obstacle(entry.path) is not None:
        return True
    found = folder.status(entry.path)
    return found is None or (kind_of(found) == "folder" and entry.kind != "folder")


def walk(folder: Folder, patterns: Iterable[Glob], protected: Iterable[str]) -> Iterator[str]:
    """The paths of all that some pattern matches, and that is no folder with something in it.

    Args:
        folder: The root.
        patterns: From there.
        protected: Folders that are not gone into, beside every ``.git``.
    """
    chosen, closed = tuple(patterns), tuple(protected)
    waiting = [""]
    while waiting:
        place = waiting.pop()
        inner = []
        found = 0
        for name, kind in folder.names(place):
            path = f"{place}/{name}" if place else name
            if name.lower() == ".git" or lies_in(path, closed):
                continue
            found += 1
            if kind != "folder":
                if matches(Entry(path, "file"), chosen):
                    yield path
            elif any(pattern.leads_into(path) for pattern in chosen):
                inner.append(path)
        if not found and place and matches(Entry(place, "folder"), chosen):
            yield place
        waiting += reversed(inner)


def refused(path: str, what: str) -> CannotTravel:
    """What is said of something that cannot be in a snapshot."""
    return CannotTravel(
        f"{printable(path)} {what}, so the work tree cannot travel to workers.",
        hint='Leave it out by "exclude" of "cloud" in the definition file, or run with a shared folder.',
    )
