"""What the tests of the store stand on."""

from __future__ import annotations

import os

import pytest

from codex_orchestrator.environment import Environment
from codex_orchestrator.run.layout import TaskLayout


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
