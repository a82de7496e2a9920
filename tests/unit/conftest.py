"""What the tests of the store stand on."""

from __future__ import annotations

import pytest

from codex_orchestrator import places
from codex_orchestrator.environment import Environment
from codex_orchestrator.evidence import files, journal, lines, locks, output
from codex_orchestrator.rules.layout import TaskLayout
from tests.support.disk import Disk


@pytest.fixture
def disk(monkeypatch):
    """Put a `Disk` under the writers."""

    def install(**keywords) -> Disk:
        made = Disk(**keywords)
        for module in (files, lines, output, places):
            monkeypatch.setattr(module, "os", made)
        return made

    return install


@pytest.fixture
def task(tmp_path) -> TaskLayout:
    """A task whose folders are there."""
    layout = TaskLayout(Environment(tmp_path, tmp_path / ".runs", tmp_path / "out", tmp_path, {}), "t")
    for folder in (layout.cli_dir, layout.out_dir):
        folder.mkdir(parents=True)
    return layout


@pytest.fixture
def impatient(monkeypatch):
    """Nobody waits for locks in vain here."""
    monkeypatch.setattr(journal, "held_lock", lambda path, *, below, **_: locks.held_lock(path, below=below))
