"""``guard spec`` as a user calls it; the rules themselves are tested beside."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(root, *words):
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@example.invalid")
    subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(project):
    """A repository with one fresh spec and one file of code, all committed."""
    shutil.rmtree(project.root / ".git")
    git(project.root, "init", "-b", "main")
    (project.root / "tasks" / "specs").mkdir(parents=True)
    (project.root / "src").mkdir()
    (project.root / "src" / "code.py").write_text("one = 1\n")
    review(project, 0)
    git(project.root, "add", ".")
    git(project.root, "commit", "-m", "first")
    return project


def review(project, days_ago):
    day = datetime.now(UTC).date() - timedelta(days=days_ago)
    spec = project.root / "tasks" / "specs" / "0001-thing.md"
    spec.write_text(f"---\nid: 0001\nlast_review: {day}\n---\n\nWhat it is.\n")


def change_code(project):
    (project.root / "src" / "code.py").write_text("two = 2\n")


def outdate(project):
    review(project, 31)


def nothing(project):
    """Leave everything as it is."""


@pytest.mark.parametrize(
    ("change", "flags", "code", "said"),
    [
        (nothing, (), 0, "no findings"),
        (change_code, (), 1, "src/code.py"),
        (change_code, ("--dry-run",), 0, "src/code.py"),
        (outdate, (), 1, "0001-thing.md"),
        (outdate, ("--dry-run",), 0, "0001-thing.md"),
        (nothing, ("--base", "HEAD"), 0, "no findings"),
    ],
)
def test_findings_and_exit_codes(repository, change, flags, code, said):
    change(repository)
    done = repository.cli("guard", "spec", *flags)
    assert done.returncode == code, done.stderr
    assert said in done.stdout


def test_a_base_that_is_none_is_bad_use(repository):
    done = repository.cli("guard", "spec", "--base", "no-such-ref", "--format", "json")
    assert done.returncode == 2
    assert "no-such-ref" in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" not in done.stderr


def test_json_is_one_document(repository):
    change_code(repository)
    done = repository.cli("guard", "spec", "--format", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"]


def test_configured_paths_are_code_too(repository):
    repository.write({"guards": {"spec": {"paths": ["lib"]}}})
    (repository.root / "lib").mkdir()
    (repository.root / "lib" / "more.py").write_text("three = 3\n")
    done = repository.cli("guard", "spec")
    assert done.returncode == 1
    assert "lib/more.py" in done.stdout


def test_a_guard_that_is_none_is_bad_use(repository):
    done = repository.cli("guard", "nonsense")
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_it_is_the_guardrail_of_diagnostics_where_a_repo_has_none(repository):
    run = repository.start("diagnostics")
    assert run.exit_code == 0
    assert run.answer["summary"].splitlines()[-1] == "Guardrails: spec-guard succeeded (1 passed)."


GUARD = f"{shlex.quote(sys.executable)} -m codex_orchestrator guard"


@pytest.mark.parametrize(
    ("guard", "exit_code", "summary"),
    [
        ("docs", 0, "Notice: The pages name nothing that could be looked for.\ndocs-guard: no findings"),
        ("evidence", 0, "evidence-guard: not checked: no task list has a checked box."),
        ("diff-budget", 1, "Exited with code 1"),
        ("diff-budget --dry-run", 0, ".: 2 files changed, more than 1. [diff-files]\n"),
        ("diff-budget --override 'both at once'", 0, "Override (--override): both at once\n.: 2 files"),
    ],
)
def test_each_is_fit_to_be_a_stage_and_says_in_the_manifest_what_matters(
    repository, guard, exit_code, summary
):
    repository.pipeline({"id": "guard", "command": f"{GUARD} {guard}"})
    document = json.loads((repository.root / "codex.orchestrator.json").read_text())
    repository.write({**document, "guards": {"diff": {"files": 1}}})
    change_code(repository)
    run = repository.start("work")
    assert run.exit_code == exit_code
    assert run.entry("guard")["summary"].startswith(summary)
