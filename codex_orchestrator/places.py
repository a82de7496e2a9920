"""How anything on disk is opened, listed and looked at: what decides for all commands.

Below a folder that the user has chosen (``below``: the runs or out folder), no link is followed at any
component, whoever put it there, and nothing but regular files and folders is opened. The folder itself is
the user's choice, so that links which lead to it are followed (docs/reference/files.md, "Links and special
files").

Each component is opened from the folder before it, so that nothing can be put in its place in between. The
only modules that write or remove, `store.files` and `store.lines`, do it from folders opened here. `sources`
says how the files of the repository are read, and `named` what the user names otherwise; both open here.

An archive can stand for a folder (`mounted`): then what is read below its path is what the archive has.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.text import printable

Kind = Literal["file", "folder", "link", "special"]

DOCUMENT_BYTES = 16 * 1024 * 1024
"""The most bytes of a file that is read as a whole; logs and journals are read in streams."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_INNER_FOLDER = _FOLDER | os.O_NOFOLLOW
# Without blocking, as to open a pipe waits for whoever is at its other end.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READ_BYTES = 1024 * 1024
# What is told of something that is no regular file, or no folder, when it is opened as one.
_TELLING = frozenset({errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ENODEV})
_WORDS: dict[Kind, str] = {
    "file": "a file",
    "folder": "a folder",
    "link": "a link, which is not followed here",
    "special": "neither a file nor a folder",
}


@contextmanager
def folder(path: Path, *, below: Path) -> Iterator[int]:
    """The descriptor of a folder for the length of a block.

    Args:
        path: The folder.
        below: The folder above it, or itself, that the user has chosen.

    Raises:
        Misplaced: A component below is a link, or no folder.
        OSError: It cannot be opened, or is not there.
    """
    descriptor = _walk(path, below)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_in(descriptor: int, path: Path, flags: int, mode: int = 0) -> int:
    """Open a regular file in a folder that is open.

    Args:
        descriptor: The folder.
        path: The file; its name counts, the rest is for messages.
        flags: As for `os.open`; links are not followed, whatever is asked for.
        mode: Its permissions before the umask, where it is made.

    Raises:
        Misplaced: There is something else in its place.
        OSError: It cannot be opened, or is not there.
    """
    try:
        opened = os.open(path.name, flags | _FILE, mode, dir_fd=descriptor)
    except OSError as error:
        raise _told(error, descriptor, path, "file") from error
    try:
        kind = kind_of(os.fstat(opened))
        if kind != "file":
            raise misplaced(path, kind, "file")
    except BaseException:
        os.close(opened)
        raise
    return opened


def open_stream(path: Path, *, below: Path) -> BinaryIO:
    """A regular file of any size, to be read.

    Raises:
        Misplaced: There is something else in its place, or a component is a link.
        OSError: It cannot be opened, or is not there.
    """
    if (archive := _archive_of(path)) is not None:
        return archive.stream(path)
    with folder(path.parent, below=below) as descriptor:
        return os.fdopen(open_in(descriptor, path, os.O_RDONLY), "rb")


def lines(path: Path, *, below: Path) -> Iterator[bytes]:
    """The lines of a regular file of any size, with their ends, read as they are asked for.

    Raises:
        Misplaced: There is something else in its place, a component is a link, or a line is too long.
        OSError: It cannot be read, or is not there.
    """
    with open_stream(path, below=below) as stream:
        while line := stream.readline(DOCUMENT_BYTES + 1):
            if len(line) > DOCUMENT_BYTES:
                raise overlong(path)
            yield line


def overlong(path: Path) -> Misplaced:
    """What is said of a file with a line that nobody of ours has written."""
    return Misplaced(
        f"{printable(str(path))} has a line of more than {DOCUMENT_BYTES} bytes.", hint="Remove the file."
    )


