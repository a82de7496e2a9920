"""Code of ours never takes a module of the folder that it judges for one of its own."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from tests.support.environment import needs_xdist
from tests.support.repositories import Repo, git_variables

# Ours, those that we stand on, and those of Python's that everything imports.
MODULES = (
    *("codex_orchestrator", "pytest_codex", "pytest", "xdist", "execnet", "filelock", "pydantic", "rich"),
    *(
        "argparse",
        "types",
        "select",
        "json",
        "signal",
        "struct",
        "threading",
        "sitecustomize",
        "usercustomize",
    ),
)
OURS = [sys.executable, "-P", "-m"]


@pytest.fixture
def repo(project, tmp_path) -> Repo:
    """A repository with a change that no spec knows of, and modules that leave a mark."""
    (project.root / ".git").rmdir()
    repo = Repo(project.root, git_variables(tmp_path))
    repo.git("init", "--quiet")
    repo.write("pyproject.toml", '[project]\nname = "x"\nversion = "1"\n')
    repo.commit("src/a.py")
    repo.git("update-ref", "refs/remotes/origin/main", "HEAD")
    repo.commit("src/a.py")
    for name in MODULES:
        repo.write(f"{name}.py", f"open({str(tmp_path / 'mark')!r}, 'a').write({name!r} + '\\n')\n")
    project.environment.update(repo.environ)
    return repo


def run(project, *words) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OURS, *words],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_change_cannot_replace_the_guard_that_judges_it(project, repo, tmp_path):
    done = run(project, "codex_orchestrator", "start", "implementation-gate", "--only", "spec-guard", "-q")
    assert not (tmp_path / "mark").exists(), (tmp_path / "mark").read_text()
    assert done.returncode == 1
    assert "Guardrails: spec-guard failed" in done.stdout


@pytest.mark.parametrize("stage", ["docs:check", "diff-budget", "review"])
def test_nor_any_other_stage_of_ours(project, repo, tmp_path, stage):
    run(project, "codex_orchestrator", "start", "implementation-gate", "--only", stage, "-q")
    assert not (tmp_path / "mark").exists(), (tmp_path / "mark").read_text()
    entry = next(entry for entry in project.manifest()["commands"] if entry["id"] == stage)
    assert entry["status"] == "succeeded"


@needs_xdist
def test_nor_what_workers_are_made_of(project, repo, tmp_path):
    project.pipeline("echo one", "echo two")
    done = run(project, "pytest", *project.pytest_words, "--codex-pipeline=work", "-n1")
    assert not (tmp_path / "mark").exists(), (tmp_path / "mark").read_text()
    assert done.returncode == 0, done.stdout


def test_nor_the_module_that_starter_scripts_look_for(project, repo, tmp_path):
    assert run(project, "codex_orchestrator", "init").returncode == 0
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "python3").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (bin_folder / "python3").chmod(0o755)
    script = project.root / "scripts/mcp-runner-start.sh"
    environment = {**project.environment, "PATH": f"{bin_folder}:/usr/bin:/bin"}
    subprocess.run(
        ["bash", script, "--help"], cwd=project.root, env=environment, check=False, capture_output=True
    )
    assert not (tmp_path / "mark").exists(), (tmp_path / "mark").read_text()
