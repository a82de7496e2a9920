"""The packaged gates ``docs-review`` and ``implementation-gate`` in npm, Python and bare repositories."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.environment import discover
from tests.support.repositories import Repo, git_variables

ROOT = Path(__file__).resolve().parents[2]
OURS = f"{sys.executable} -P -m codex_orchestrator"
OWN = {
    "spec-guard": f"{OURS} guard spec",
    "docs:check": f"{OURS} guard docs",
    "diff-budget": f"{OURS} guard diff-budget",
    "review": f"{OURS} review",
}
NPM = {name: f"npm run {name}" for name in ("build", "lint", "test")}
MAKE = {name: f"make {name}" for name in ("build", "lint", "test")}
LANE = ["spec-guard", "build", "lint", "test", "docs:check", "diff-budget", "review"]
DOCS = ["spec-guard", "docs:check", "review"]


@pytest.fixture
def repo(project, tmp_path) -> Repo:
    """The project's folder as a git repository without a commit."""
    repo = Repo(project.root, {**git_variables(tmp_path), "NPM_CONFIG_UPDATE_NOTIFIER": "false"})
    repo.git("init", "--quiet", "--initial-branch", "main")
    repo.write(".gitignore", "/.runs/\n/out/\n")
    return repo


def commands(root: Path, pipeline: str, path: str = "") -> dict[str, str]:
    """The commands of a pipeline in a folder, with only these folders on PATH."""
    stages = load_definitions(discover(root, {"PATH": path})).choose(pipeline).stages
    return {stage.id: stage.command for stage in stages}


def scripts(**named: str) -> str:
    """A package.json."""
    return json.dumps({"name": "demo", "version": "1.0.0", "private": True, "scripts": named})


def with_make(folder: Path) -> str:
    """A folder for PATH that has a make."""
    folder.mkdir()
    (folder / "make").write_text("#!/bin/sh\n")
    (folder / "make").chmod(0o755)
    return str(folder)


GUARD_FILES = {"scripts/spec-guard.sh": "", "scripts/diff-budget.mjs": ""}
FITTED = {
    "npm": ({"package.json": scripts()}, {**NPM, **OWN}),
    "npm, own scripts": (
        {"package.json": scripts(**{"docs:check": "x", "diff-budget": "x", "review": "x"})},
        {
            **NPM,
            "spec-guard": OWN["spec-guard"],
            **{name: f"npm run {name}" for name in ("docs:check", "diff-budget", "review")},
        },
    ),
    "npm, own files": (
        {"package.json": scripts(), **GUARD_FILES},
        {
            **NPM,
            **OWN,
            "spec-guard": "bash scripts/spec-guard.sh",
            "diff-budget": "node scripts/diff-budget.mjs",
        },
    ),
    "npm, bad package.json": ({"package.json": "["}, {**NPM, **OWN}),
    "Python": ({"setup.cfg": "", "Makefile": "build lint test:\n\ttrue\n"}, {**MAKE, **OWN}),
    "Python, own targets": (
        {"setup.cfg": "", "Makefile": "build lint test docs-check diff-budget review:\n\ttrue\n"},
        {
            **MAKE,
            "spec-guard": OWN["spec-guard"],
            "docs:check": "make docs-check",
            "diff-budget": "make diff-budget",
            "review": "make review",
        },
    ),
    "neither": ({}, OWN),
}


@pytest.mark.parametrize("case", FITTED)
def test_gates_fit_themselves_to_the_repository(project, tmp_path, case):
    files, expected = FITTED[case]
    for name, text in files.items():
        path = project.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    path = with_make(tmp_path / "bin")
    gate = commands(project.root, "implementation-gate", path)
    assert list(gate) == [name for name in LANE if name in expected]
    assert gate == expected
    assert commands(project.root, "docs-review", path) == {name: expected[name] for name in DOCS}


def test_gates_require_the_guardrail_and_their_hand_off_needs_all_else(project):
    definitions = load_definitions(discover(project.root, {}))
    for name in ("docs-review", "implementation-gate"):
        pipeline = definitions.choose(name)
        assert pipeline.guardrails_required is True
        assert all(stage.needs is not None and not stage.allow_failure for stage in pipeline.stages)
        *others, review = pipeline.stages
        assert review.needs == tuple(stage.id for stage in others)


@pytest.mark.parametrize(
    ("pipeline", "notice"),
    [
        ("implementation-gate", "implementation-gate runs without build, lint and test.\n"),
        ("docs-review", ""),
    ],
)
def test_a_bare_repository_is_told_what_is_left_out(project, pipeline, notice):
    told = project.cli("plan", pipeline).stderr
    assert told == (f"Nothing here says how to build, lint or test: {notice}" if notice else "")