def read(path: Path, *, below: Path, at_most: int = DOCUMENT_BYTES) -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        below: The folder above it that the user has chosen.
        at_most: How many bytes it may have.

    Raises:
        Misplaced: There is something else in its place, a component is a link, or it is too large.
        OSError: It cannot be read, or is not there.
    """
    if (archive := _archive_of(path)) is not None:
        with archive.stream(path) as stream:
            return _bounded(stream.read(at_most + 1), path, at_most)
    with folder(path.parent, below=below) as descriptor:
        return _content(open_in(descriptor, path, os.O_RDONLY), path, at_most)


def listed(path: Path, *, below: Path) -> list[tuple[str, Kind]]:
    """What is in a folder, by name; nothing where there is no such folder.

    Raises:
        StorageError: It cannot be listed; or `Misplaced`: a component below is a link, or no folder.
    """
    with _looking_at(path), suppress(FileNotFoundError):
        return _listed_whole(path, below)
    return []


def listed_in(descriptor: int) -> list[tuple[str, Kind]]:
    """What is in a folder that is open, by name.

    Raises:
        OSError: It cannot be listed.
    """
    with os.scandir(descriptor) as entries:
        return sorted((entry.name, _entry_kind(entry)) for entry in entries)


def size_in(descriptor: int, name: str) -> int:
    """The bytes of a file in a folder that is open, of a link itself; 0 where it is gone."""
    try:
        return os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_size
    except OSError:
        return 0


def walked(path: Path, *, below: Path, skipped: frozenset[str] = frozenset()) -> Iterator[tuple[Path, Kind]]:
    """All that is in a folder and those in it, links themselves, folder by folder.

    Args:
        path: The folder.
        below: The folder above it, or itself, that is trusted.
        skipped: Names of folders that are not gone into.

    Raises:
        Misplaced: Something was put in the place of a folder.
        OSError: A folder cannot be listed.
    """
    waiting = [path]
    while waiting:
        place = waiting.pop()
        found = [(place / name, kind) for name, kind in _listed_whole(place, below)]
        yield from found
        waiting += [
            inner for inner, kind in reversed(found) if kind == "folder" and inner.name not in skipped
        ]


def status(path: Path, *, below: Path) -> os.stat_result | None:
    """What the file system knows of whatever lies there, a link itself included; None where nothing does.

    Raises:
        StorageError: It cannot be looked at; or `Misplaced`: a component above it is a link, or no folder.
    """
    if (archive := _archive_of(path)) is not None:
        return archive.status(path)
    if path == below:
        return status_of_chosen(path)
    with _looking_at(path), suppress(FileNotFoundError), folder(path.parent, below=below) as descriptor:
        return os.stat(path.name, dir_fd=descriptor, follow_symlinks=False)
    return None


def link_target(path: Path, *, below: Path) -> bytes | None:
    """What a link says, which is not followed; None where there is none.

    Raises:
        Misplaced: A component above it is a link, or no folder.
    """
    if is_archived(path):
        return None  # There are none.
    try:
        with folder(path.parent, below=below) as descriptor:
            return os.readlink(os.fsencode(path.name), dir_fd=descriptor)
    except OSError:
        return None


def has_file(path: Path, *, below: Path) -> bool:
    """Whether a file is there.

    Raises:
        StorageError: It cannot be looked at; or `Misplaced`: there is something else in its place, or a
            component is a link.
    """
    return _has(path, "file", below)


def has_folder(path: Path, *, below: Path) -> bool:
    """Whether a folder is there.

    Raises:
        StorageError: As `has_file` does.
    """
    return _has(path, "folder", below)


def kind_of(found: os.stat_result) -> Kind:
    """What something is."""
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "special"


def misplaced(path: Path, kind: Kind, wanted: Kind) -> Misplaced:
    """What is said of something in the place of something else."""
    where = "" if kind == "link" else f" where a {wanted} belongs"
    return Misplaced(
        f"{printable(str(path))} is {_WORDS[kind]}{where}.",
        hint=f"Remove it, or put a {wanted} in its place.",
    )


class _Archive(Protocol):
    """What stands for a folder; each of these is as the function above of that name, and ``stream`` opens."""

    def stream(self, path: Path) -> BinaryIO: ...
    def listed(self, path: Path) -> list[tuple[str, Kind]]: ...
    def status(self, path: Path) -> os.stat_result | None: ...


_mounted: dict[str, _Archive] = {}


@contextmanager
def mounted(archive: _Archive, path: Path) -> Iterator[None]:
    """Have an archive stand for its own file's path, below which nothing on disk can be, for a block."""
    _mounted[os.fspath(path)] = archive
    try:
        yield
    finally:
        del _mounted[os.fspath(path)]


