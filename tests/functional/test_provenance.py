"""Definition files of other users are refused, and those above the repository that one is in are told of."""

from __future__ import annotations

import json
import os

import pytest

from codex_orchestrator import places
from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.definitions.source import refuse_foreign
from codex_orchestrator.environment import discover
from codex_orchestrator.errors import ConfigurationError

NOBODY = 65534
RUNNING = (
    ("start",),
    ("plan",),
    ("review", "--force"),
    ("guard", "spec"),
    ("guard", "docs"),
)


@pytest.fixture
def foreign(project, monkeypatch):
    """Make a file another user's, as far as this process can."""

    def change(path) -> None:
        if os.geteuid() == 0:
            os.chown(path, NOBODY, -1, follow_symlinks=False)
        else:
            other = os.geteuid() + 1
            monkeypatch.setattr(os, "geteuid", lambda: other)

    return change


@pytest.fixture
def below(project, monkeypatch):
    """A git repository below the project, to work in."""
    project.pipeline("touch ran", name="diagnostics")
    (project.root / "mine/.git").mkdir(parents=True)
    monkeypatch.chdir(project.root / "mine")
    return project.root / "mine"


@pytest.mark.parametrize("words", RUNNING, ids=" ".join)
def test_a_file_of_another_user_is_refused(project, said, foreign, below, monkeypatch, words):
    monkeypatch.chdir(below)
    path = project.root / "codex.orchestrator.json"
    foreign(path)
    code, out, err = said(*words)
    assert (code, out) == (2, "")
    assert f"error: {path} belongs to " in err
    assert "name its folder by --root or CODEX_ORCHESTRATOR_ROOT" in err
    assert not (project.root / ".runs").exists()


def test_nor_is_a_link_of_another_user_to_a_file_of_ours(project, below, foreign):
    path = project.root / "codex.orchestrator.json"
    path.rename(project.root / "own.json")
    path.symlink_to("own.json")
    load_definitions(discover(below, {}))
    foreign(path)
    with pytest.raises(ConfigurationError):
        load_definitions(discover(below, {}))


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_whoever_names_the_root_takes_what_is_there(project, said, foreign, below, monkeypatch, by):
    foreign(project.root / "codex.orchestrator.json")
    words = ["--root", str(project.root)] if by == "flag" else []
    if by == "variable":
        monkeypatch.setenv("CODEX_ORCHESTRATOR_ROOT", str(project.root))
    code, _, err = said("start", "-q", *words)
    assert code == 0, err
    assert (project.root / "ran").exists()
    assert "which lies above" not in err


@pytest.mark.parametrize("words", [("start", "-q"), ("plan", "--format=json")], ids=" ".join)
def test_a_file_above_the_repository_is_told_of(project, said, below, monkeypatch, words):
    project.root.joinpath("mine/deeper").mkdir()
    monkeypatch.chdir(below / "deeper")
    (code, _, err) = said(*words)
    assert code == 0
    path = project.root / "codex.orchestrator.json"
    assert err.splitlines()[0] == f"Using {path}, which lies above the git repository {below}."


def test_a_file_of_the_repository_itself_needs_no_words(project, said, monkeypatch):
    project.pipeline("true")
    (project.root / "below").mkdir()
    monkeypatch.chdir(project.root / "below")
    assert said("plan", "work")[2] == ""


def test_a_reviewer_that_such_a_file_names_is_told_of(project, said, below):
    project.write(
        {
            "review": {"command": "cat > /dev/null"},
            **json.loads((project.root / "codex.orchestrator.json").read_text()),
        }
    )
    said("start", "-q")
    _, _, err = said("review", "--force")
    assert "which lies above the git repository" in err
    assert "Reviewer: cat > /dev/null" in err


@pytest.mark.parametrize(
    ("euid", "owner", "sudo", "taken"),
    [
        (1000, 1000, None, True),
        (1000, 0, None, True),
        (1000, 1001, None, False),
        (0, 0, None, True),
        (0, 1000, None, False),
        (0, 1000, "1000", True),
        (0, 1001, "1000", False),
        (0, 1000, "", False),
        # Anybody may set the variable: it says something only to root.
        (1000, 1001, "1001", False),
    ],
)
def test_whose_definitions_are_taken(project, monkeypatch, euid, owner, sudo, taken):
    path = project.write({})
    variables = {} if sudo is None else {"SUDO_UID": sudo}
    status = list(path.stat())
    status[4] = owner
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(places, "status", lambda path, below: os.stat_result(status))
    monkeypatch.setattr(places, "status_of_chosen", lambda path: os.stat_result(status))
    environment = discover(project.root, variables)
    if taken:
        refuse_foreign(environment)
    else:
        with pytest.raises(ConfigurationError, match=rf"belongs to .*uid {owner}"):
            refuse_foreign(environment)
