"""How much of the fault suite runs, and what its tests stand on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.projects import Project

from .points import Points
from .processes import STAGES, Pool, why_not_traced

# Asked before any test runs: tests themselves see no variables that steer us.
_ASKED = os.environ.get("FAULTS", "")


@pytest.fixture(scope="session")
def points() -> Points:
    """Which points are tried: a sample, all of them (``FAULTS=all``), or the one that FAULTS names."""
    return Points(_ASKED)


@pytest.fixture(scope="session")
def pool():
    """Processes that run projects; none where strace cannot be used."""
    if reason := why_not_traced():
        pytest.skip(reason)
    pool = Pool()
    yield pool
    pool.close()


class Projects:
    """Projects in folders of their own, all equally deep, as paths are walked call by call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, name: str, like: Path | None = None, stages: Sequence = STAGES) -> Path:
        """A project with the pipeline of the suite; ``like`` gives it the past of another one."""
        root = self._folder / name / "project"
        (root / ".git").mkdir(parents=True)
        Project(root).pipeline(*stages)
        for folder in (".runs", "out") if like else ():
            shutil.copytree(like / folder, root / folder)
        return root

    def drop(self, root: Path) -> None:
        """Remove a project that nobody has to look at."""
        shutil.rmtree(root.parent)


@pytest.fixture(scope="session")
def projects(tmp_path_factory) -> Projects:
    """Makes projects."""
    return Projects(tmp_path_factory.mktemp("faults"))