def test_gates_are_built_from_sets_that_others_can_use(project):
    named = ("strict-spec-guard", "build-lint-test", "docs:check", "diff-budget", "review")
    (project.root / "package.json").write_text(scripts())
    refs = [{"kind": "stage-set", "ref": name} for name in named]
    smoke = {"kind": "command", "id": "smoke", "title": "Smoke", "command": "true"}
    whole = {"kind": "stage-set", "ref": "implementation-gate"}
    own = {"parts": [*refs[:2], smoke, *refs[2:]], "implementation-gate": [whole, smoke]}
    defined = [{"id": name, "title": name, "stages": stages} for name, stages in own.items()]
    project.write({"pipelines": defined})
    assert list(commands(project.root, "parts")) == [*LANE[:4], "smoke", *LANE[4:]]
    assert list(commands(project.root, "implementation-gate")) == [*LANE, "smoke"]


@pytest.mark.parametrize("target", ["docs:check", "DOCS:CHECK", "docs-review:docs:check"])
def test_a_stage_with_a_colon_can_be_the_target(project, target):
    plan = json.loads(project.cli("plan", "docs-review", "--target", target, "--format", "json").stdout)
    assert plan["targetId"] == "docs-review:docs:check"


def test_an_npm_repository_passes_its_gate_and_is_handed_over(project, repo):
    for tool in ("npm", "bash"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    repo.write("package.json", scripts(build="echo built", lint="echo clean", test="echo 1 passed"))
    repo.write("README.md", "Run `npm run build`.\n")
    repo.commit("tasks/index.json")
    project.environment |= repo.environ
    run = project.start("implementation-gate", environment={"BASE_SHA": "HEAD"})
    assert run.exit_code == 0, run.stderr
    assert [(entry["id"], entry["status"]) for entry in run.manifest["commands"]] == [
        (name, "succeeded") for name in LANE
    ]
    assert run.answer["summary"] == "Guardrails: spec-guard succeeded (1 passed)."
    handed = project.cli("logs", "--run", "latest", "--stage", "review").stdout
    assert "## Open questions\n\nNone.\n" in handed
    assert "0 files changed" in handed


TESTED = {
    "spec-guard": "src/new.py",
    "docs:check": "docs/page.md",
    "diff-budget": "long.txt",
}
BROKEN = {"src/new.py": "x = 1\n", "docs/page.md": "See `docs/missing.md`.\n", "long.txt": "x\n" * 801}


@pytest.mark.parametrize("stage", TESTED)
def test_what_a_guard_finds_fails_the_gate_of_a_python_repository(project, repo, stage):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    repo.write("pyproject.toml", '[project]\nname = "demo"\n')
    repo.write("Makefile", "build lint test:\n\t@echo $@ is fine\n")
    repo.commit()
    repo.write(TESTED[stage], BROKEN[TESTED[stage]])
    project.environment |= repo.environ
    run = project.start("implementation-gate", environment={"BASE_SHA": "HEAD"})
    assert run.exit_code == 1, run.stderr
    failed = LANE.index(stage)
    # One red stage hides none of the others; the hand-off is for what has passed.
    assert [entry["status"] for entry in run.manifest["commands"]] == [
        *["succeeded"] * failed,
        "failed",
        *["succeeded"] * (len(LANE) - failed - 2),
        "pending",
    ]


@pytest.mark.skipif(not (ROOT / "pytest_codex").is_dir(), reason="the pages name sources that are not here")
def test_this_repository_passes_its_own_docs_review(tmp_path, project):
    copy = project.root
    (copy / ".git").rmdir()
    left_out = shutil.ignore_patterns(
        *(".git", ".venv", ".nox", ".runs", "out", "build", "dist", "_build", "__pycache__", "*.egg-info"),
        *(".*_cache", ".hypothesis", ".coverage*"),
    )
    shutil.copytree(ROOT, copy, ignore=left_out, dirs_exist_ok=True)
    # That specs grow old is for the gate to say, and must not fail this test one day.
    today = dt.datetime.now(dt.UTC).date().isoformat()
    for spec in (copy / "tasks" / "specs").glob("*.md"):
        spec.write_text(re.sub(r"(?m)^last_review:.*$", f"last_review: {today}", spec.read_text("utf-8")))
    repo = Repo(copy, git_variables(tmp_path))
    repo.git("init", "--quiet", "--initial-branch", "main")
    repo.commit()
    repo.git("update-ref", "refs/remotes/origin/main", "HEAD")
    project.environment |= repo.environ
    done: subprocess.CompletedProcess[str] = project.cli("start", "docs-review", "--format", "json")
    assert done.returncode == 0, project.cli("logs", "--run", "latest").stdout + done.stderr
    statuses = {entry["id"]: entry["status"] for entry in project.manifest()["commands"]}
    assert statuses == dict.fromkeys(DOCS, "succeeded")
    handed = project.cli("logs", "--run", "latest", "--stage", "review").stdout
    assert "## Open questions\n\nNone.\n" in handed
