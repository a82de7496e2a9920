"""The writer of whole files: atomic replacement, folders, removal; `lines` appends.

What is replaced is either the old file or the new one, never a mixture: a unique temporary file
beside it, fsync, rename, fsync of the folder (docs/reference/files.md, "How files are written").

All of it is done in folders that `places` has opened: ``below`` is the folder that the user has chosen, and
nothing between it and the file may be a link.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from codex_orchestrator import named, places
from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.evidence.standard_streams import write_all

PUBLIC = 0o666
PRIVATE = 0o600
EXECUTABLE = 0o777
_GITIGNORE = b"# Made by codex-orchestrator: evidence of runs is not source.\n*\n"
_ELSEWHERE = "Or point CODEX_ORCHESTRATOR_RUNS_DIR and CODEX_ORCHESTRATOR_OUT_DIR elsewhere."
_COPY_BYTES = 1024 * 1024
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d{1,9})-[0-9a-f]{8}\.tmp")


_NO_ROOM = "Make room, or point CODEX_ORCHESTRATOR_RUNS_DIR and CODEX_ORCHESTRATOR_OUT_DIR elsewhere."
_REMOVED = (
    "Where a stage cleans up, as git clean -fdx does, have it spare the folders of runs: "
    "git clean -fdx -e .runs -e out."
)


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Make a refusal of the disk an error that says what was tried, on which path, and what to do."""
    try:
        yield
    except Misplaced as error:
        raise Misplaced(
            f"Cannot {action} {path}: {error.message}", hint=f"{error.hint} {_ELSEWHERE}"
        ) from error
    except OSError as error:
        reason, hint = error.strerror or str(error), _NO_ROOM
        if isinstance(error, FileNotFoundError):
            reason, hint = "it was removed, or its folder", _REMOVED
        raise StorageError(f"Cannot {action} {path}: {reason}.", hint=hint) from error


def replace(path: Path, data: bytes, *, below: Path, durable: bool = True, mode: int = PUBLIC) -> None:
    """Put ``data`` in place of whatever ``path`` holds, atomically.

    Args:
        path: The file; its folder must exist.
        data: All of the new content.
        below: The folder above it that the user has chosen.
        durable: Wait until the disk has it; only the heartbeat does not need that.
        mode: Permissions of the new file before the umask.

    Raises:
        StorageError: The disk refused, or `Misplaced`; the old file is as it was.
    """
    with _replacing(path, below, durable=durable, mode=mode) as descriptor:
        write_all(descriptor, data)


