"""The packaged ``diagnostics`` pipeline: npm, Python and bare repositories."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.environment import discover
from codex_orchestrator.model.definitions import CommandStage

GUARD = f"{sys.executable} -P -m codex_orchestrator guard spec --dry-run"
SHELL_GUARD = "bash scripts/spec-guard.sh --dry-run"
NODE_GUARD = "node scripts/spec-guard.mjs --dry-run"


def stages(root: Path, path: str = "", **variables: str) -> dict[str, CommandStage]:
    """The stages of ``diagnostics`` in a folder, with only these folders on PATH."""
    pipeline = load_definitions(discover(root, {"PATH": path, **variables})).choose("diagnostics")
    return {stage.id: stage for stage in pipeline.stages}


def commands(root: Path, path: str = "", **variables: str) -> dict[str, str]:
    """Their commands."""
    return {name: stage.command for name, stage in stages(root, path, **variables).items()}


def write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}" if name.endswith(".json") else "")


def program(folder: Path, name: str) -> Path:
    """A program of that name that does nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    return path


def venv(root: Path, *modules: str, tools: tuple[str, ...] = ()) -> Path:
    """A folder that looks like the project's ``.venv``, with these modules and programs installed."""
    folder = root / ".venv"
    program(folder / "bin", "python")
    packages = folder / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    for name in modules:
        write(packages, f"{name}/__init__.py")
    for name in tools:
        program(folder / "bin", name)
    return folder / "bin"


@pytest.mark.parametrize(
    ("scripts", "guard"),
    [
        ((), GUARD),
        (("scripts/spec-guard.mjs",), NODE_GUARD),
        (("scripts/spec-guard.sh",), SHELL_GUARD),
        (("scripts/spec-guard.sh", "scripts/spec-guard.mjs"), SHELL_GUARD),
    ],
    ids=["built-in", "node", "shell", "both"],
)
@pytest.mark.parametrize("kind", ["npm", "python", "bare"])
def test_a_repos_own_spec_guard_is_used_where_it_has_one(project, kind, scripts, guard):
    write(project.root, *scripts, *{"npm": ["package.json"], "python": ["setup.cfg"], "bare": []}[kind])
    assert commands(project.root)["spec-guard"] == guard


def test_an_npm_repository_runs_its_npm_scripts(project, tmp_path):
    # A Python project with a package.json is an npm repository.
    write(project.root, "pyproject.toml")
    (project.root / "package.json").write_text(json.dumps({"scripts": SCRIPTS}))
    program(tmp_path / "bin", "npm")
    found = stages(project.root, str(tmp_path / "bin"))
    assert {name: stage.command for name, stage in found.items()} == {
        "build": "npm run build",
        "lint": "npm run lint",
        "test": "npm run test",
        "spec-guard": GUARD,
    }
    assert {stage.skip for stage in found.values()} == {None}
    # Nothing of it depends on the machine but whether it can be run.
    without = stages(project.root)
    assert {name: stage.command for name, stage in without.items()} == commands(
        project.root, str(tmp_path / "bin")
    )
    assert without["build"].skip == "npm is not installed: install Node.js, which brings npm along"


@pytest.mark.parametrize("mark", ["pyproject.toml", "setup.cfg", "setup.py"])
def test_a_python_repository_runs_its_installed_tools(project, mark):
    write(project.root, mark)
    programs = venv(project.root, "build", "pytest", tools=("ruff",))
    assert commands(project.root) == {
        "build": f"{programs}/python -m build",
        "lint": f"{programs}/ruff check .",
        "test": f"{programs}/python -m pytest",
        "spec-guard": GUARD,
    }
    # Where PATH finds those very files, their names say it all.
    assert commands(project.root, path=str(programs)) == {
        "build": "python -m build",
        "lint": "ruff check .",
        "test": "python -m pytest",
        "spec-guard": GUARD,
    }


