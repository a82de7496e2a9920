"""What the tests of the store stand on."""

from __future__ import annotations

import errno
import os

import pytest

from codex_orchestrator import places
from codex_orchestrator.environment import Environment
from codex_orchestrator.evidence import files, lines, standard_streams
from codex_orchestrator.rules.layout import TaskLayout

FULL = OSError(errno.ENOSPC, "No space left on device")


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


@pytest.fixture
def disk(monkeypatch):
    """Put a `Disk` under the writers."""

    def install(**keywords) -> Disk:
        made = Disk(**keywords)
        for module in (files, lines, standard_streams, places):
            monkeypatch.setattr(module, "os", made)
        return made

    return install


@pytest.fixture
def no_waiting_for_the_disk(monkeypatch):
    """Nobody cuts the power here."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def task(tmp_path) -> TaskLayout:
    """A task whose folders are there."""
    layout = TaskLayout(Environment(tmp_path, tmp_path / ".runs", tmp_path / "out", tmp_path, {}), "t")
    for folder in (layout.cli_dir, layout.out_dir):
        folder.mkdir(parents=True)
    return layout
