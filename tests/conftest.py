"""What every test stands on: an environment without our own variables, and projects to run in."""

from __future__ import annotations

import os
import signal

import pytest

from codex_orchestrator.cli import main
from tests.support.environment import clean_environment
from tests.support.live import Live
from tests.support.projects import Project
from tests.support.repositories import Repo, git_variables


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in set(os.environ) - set(clean_environment()):
        if name not in ("PYTEST_CURRENT_TEST", "PYTEST_VERSION"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _interrupts_arrive():
    # A shell starts what runs in the background with SIGINT ignored, which processes inherit.
    # One that outlives its terminal (nohup) ignores SIGHUP, and so would they.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hang_up)


@pytest.fixture(autouse=True, scope="session")
def _temporary_folder_outside_of_projects(tmp_path_factory):
    # A test that defines nothing would find, and run, the project that its folder lies in.
    for folder in tmp_path_factory.getbasetemp().parents:
        if (folder / "codex.orchestrator.json").exists():
            pytest.exit(f"{folder} is a project: set TMPDIR to a folder outside of it", returncode=4)


@pytest.fixture
def no_waiting_for_the_disk(monkeypatch):
    """Nobody cuts the power here."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def project(tmp_path) -> Project:
    """An empty project folder, with a ``.git`` so that nothing above it counts."""
    root = tmp_path / "project"
    (root / ".git").mkdir(parents=True)
    return Project(root)


@pytest.fixture
def live(project):
    """Runs that go on while the test looks."""
    live = Live(project)
    yield live
    live.end()


@pytest.fixture
def plain(tmp_path) -> Repo:
    """A folder outside any repository."""
    root = tmp_path / "project"
    root.mkdir()
    return Repo(root, git_variables(tmp_path))


@pytest.fixture
def empty(plain) -> Repo:
    """A repository without a commit."""
    plain.git("init", "--quiet", "--initial-branch", "main")
    return plain


@pytest.fixture
def guard(plain, monkeypatch, capsys):
    """Run ``guard`` in that folder, in this process: exit code, stdout, stderr."""
    monkeypatch.chdir(plain.root)
    for name, value in plain.environ.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["guard", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