@contextmanager
def replacing(path: Path, *, below: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` at the end of the block, atomically, as `replace` does it.

    Raises:
        StorageError: The disk refused, or `Misplaced`; the old file is as it was, as where the block raises.
    """
    with (
        _replacing(path, below, durable=True, mode=PUBLIC) as descriptor,
        os.fdopen(descriptor, "wb", closefd=False) as stream,
    ):
        yield stream


@contextmanager
def _replacing(path: Path, below: Path, *, durable: bool, mode: int) -> Iterator[int]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    with storage_errors("write", path), places.folder(path.parent, below=below) as folder:
        try:
            descriptor = places.open_in(folder, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            try:
                yield descriptor
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary.name, dir_fd=folder)
            raise
        if durable:
            os.fsync(folder)


def create(path: Path, data: bytes, *, below: Path, mode: int = PUBLIC) -> bool:
    """Make a small file that must not exist yet; False where it does. It has no temporary file.

    Args:
        path: The file; its folder must exist.
        data: Its content.
        below: The folder above it that the user has chosen.
        mode: Its permissions before the umask.

    Raises:
        StorageError: The disk refused, or `Misplaced`; the file is not there.
    """
    with storage_errors("write", path), places.folder(path.parent, below=below) as folder:
        try:
            descriptor = places.open_in(folder, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            return False
        try:
            write_all(descriptor, data)
        except OSError:
            with suppress(OSError):
                os.unlink(path.name, dir_fd=folder)
            raise
        finally:
            os.close(descriptor)
    return True


def copy(path: Path, to: Path, *, below: Path) -> None:
    """Copy a file that may lie anywhere to one that must not exist yet, with the time of its last change.

    Raises:
        StorageError: It cannot be read, the disk refused, or `Misplaced`.
    """
    with storage_errors("copy", path), named.open_stream(path) as source:
        with places.folder(to.parent, below=below) as folder:
            descriptor = places.open_in(folder, to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with os.fdopen(descriptor, "wb") as target:
            while block := source.read(_COPY_BYTES):
                target.write(block)
            target.flush()
            changed = os.fstat(source.fileno()).st_mtime_ns
            os.utime(target.fileno(), ns=(changed, changed))


def overwrite(path: Path, data: bytes, *, below: Path) -> None:
    """Rewrite a small text file without giving it a new inode: a lock file must stay the one that is locked.

    What was longer before is covered with spaces, in one write, so that no reader meets it half empty.

    Raises:
        StorageError: The disk refused, or `Misplaced`.
    """
    with storage_errors("write", path), places.folder(path.parent, below=below) as folder:
        descriptor = places.open_in(folder, path, os.O_WRONLY | os.O_CREAT, PUBLIC)
        try:
            write_all(descriptor, data.rstrip().ljust(os.fstat(descriptor).st_size - 1) + b"\n")
        except OSError:
            # No owner at all is better than one that cannot be read.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            raise
        finally:
            os.close(descriptor)


def remove(path: Path, *, below: Path) -> None:
    """Remove a file, or a link itself; one that is gone already is fine.

    Raises:
        StorageError: The disk refused, or `Misplaced`.
    """
    gone = suppress(FileNotFoundError)
    with storage_errors("remove", path), gone, places.folder(path.parent, below=below) as folder:
        os.unlink(path.name, dir_fd=folder)


def remove_tree(path: Path, *, below: Path) -> None:
    """Remove a folder with all that is in it; links are removed, not followed.

    Raises:
        StorageError: The disk refused, or `Misplaced`; a part may be gone.
    """
    gone = suppress(FileNotFoundError)
    with storage_errors("remove", path), gone, places.folder(path.parent, below=below) as above:
        if places.kind_of(os.stat(path.name, dir_fd=above, follow_symlinks=False)) == "link":
            os.unlink(path.name, dir_fd=above)
            return
        with places.folder(path, below=below) as folder:
            _empty(folder)
        os.rmdir(path.name, dir_fd=above)


def move(path: Path, to: Path, *, below: Path) -> None:
    """Give a file or folder another name below the same folder.

    Raises:
        StorageError: The disk refused, or `Misplaced`.
    """
    with (
        storage_errors("rename", path),
        places.folder(path.parent, below=below) as here,
        places.folder(to.parent, below=below) as there,
    ):
        os.rename(path.name, to.name, src_dir_fd=here, dst_dir_fd=there)


def sync_folder(path: Path, *, below: Path) -> None:
    """Wait until the disk has the names in a folder.

    Raises:
        StorageError: The disk refused, or `Misplaced`.
    """
    with storage_errors("bring to disk", path), places.folder(path, below=below) as folder:
        os.fsync(folder)


def make_folder(path: Path, *, below: Path, ignored: bool = False) -> None:
    """Make a folder and those above it.

    Args:
        path: The folder.
        below: The folder above it, or itself, that the user has chosen; made where it is not there.
        ignored: Where this call is what made it, keep git away from it.

    Raises:
        StorageError: The disk refused, or `Misplaced`.
    """
    with storage_errors("make the folder", path):
        place, made = below, False
        if named.kind(below) is None:
            made = _make_chosen(below)
        for name in path.relative_to(below).parts:
            place /= name
            with places.folder(place.parent, below=below) as above:
                made = _make_in(above, place)
    if made and ignored:
        create(path / ".gitignore", _GITIGNORE, below=below)


def make_new_folder(path: Path, *, below: Path) -> bool:
    """Make a folder that must not exist yet, and wait until the disk has it; False where it does.

    Raises:
        StorageError: The disk refused, or `Misplaced`.
    """
    with storage_errors("make the folder", path), places.folder(path.parent, below=below) as above:
        if not _make_in(above, path):
            return False
        os.fsync(above)
    return True


def remove_temporaries(
    folder: Path, *, below: Path, of: str = "", is_dead: Callable[[int], bool] = lambda _pid: True
) -> int:
    """Remove the temporary files that dead writers left in a folder; how many they were.

    Args:
        folder: The folder; one that is not there holds none.
        below: The folder above it that the user has chosen.
        of: Only those of files whose name begins so.
        is_dead: Whether the process of an id has ended; for a folder that others may be writing in.

    Raises:
        StorageError: The disk refused, or `Misplaced`.
    """
    count = 0
    gone = suppress(FileNotFoundError)
    with storage_errors("sweep", folder), gone, places.folder(folder, below=below) as descriptor:
        for name in temporaries(places.listed_in(descriptor), of=of, is_dead=is_dead):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=descriptor)
                count += 1
    return count


def temporaries(
    found: Iterable[tuple[str, places.Kind]],
    *,
    of: str = "",
    is_dead: Callable[[int], bool] = lambda _pid: True,
) -> list[str]:
    """The names in a folder that are those of temporary files; arguments as for `remove_temporaries`."""
    matches = ((_TEMPORARY.fullmatch(name), kind) for name, kind in found)
    return [
        match[0]
        for match, kind in matches
        if match and kind == "file" and match["name"].startswith(of) and is_dead(int(match["pid"]))
    ]


def discard_writes(descriptor: int) -> None:
    """Redirect a descriptor to /dev/null."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def _make_chosen(path: Path) -> bool:
    """Make the folder that the user has chosen, and those above it; whether this call did."""
    os.makedirs(path.parent, exist_ok=True)
    try:
        os.mkdir(path)
    except FileExistsError:
        return False
    return True


def _make_in(above: int, path: Path) -> bool:
    """Make a folder in one that is open; False where it is there."""
    try:
        os.mkdir(path.name, dir_fd=above)
    except FileExistsError:
        kind = places.kind_of(os.stat(path.name, dir_fd=above, follow_symlinks=False))
        if kind != "folder":
            raise places.misplaced(path, kind, "folder") from None
        return False
    return True


def _empty(top: int) -> None:
    """Remove what is in a folder.

    What lies deep is brought up first, so that neither depth nor the length of a path is any limit.
    """
    while found := places.listed_in(top):
        for name, kind in found:
            if kind != "folder":
                _unlink(name, top)
                continue
            with suppress(FileNotFoundError):
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
                try:
                    _bring_up(inner, top)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)


def _bring_up(inner: int, top: int) -> None:
    for name, kind in places.listed_in(inner):
        if kind != "folder":
            _unlink(name, inner)
            continue
        try:
            os.rmdir(name, dir_fd=inner)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            with suppress(FileNotFoundError):
                os.rename(name, os.urandom(8).hex(), src_dir_fd=inner, dst_dir_fd=top)


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