def test_the_active_environment_comes_before_the_repos_own(project, tmp_path):
    write(project.root, "pyproject.toml")
    venv(project.root, "build")
    active = venv(tmp_path, "pytest")
    found = commands(project.root, VIRTUAL_ENV=str(tmp_path / ".venv"))
    assert found["test"] == f"{active}/python -m pytest"
    assert found["build"].endswith("python -m build")
    build = stages(project.root, VIRTUAL_ENV=str(tmp_path / ".venv"))["build"]
    assert build.skip == f"build is not installed: {active}/python -m pip install build"


def test_a_folder_of_build_output_is_not_the_module_build(project):
    write(project.root, "pyproject.toml", "build/lib/x.py")
    programs = venv(project.root)
    (programs.parent / "lib" / "python3.11" / "site-packages" / "build").mkdir()
    assert (
        stages(project.root)["build"].skip
        == f"build is not installed: {programs}/python -m pip install build"
    )


MAKEFILE = """\
.PHONY: build test
build: dist
\techo made-build
lint tidy:
\techo made-lint
test:: build
\techo made-test
name := test
"""


@pytest.mark.parametrize("name", ["Makefile", "makefile", "GNUmakefile"])
def test_make_targets_come_first_where_make_is_there(project, tmp_path, name):
    write(project.root, "pyproject.toml")
    (project.root / name).write_text(MAKEFILE)
    program(tmp_path / "bin", "make")
    with_make = commands(project.root, path=str(tmp_path / "bin"))
    assert with_make == {
        "build": "make build",
        "lint": "make lint",
        "test": "make test",
        "spec-guard": GUARD,
    }
    programs = venv(project.root, "pytest")
    assert commands(project.root)["test"] == f"{programs}/python -m pytest"


def test_a_makefile_without_the_target_is_passed_over(project, tmp_path):
    write(project.root, "pyproject.toml")
    (project.root / "Makefile").write_text("lint = ruff\nbuild := x\ntester:\n\ttrue\n#test:\n")
    program(tmp_path / "bin", "make")
    programs = venv(project.root, "build", "pytest", tools=("ruff",))
    assert commands(project.root, path=str(tmp_path / "bin")) == {
        "build": f"{programs}/python -m build",
        "lint": f"{programs}/ruff check .",
        "test": f"{programs}/python -m pytest",
        "spec-guard": GUARD,
    }


def test_what_is_missing_is_skipped_and_named(project):
    write(project.root, "pyproject.toml", "tests/test_one.py")
    programs = venv(project.root)
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    # Only what the stages need of PATH: no make and no ruff.
    path = os.pathsep.join(folder for folder in ("/bin", "/usr/bin") if Path(folder).is_dir())
    tools = project.root.parent / "tools"
    tools.mkdir()
    for name in ("sh", "git"):
        (tools / name).symlink_to(shutil.which(name, path=path))
    run = project.start("diagnostics", environment={"PATH": str(tools)})
    assert run.exit_code == 0, run.stderr
    entries = {entry["id"]: entry for entry in run.manifest["commands"]}
    assert list(entries) == ["build", "lint", "test", "spec-guard"]
    for stage, missing in (("build", "build"), ("lint", "ruff"), ("test", "pytest")):
        assert entries[stage]["status"] == "skipped"
        mend = f"{programs}/python -m pip install {missing}"
        assert entries[stage]["summary"] == f"{missing} is not installed: {mend}"
        # It was never tried: there is nothing that failed.
        assert (entries[stage]["exit_code"], entries[stage]["error_file"]) == (None, None)
    assert entries["spec-guard"]["status"] == "succeeded"
    assert run.answer["summary"].split("\n")[0] == "3 stages skipped: build, lint, test."
    assert run.answer["summary"].split("\n")[-1] == "Guardrails: spec-guard succeeded (1 passed)."


