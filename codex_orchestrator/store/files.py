"""The only writer of bytes: atomic replacement, whole-line appends, folders.

What is replaced is either the old file or the new one, never a mixture: a unique temporary file
beside it, fsync, rename, fsync of the folder (docs/reference/files.md, "How files are written").
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from codex_orchestrator.errors import StorageError

_PUBLIC = 0o666
PRIVATE = 0o600
_GITIGNORE = "# Made by codex-orchestrator: evidence of runs is not source.\n*\n"


@contextmanager
def _reported(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"Cannot {action} {path}: {reason}.",
            hint="Make room, or point CODEX_ORCHESTRATOR_RUNS_DIR and CODEX_ORCHESTRATOR_OUT_DIR elsewhere.",
        ) from error


def replace(path: Path, data: bytes, *, durable: bool = True, mode: int = _PUBLIC) -> None:
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
    with _reported("write", path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            try:
                _write_all(descriptor, data)
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


def append(path: Path, data: bytes) -> None:
    """Append whole lines and wait until the disk has them.

    Raises:
        StorageError: The disk refused; a torn last line may be there, which readers tolerate.
    """
    with _reported("append to", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PUBLIC)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def overwrite(path: Path, data: bytes) -> None:
    """Rewrite a file without giving it a new inode: a lock file must stay the one that is locked.

    Raises:
        StorageError: The disk refused.
    """
    with _reported("write", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _PUBLIC)
        try:
            os.ftruncate(descriptor, 0)
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file; one that is gone already is fine.

    Raises:
        StorageError: The disk refused.
    """
    with _reported("remove", path), suppress(FileNotFoundError):
        os.unlink(path)


def make_folder(path: Path, *, ignored: bool = False) -> None:
    """Make a folder and those above it.

    Args:
        path: The folder.
        ignored: Where this call is what made it, keep git away from it.

    Raises:
        StorageError: The disk refused.
    """
    with _reported("make the folder", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            if not path.is_dir():
                raise
            return
    if ignored:
        replace(path / ".gitignore", _GITIGNORE.encode(), durable=False)


def make_new_folder(path: Path) -> bool:
    """Make a folder that must not exist yet; False where it does.

    Raises:
        StorageError: The disk refused.
    """
    with _reported("make the folder", path):
        try:
            path.mkdir()
        except FileExistsError:
            return False
    return True


class LogFile:
    """An append-only log that stays open; each write is whole lines."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            StorageError: The disk refused.
        """
        self._path = path
        with _reported("open", path):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PUBLIC)

    def write(self, data: bytes) -> None:
        """Append whole lines.

        Raises:
            StorageError: The disk refused.
        """
        with _reported("append to", self._path):
            _write_all(self._descriptor, data)

    def close(self, *, durable: bool) -> None:
        """Close, first waiting (``durable``) until the disk has it all; a second call does nothing.

        Raises:
            StorageError: The disk refused.
        """
        if self._descriptor < 0:
            return
        with _reported("append to", self._path):
            descriptor, self._descriptor = self._descriptor, -1
            try:
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
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
