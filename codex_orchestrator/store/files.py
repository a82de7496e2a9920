"""The writer of whole files: atomic replacement, folders, removal; `lines` appends.

What is replaced is either the old file or the new one, never a mixture: a unique temporary file
beside it, fsync, rename, fsync of the folder (docs/reference/files.md, "How files are written").
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from codex_orchestrator.errors import StorageError

PUBLIC = 0o666
PRIVATE = 0o600
EXECUTABLE = 0o777
_GITIGNORE = b"# Made by codex-orchestrator: evidence of runs is not source.\n*\n"
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)-[0-9a-f]{8}\.tmp")


@contextmanager
def reported(action: str, path: Path) -> Iterator[None]:
    """Make a refusal of the disk an error that says what was tried, on which path, and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"Cannot {action} {path}: {reason}.",
            hint="Make room, or point CODEX_ORCHESTRATOR_RUNS_DIR and CODEX_ORCHESTRATOR_OUT_DIR elsewhere.",
        ) from error


def replace(path: Path, data: bytes, *, durable: bool = True, mode: int = PUBLIC) -> None:
    """Put ``data`` in place of whatever ``path`` holds, atomically.

    Args:
        path: The file; its folder must exist.
        data: All of the new content.
        durable: Wait until the disk has it; only the heartbeat does not need that.
        mode: Permissions of the new file before the umask.

    Raises:
        StorageError: The disk refused; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    with reported("write", path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            try:
                write_all(descriptor, data)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        if durable:
            _sync_folder(path.parent)


def create(path: Path, data: bytes, *, mode: int = PUBLIC) -> bool:
    """Make a small file that must not exist yet; False where it does. It has no temporary file.

    Args:
        path: The file; its folder must exist.
        data: Its content.
        mode: Its permissions before the umask.

    Raises:
        StorageError: The disk refused; the file is not there.
    """
    with reported("write", path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            return False
        try:
            write_all(descriptor, data)
        except OSError:
            with suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(descriptor)
    return True


def overwrite(path: Path, data: bytes) -> None:
    """Rewrite a small text file without giving it a new inode: a lock file must stay the one that is locked.

    What was longer before is covered with spaces, in one write, so that no reader meets it half empty.

    Raises:
        StorageError: The disk refused.
    """
    with reported("write", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PUBLIC)
        try:
            write_all(descriptor, data.rstrip().ljust(os.fstat(descriptor).st_size - 1) + b"\n")
        except OSError:
            # No owner at all is better than one that cannot be read.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            raise
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file; one that is gone already is fine.

    Raises:
        StorageError: The disk refused.
    """
    with reported("remove", path), suppress(FileNotFoundError):
        os.unlink(path)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it; links are removed, not followed.

    Raises:
        StorageError: The disk refused; a part may be gone.
    """
    # Imported here: only housekeeping needs it.
    import shutil

    with reported("remove", path), suppress(FileNotFoundError):
        if path.is_symlink():
            os.unlink(path)
        else:
            shutil.rmtree(path)


def move(path: Path, to: Path) -> None:
    """Give a file or folder another name on the same file system.

    Raises:
        StorageError: The disk refused.
    """
    with reported("rename", path):
        os.rename(path, to)


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names in a folder.

    Raises:
        StorageError: The disk refused.
    """
    with reported("bring to disk", path):
        _sync_folder(path)


def make_folder(path: Path, *, ignored: bool = False) -> None:
    """Make a folder and those above it.

    Args:
        path: The folder.
        ignored: Where this call is what made it, keep git away from it.

    Raises:
        StorageError: The disk refused.
    """
    with reported("make the folder", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            if not path.is_dir():
                raise
            return
    if ignored:
        create(path / ".gitignore", _GITIGNORE)


def make_new_folder(path: Path) -> bool:
    """Make a folder that must not exist yet, and wait until the disk has it; False where it does.

    Raises:
        StorageError: The disk refused.
    """
    with reported("make the folder", path):
        try:
            path.mkdir()
        except FileExistsError:
            return False
        _sync_folder(path.parent)
    return True


def remove_temporaries(
    folder: Path, *, of: str = "", is_dead: Callable[[int], bool] = lambda _pid: True
) -> int:
    """Remove the temporary files that dead writers left in a folder; how many they were.

    Args:
        folder: The folder; one that is not there holds none.
        of: Only those of files whose name begins so.
        is_dead: Whether the process of an id has ended; for a folder that others may be writing in.

    Raises:
        StorageError: The disk refused.
    """
    count = 0
    with reported("sweep", folder):
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        for name in names:
            match = _TEMPORARY.fullmatch(name)
            if match and match["name"].startswith(of) and is_dead(int(match["pid"])):
                with suppress(FileNotFoundError):
                    os.unlink(folder / name)
                    count += 1
    return count


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it: the kernel may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