@pytest.mark.parametrize("words", [(), ("--jobs", "2")])
def test_a_stage_that_is_left_out_says_why_and_stops_nothing(project, words):
    project.pipeline({"command": "exit 1", "skip": "the licence server is away"}, "echo went on")
    run = project.start("work", *words)
    assert run.exit_code == 0, run.stderr
    left_out, after = run.manifest["commands"]
    assert (left_out["status"], left_out["summary"]) == ("skipped", "the licence server is away")
    assert (left_out["exit_code"], left_out["error_file"]) == (None, None)
    assert after["summary"] == "went on"
    assert (
        json.loads((run.folder / "run-summary.json").read_text())["review"]["decision"]["approved"] is False
    )
    assert [event["type"] for event in run.events("commands/01-s1.ndjson")] == ["stage:completed"]


def test_a_bare_repository_runs_the_guard_alone_and_is_told_so(project):
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    assert commands(project.root) == {"spec-guard": GUARD}
    done = project.cli("start", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "succeeded"
    notice = "Nothing here says how to build, lint or test: diagnostics runs the spec guard alone."
    assert done.stderr.count(notice) == 1


def test_the_notice_is_for_the_packaged_pipeline_only(project):
    project.pipeline("true", name="diagnostics")
    done = project.cli("plan", "diagnostics")
    assert done.returncode == 0
    assert done.stderr == ""


SCRIPTS = {
    "build": "node -e \"require('fs').writeFileSync('built.txt', 'built')\"",
    "lint": "node --check index.js",
    "test": "node test.js",
}


@pytest.fixture
def npm_project(project):
    """A real npm project with a spec guard of its own."""
    for tool in ("npm", "node", "bash"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    # npm keeps logs and a cache in the home folder, and asks the registry for its own updates.
    home = project.root.parent / "home"
    home.mkdir()
    project.environment |= {"HOME": str(home), "NPM_CONFIG_UPDATE_NOTIFIER": "false"}
    (project.root / "package.json").write_text(
        json.dumps({"name": "demo", "version": "1.0.0", "private": True, "scripts": SCRIPTS})
    )
    (project.root / "index.js").write_text("module.exports = (a, b) => a + b;\n")
    (project.root / "test.js").write_text(
        "require('assert').strictEqual(require('./index.js')(1, 2), 3); console.log('1 test passed');\n"
    )
    write(project.root, "scripts/spec-guard.sh")
    (project.root / "scripts/spec-guard.sh").write_text('[ "$1" = --dry-run ] && echo "specs are fresh"\n')
    return project


def test_a_real_npm_project_runs_the_four_stages(npm_project):
    run = npm_project.start("diagnostics", "--approval-policy", "never", "--no-interactive")
    assert run.exit_code == 0, run.stderr
    manifest = run.manifest
    assert [(entry["id"], entry["command"], entry["status"]) for entry in manifest["commands"]] == [
        ("build", "npm run build", "succeeded"),
        ("lint", "npm run lint", "succeeded"),
        ("test", "npm run test", "succeeded"),
        ("spec-guard", SHELL_GUARD, "succeeded"),
    ]
    assert (npm_project.root / "built.txt").read_text() == "built"
    assert "1 test passed" in run.entry("test")["summary"]
    assert run.entry("spec-guard")["summary"] == "specs are fresh"
    assert manifest["guardrails_required"] is True
    assert manifest["plan_target_id"] == "diagnostics:build"
    assert run.answer["summary"] == "Guardrails: spec-guard succeeded (1 passed)."


def test_a_failing_npm_test_fails_the_run_at_that_stage(npm_project):
    (npm_project.root / "index.js").write_text("module.exports = (a, b) => a - b;\n")
    run = npm_project.start("diagnostics")
    assert run.exit_code == 1
    assert [entry["status"] for entry in run.manifest["commands"]] == [
        "succeeded",
        "succeeded",
        "failed",
        "pending",
    ]
    test = run.entry("test")
    assert test["exit_code"] == 1
    assert test["summary"].startswith("Exited with code 1 — ")
    assert run.manifest["status_detail"] == "stage:test:failed"
    assert run.answer["summary"].split("\n")[0] == "Stage 'Test' failed with exit code 1."
    assert "AssertionError" in run.error("test")["details"]["stderr"]