def is_archived(path: Path) -> bool:
    """Whether a path lies in an archive, whatever is there."""
    return _archive_of(path) is not None


def _archive_of(path: Path) -> _Archive | None:
    text = f"{os.fspath(path)}/" if _mounted else ""
    return next((archive for place, archive in _mounted.items() if text.startswith(f"{place}/")), None)


# ------------------------------------------------------------------ the walk


def _listed_whole(path: Path, below: Path) -> list[tuple[str, Kind]]:
    if (archive := _archive_of(path)) is not None:
        return archive.listed(path)
    try:
        with folder(path, below=below) as descriptor:
            return listed_in(descriptor)
    except OSError as error:
        error.filename = str(path)  # Not the number of a descriptor.
        raise


@contextmanager
def _looking_at(path: Path) -> Iterator[None]:
    """Make what is refused an error that says so, as nobody expects a question to fail."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"Cannot look at {printable(str(path))}: {error.strerror or error}.") from error


def _walk(path: Path, below: Path) -> int:
    """The descriptor of a folder, opened component by component."""
    # By their texts: this is done for every file, and paths are slow.
    text, start = os.fspath(path), os.fspath(below)
    prefix = "" if start == "." else f"{start.rstrip('/')}/"
    names = [] if text == start else text.removeprefix(prefix).split("/")
    if (names and not text.startswith(prefix)) or {"", ".."} & set(names):
        raise ValueError(f"{path} does not stay below {below}")
    try:
        descriptor = os.open(below, _FOLDER)
    except NotADirectoryError:
        raise misplaced(below, kind_of(os.stat(below)), "folder") from None
    for depth, name in enumerate(names, start=1):
        try:
            inner = os.open(name, _INNER_FOLDER, dir_fd=descriptor)
        except OSError as error:
            raise _told(error, descriptor, below.joinpath(*names[:depth]), "folder") from error
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _told(error: OSError, descriptor: int, path: Path, wanted: Kind) -> Exception:
    """What is said where something cannot be opened: what it is, if that is why."""
    if error.errno in _TELLING:
        try:
            kind = kind_of(os.stat(path.name, dir_fd=descriptor, follow_symlinks=False))
        except OSError:
            return error
        if kind != wanted:
            return misplaced(path, kind, wanted)
    error.filename = str(path)
    return error


def _content(descriptor: int, path: Path, at_most: int) -> bytes:
    blocks, size = [], 0
    try:
        while size <= at_most and (block := os.read(descriptor, min(_READ_BYTES, at_most + 1 - size))):
            blocks.append(block)
            size += len(block)
    finally:
        os.close(descriptor)
    return _bounded(b"".join(blocks), path, at_most)


def _bounded(content: bytes, path: Path, at_most: int) -> bytes:
    if len(content) > at_most:
        raise Misplaced(
            f"{printable(str(path))} is larger than {at_most} bytes, which no such file is.",
            hint="Remove it, or put a smaller one in its place.",
        )
    return content


def _has(path: Path, wanted: Kind, below: Path) -> bool:
    found = status(path, below=below)
    if found is None:
        return False
    kind = kind_of(found)
    if kind != wanted:
        raise misplaced(path, kind, wanted)
    return True


def status_of_chosen(path: Path) -> os.stat_result | None:
    """What the file system knows of a path that the user has chosen, links followed; None for nothing."""
    try:
        return os.stat(path)
    except (OSError, ValueError):  # ValueError: a zero byte in a name.
        return None


def _entry_kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "special"
