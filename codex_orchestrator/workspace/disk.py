"""What lies below a folder, by paths of a snapshot: looked at, read, written and removed, no link followed.

The one module of the workspace that touches the disk. It goes by descriptors of folders, which `places`
opens; the one used last stays open, as most of what follows is in the same.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from codex_orchestrator import places
from codex_orchestrator.evidence.standard_streams import write_all

from .snapshot import Kind, folders_above

CHUNK_BYTES = 1024 * 1024
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXECUTABLE, _PLAIN, _PRIVATE_FOLDER = 0o777, 0o666, 0o700


def on_disk(path: str) -> str:
    """A path of a snapshot as this system's functions take it."""
    return os.fsdecode(path.encode("utf-8", "surrogateescape"))


def in_snapshot(name: str) -> str:
    """A name or path of this system's as snapshots have it."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def kind_of(status: os.stat_result) -> Kind | None:
    """What something is; None where no snapshot can have it."""
    if stat.S_ISREG(status.st_mode):
        return "executable" if status.st_mode & stat.S_IXUSR else "file"
    if stat.S_ISDIR(status.st_mode):
        return "folder"
    return "link" if stat.S_ISLNK(status.st_mode) else None


class Folder:
    """A folder with all below it; a context that closes what it holds open.

    All of its methods raise `Misplaced` where a folder on the way is none, and OSError where the disk
    refuses.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open = ExitStack()
        self._at: str | None = None
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Hold nothing open any more, as before the folder is removed and made anew."""
        self._at = None
        self._open.close()

    def status(self, path: str) -> os.stat_result | None:
        """What the file system knows of whatever is there, a link itself included; None where nothing is."""
        with suppress(FileNotFoundError):
            descriptor, name = self._place(path)
            return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        return None

    def target(self, path: str) -> str:
        """Where a link leads, as it is written in it."""
        descriptor, name = self._place(path)
        return in_snapshot(os.readlink(name, dir_fd=descriptor))

    def names(self, path: str = "") -> list[tuple[str, places.Kind]]:
        """What is in a folder, by name; the root is empty text."""
        return [(in_snapshot(name), kind) for name, kind in places.listed_in(self._folder(path))]

    def opened(self, path: str) -> int:
        """The descriptor of a file, to be read and closed by the caller."""
        descriptor, name = self._place(path)
        return places.open_in(descriptor, Path(name), os.O_RDONLY)

    def write(self, path: str, chunks: Iterable[bytes], *, executable: bool, replacing: bool = True) -> None:
        """Make a file of what is read from `chunks`; where that raises, nothing has changed.

        Args:
            path: Where; its folder must be there.
            chunks: The content.
            executable: Whether it may be run.
            replacing: Put it in place of a file or link that may be there, and at once as a whole. Without,
                nothing may be there.
        """
        descriptor, name = self._place(path)
        new = _temporary() if replacing else name
        made = os.open(new, _MAKE, _EXECUTABLE if executable else _PLAIN, dir_fd=descriptor)
        try:
            try:
                for chunk in chunks:
                    write_all(made, chunk)
            finally:
                os.close(made)
            if replacing:
                os.rename(new, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        except BaseException:
            with suppress(OSError):
                os.unlink(new, dir_fd=descriptor)
            raise

    def append(self, path: str, data: bytes, *, offset: int) -> None:
        """Write on a file from `offset` on, which has to be its end; with 0, it is made anew."""
        descriptor, name = self._place(path)
        if offset == 0:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=descriptor)
        flags = _MAKE if offset == 0 else os.O_WRONLY | os.O_APPEND
        opened = places.open_in(descriptor, Path(name), flags, 0o600)
        try:
            if os.fstat(opened).st_size != offset:
                raise OSError(errno.ESPIPE, "something is missing in between", path)
            write_all(opened, data)
        finally:
            os.close(opened)

    def link(self, path: str, target: str) -> None:
        """Make a link, in place of a file or link that may be there."""
        descriptor, name = self._place(path)
        new = _temporary()
        os.symlink(on_disk(target), new, dir_fd=descriptor)
        try:
            os.rename(new, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        except BaseException:
            with suppress(OSError):
                os.unlink(new, dir_fd=descriptor)
            raise

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it, where they are not there."""
        try:
            self._folder(path)
        except FileNotFoundError:
            above, _, name = path.rpartition("/")
            self.make_folder(above)
            with suppress(FileExistsError):
                os.mkdir(on_disk(name), dir_fd=self._folder(above))

    def take_over(self, other: Folder, name: str, to: str) -> None:
        """Have a file of another folder be at a path of this one, in place of one that may be there."""
        here, _ = other._place(name)
        there, last = self._place(to)
        os.rename(on_disk(name), last, src_dir_fd=here, dst_dir_fd=there)

    def use(self, path: str) -> None:
        """Have it count as used now: its time of change is this."""
        descriptor, name = self._place(path)
        os.utime(name, dir_fd=descriptor, follow_symlinks=False)

    def remove(self, path: str) -> None:
        """Remove a file, a link itself, or an empty folder; what is gone already is fine."""
        with suppress(FileNotFoundError):
            descriptor, name = self._place(path)
            if stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                self.leave()
                descriptor, name = self._place(path)
                os.rmdir(name, dir_fd=descriptor)
            else:
                os.unlink(name, dir_fd=descriptor)

    def mode(self) -> int:
        """What the folder itself is made with."""
        return os.fstat(self._folder("")).st_mode

    def make_private(self) -> None:
        """Have the folder itself be open to its owner alone."""
        os.fchmod(self._folder(""), _PRIVATE_FOLDER)

    def unlock(self) -> None:
        """Have all folders in it be open to their owner, whatever was made of them."""
        self.make_private()
        waiting = [""]
        while waiting:
            place = waiting.pop()
            for name in [name for name, kind in self.names(place) if kind == "folder"]:
                path = f"{place}/{name}" if place else name
                descriptor, last = self._place(path)
                os.chmod(last, _PRIVATE_FOLDER, dir_fd=descriptor)
                waiting.append(path)

    def obstacle(self, path: str) -> str | None:
        """What is no folder and lies where one above a path has to be; None where nothing does."""
        for above in reversed(list(folders_above(path))):
            found = self.status(above)
            if found is None:
                return None
            if not stat.S_ISDIR(found.st_mode):
                return above
        return None

    def _place(self, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), on_disk(name)

    def _folder(self, path: str) -> int:
        if path != self._at:
            self.leave()
            place = self.root / on_disk(path) if path else self.root
            self._descriptor = self._open.enter_context(places.folder(place, below=self.root))
            self._at = path
        return self._descriptor


def chunks(descriptor: int) -> Iterator[bytes]:
    """What is read from a descriptor, to its end; it is closed then, or when nobody asks for more."""
    try:
        while chunk := os.read(descriptor, CHUNK_BYTES):
            yield chunk
    finally:
        os.close(descriptor)


def state(descriptor: int) -> os.stat_result:
    """What the file system knows of a file that is open."""
    return os.fstat(descriptor)


def _temporary() -> str:
    return f".codex-orchestrator.{os.getpid()}-{os.urandom(4).hex()}.tmp"
