"""Disks that refuse, and processes that end in the middle of what they do."""

from __future__ import annotations

import errno
import os

FULL = OSError(errno.ENOSPC, "No space left on device")


class Death(BaseException):
    """The process ends here: nothing may catch this."""


def refused(path, *_, **__) -> None:
    """A call that opens or lists, refused: permissions do not stop the superuser."""
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


class Disk:
    """The system calls of the writers on files, of which one may fail or take only a part."""

    def __init__(self, *, fail_at: int | None = None, most: int | None = None) -> None:
        self._fail_at = fail_at
        self._most = most
        self.calls: list[str] = []
        self._folders: set[int] = set()

    def __getattr__(self, name: str):
        real = getattr(os, name)
        if name not in ("open", "write", "fsync", "rename", "close", "ftruncate"):
            return real

        def call(*arguments, **keywords):
            if name == "open" and arguments[1] & os.O_DIRECTORY:
                folder = real(*arguments, **keywords)
                self._folders.add(folder)
                return folder
            if name == "close" and arguments[0] in self._folders:
                self._folders.remove(arguments[0])
                return real(*arguments)
            self.calls.append(name)
            if self._fail_at == len(self.calls) - 1:
                if name == "close":
                    real(*arguments)
                raise FULL
            if name == "write" and self._most is not None:
                return real(arguments[0], arguments[1][: self._most])
            return real(*arguments, **keywords)

        return call
