"""Repositories of many shapes: what `init`, `plan`, `doctor` and the packaged pipelines make of each.

The tools are stand-ins that succeed, unless a shape says otherwise: what counts is which of them is called.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.projects import Project
from tests.support.repositories import Repo, git_variables

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

# What stages and guards need of a machine, whatever it is that they are for.
ALWAYS = (
    "sh",
    "bash",
    "git",
    "env",
    "tee",
    "cat",
    "test",
    "dirname",
    "uname",
    "rm",
    "sleep",
    "true",
    "false",
)
ALL_SCRIPTS = {"build": "node build.js", "lint": "node lint.js", "test": "node test.js"}
PROJECT = '[project]\nname = "demo"\nversion = "1"\n'
TESTS = {"tests/test_one.py": "def test_one():\n    assert True\n"}
GUARDS = ("spec-guard", "docs:check", "diff-budget", "review")


def package(scripts=ALL_SCRIPTS, **keys) -> str:
    return json.dumps({"name": "demo", "version": "1.0.0", "scripts": scripts, **keys}, indent=2) + "\n"


@dataclass(frozen=True)
class Shape:
    """A repository, and what is expected of the product in it.

    Attributes:
        files: By path; one that ends with a slash is a folder.
        tools: The programs that are on PATH beside `ALWAYS`.
        installed: The programs and packages of a ``.venv``; None without one.
        kind: What ``init`` calls it.
        stages: By deed, the command that ``init`` writes down; those that it leaves out are not there.
        missing: By deed, what the packaged pipeline skips, and how its reason begins.
        broken: Tools that fail.
        failed: The stages that then fail.
    """

    files: dict[str, str]
    tools: tuple[str, ...]
    kind: str
    stages: dict[str, str]
    missing: dict[str, str] = field(default_factory=dict)
    installed: tuple[str, ...] | None = None
    broken: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def scripts_by(manager: str) -> dict[str, str]:
    return {deed: f"{manager} run {deed}" for deed in ALL_SCRIPTS}


NO_BUILD = {"build": 'package.json has no script "build"'}
NO_TESTS = "there are no tests"
JUSTFILE = """\
set shell := ["sh", "-c"]
version := "1"

build target="all": clean
    true
@test *args:
    true
clean:
    true
"""
TASKFILE = """\
version: '3'

tasks:
  lint:
    cmds:
      - build: x
  'test':
    cmds: [go test]
"""
HATCH = """\
[tool.hatch.envs.default.scripts]
test = 'pytest'
[tool.hatch.envs.style.scripts]
check = 'ruff'
"""
POETRY = """\
[tool.poetry]
name = 'demo'
[tool.poetry.group.dev.dependencies]
pytest = '*'
"""
MAKEFILE = "build:\n\ttrue\nlint:\n\ttrue\ntest:\n\ttrue\n"

SHAPES = {
    # ---- Node
    "npm, all scripts": Shape({"package.json": package()}, ("npm",), "npm", scripts_by("npm")),
    "npm, no build (express)": Shape(
        {"package.json": package({"lint": "node l.js", "test": "node t.js"}), "package-lock.json": "{}"},
        ("npm",),
        "npm",
        {"lint": "npm run lint", "test": "npm run test"},
        NO_BUILD,
    ),
    "npm, a test alone that lints too (p-map)": Shape(
        {"package.json": package({"test": "xo && ava"}, devDependencies={"xo": "1"}), "node_modules/": ""},
        ("npm",),
        "npm",
        {"test": "npm run test"},
        {**NO_BUILD, "lint": 'package.json has no script "lint"'},
    ),
    "npm, as npm init leaves it": Shape(
        {"package.json": package({"test": 'echo "Error: no test specified" && exit 1'})},
        ("npm",),
        "npm",
        {},
        {deed: f'package.json has no script "{deed}"' for deed in ALL_SCRIPTS},
    ),
    "npm, not installed yet": Shape(
        {
            "package.json": package({"test": "vitest run"}, devDependencies={"vitest": "3"}),
            "package-lock.json": "{}",
        },
        ("npm",),
        "npm",
        {"test": "npm run test"},
        {
            **NO_BUILD,
            "lint": 'package.json has no script "lint"',
            "test": "node_modules is not there: npm ci",
        },
        broken=("npm",),
        failed=("test",),
    ),
    "npm, a red lint": Shape(
        {"package.json": package(), "Makefile": MAKEFILE},
        ("npm", "make"),
        "npm",
        scripts_by("npm"),
        broken=("npm run lint",),
        failed=("lint",),
    ),
    "npm workspaces, scripts in packages (mdx)": Shape(
        {
            "package.json": package({"test": "node t.js"}, workspaces=["packages/*"]),
            "packages/a/package.json": package({"build": "node b.js"}),
            "packages/b/package.json": package({}),
        },
        ("npm",),
        "npm",
        {"build": "npm run build --workspaces --if-present", "test": "npm run test"},
        {"lint": 'package.json has no script "lint"'},
    ),
    "pnpm by its lock file": Shape(
        {"package.json": package(), "pnpm-lock.yaml": "lockfileVersion: '9.0'\n"},
        ("pnpm",),
        "pnpm",
        scripts_by("pnpm"),
    ),
    "pnpm by packageManager, another lock file left over": Shape(
        {"package.json": package(packageManager="pnpm@9.1.0"), "package-lock.json": "{}"},
        ("pnpm", "npm"),
        "pnpm",
        scripts_by("pnpm"),
    ),
    "pnpm workspaces": Shape(
        {
            "package.json": package({}),
            "pnpm-lock.yaml": "",
            "pnpm-workspace.yaml": "packages:\n  # all\n  - 'libs/*'\n  - '!libs/old'\n  - web\n",
            "libs/a/package.json": package({"test": "node t.js"}),
            "libs/old/package.json": package({"lint": "node l.js"}),
            "web/package.json": package({"build": "node b.js"}),
        },
        ("pnpm",),
        "pnpm",
        {
            "build": "pnpm --recursive --if-present run build",
            "test": "pnpm --recursive --if-present run test",
        },
        {"lint": 'package.json has no script "lint"'},
    ),
    "yarn classic": Shape(
        {"package.json": package(), "yarn.lock": "# yarn lockfile v1\n"},
        ("yarn",),
        "yarn",
        scripts_by("yarn"),
    ),
    "yarn berry workspaces": Shape(
        {
            "package.json": package({}, packageManager="yarn@4.5.0", workspaces={"packages": ["apps/**"]}),
            "yarn.lock": "",
            ".yarnrc.yml": "nodeLinker: pnp\n",
            "apps/web/package.json": package({"lint": "node l.js", "test": "node t.js"}),
        },
        ("yarn",),
        "yarn",
        {
            "lint": "yarn workspaces foreach --all run lint",
            "test": "yarn workspaces foreach --all run test",
        },
        NO_BUILD,
    ),
    "bun": Shape({"package.json": package(), "bun.lock": "{}"}, ("bun",), "bun", scripts_by("bun")),
    "a package manager that is not installed": Shape(
        {"package.json": package(packageManager="pnpm@10.0.0")},
        ("npm",),
        "pnpm",
        scripts_by("pnpm"),
        dict.fromkeys(ALL_SCRIPTS, "pnpm is not installed: corepack enable, or npm install -g pnpm"),
        failed=("build", "lint", "test"),
    ),
    "a package.json that is none": Shape(
        {"package.json": "{ not json"},
        ("npm",),
        "npm",
        {},
        {deed: f'package.json has no script "{deed}"' for deed in ALL_SCRIPTS},
    ),
    # ---- files that name commands
    "make": Shape({"Makefile": MAKEFILE}, ("make",), "make", {deed: f"make {deed}" for deed in ALL_SCRIPTS}),
    "just": Shape(
        {"justfile": JUSTFILE},
        ("just",),
        "just",
        {"build": "just build", "test": "just test"},
        {"lint": 'nothing here has the name "lint"'},
    ),
    "Taskfile": Shape(
        {"Taskfile.yml": TASKFILE},
        ("task",),
        "task",
        {"lint": "task lint", "test": "task test"},
        {"build": 'nothing here has the name "build"'},
    ),
    "npm scripts, and make for what they lack": Shape(
        {"package.json": package({"test": "node t.js"}), "Makefile": "lint:\n\ttrue\n"},
        ("npm", "make"),
        "npm",
        {"lint": "make lint", "test": "npm run test"},
        NO_BUILD,
    ),
    # ---- Python
    "pip with a .venv": Shape(
        {"pyproject.toml": PROJECT + "[tool.ruff]\n", **TESTS},
        (),
        "python",
        {
            "build": ".venv/bin/python -m build",
            "lint": ".venv/bin/ruff check .",
            "test": ".venv/bin/python -m pytest",
        },
        installed=("ruff", "pytest", "build"),
    ),
    "pip with a .venv that lacks the tools": Shape(
        {"pyproject.toml": PROJECT + "[tool.ruff]\n[tool.mypy]\n", **TESTS},
        (),
        "python",
        {
            "build": ".venv/bin/python -m build",
            "lint": "ruff check .",
            "types": "mypy .",
            "test": ".venv/bin/python -m pytest",
        },
        {
            "build": "build is not installed: {venv}/python -m pip install build",
            "lint": "ruff is not installed: {venv}/python -m pip install ruff",
            "types": "mypy is not installed: {venv}/python -m pip install mypy",
            "test": "pytest is not installed: {venv}/python -m pip install pytest",
        },
        installed=(),
        broken=("python -m",),
        failed=("build", "lint", "types", "test"),
    ),
    "src layout, no environment (itsdangerous without anything)": Shape(
        {
            "pyproject.toml": PROJECT.replace("demo", "unheard-of"),
            "src/unheard/__init__.py": "",
            "tests/test_it.py": "import pytest\n",
            "tox.ini": "[tox]\nenv_list = py, style\n[testenv:style]\ncommands = pre-commit\n",
        },
        (),
        "python",
        {
            "build": "python3 -m build",
            "lint": "tox -e style",
            "test": "tox -e py",
        },
        {
            "lint": "tox is not installed: pipx install tox",
            "test": "tox is not installed: pipx install tox",
        },
        failed=("build", "lint", "test"),
    ),
    "tox and pre-commit installed (itsdangerous)": Shape(
        {
            "pyproject.toml": PROJECT,
            **TESTS,
            "tox.ini": "[tox]\nenv_list = py, typing\n[testenv:typing]\ncommands = mypy\n",
            ".pre-commit-config.yaml": "repos: []\n",
        },
        ("tox", "pre-commit", "python3"),
        "python",
        {
            "build": "python3 -m build",
            "lint": "pre-commit run --all-files",
            "types": "tox -e typing",
            "test": "tox -e py",
        },
    ),
    "nox (packaging, structlog)": Shape(
        {
            "pyproject.toml": PROJECT + "[tool.ruff]\n",
            **TESTS,
            "noxfile.py": (
                "import nox\n\n@nox.session(python=['3.11', '3.12'])\ndef tests(session):\n    pass\n\n"
                "@nox.session(name='lint', reuse_venv=True)\ndef run_linters(session):\n    pass\n"
            ),
        },
        ("nox", "python3"),
        "python",
        {"build": "python3 -m build", "lint": "nox -s lint", "test": "nox -s tests"},
    ),
    "uv": Shape(
        {
            "pyproject.toml": PROJECT + "[dependency-groups]\ndev = ['pytest', 'ruff']\n[tool.ruff]\n",
            "uv.lock": "",
            **TESTS,
        },
        ("uv",),
        "python",
        {"build": "uv build", "lint": "uv run ruff check .", "test": "uv run pytest"},
    ),
    "poetry": Shape(
        {
            "pyproject.toml": POETRY,
            "poetry.lock": "",
            "setup.cfg": "[flake8]\nmax-line-length = 100\n",
            **TESTS,
        },
        ("poetry", "flake8"),
        "python",
        {
            "build": "poetry build",
            "lint": "poetry run flake8 --extend-exclude .venv,venv,node_modules,build,dist",
            "test": "poetry run pytest",
        },
    ),
    "pdm with scripts": Shape(
        {
            "pyproject.toml": PROJECT + "[tool.pdm.scripts]\nlint = 'x'\ntest = 'y'\n",
            "pdm.lock": "",
            **TESTS,
        },
        ("pdm",),
        "python",
        {"build": "pdm build", "lint": "pdm run lint", "test": "pdm run test"},
    ),
    "hatch with environments": Shape(
        {
            "pyproject.toml": PROJECT + HATCH,
            **TESTS,
        },
        ("hatch", "python3"),
        "python",
        {"build": "python3 -m build", "lint": "hatch run style:check", "test": "hatch run test"},
    ),
    "a script beside settings of tools, no package and no tests": Shape(
        {"pyproject.toml": "[tool.ruff]\nline-length = 100\n", "do.py": "print('done')\n"},
        ("ruff",),
        "python",
        {"lint": "ruff check ."},
        {"build": "pyproject.toml describes no package", "test": NO_TESTS},
    ),
    "unittest, nothing else": Shape(
        {
            "setup.py": "from setuptools import setup\nsetup(name='demo')\n",
            "tests/__init__.py": "",
            "tests/test_it.py": "import unittest\n",
        },
        ("python3",),
        "python",
        {"build": "python3 -m build", "test": "python3 -m unittest discover -s tests -t ."},
    ),
    "a Makefile and tools of Python": Shape(
        {"pyproject.toml": PROJECT + "[tool.mypy]\n", "Makefile": "lint:\n\ttrue\n", **TESTS},
        ("make",),
        "python",
        {
            "build": ".venv/bin/python -m build",
            "lint": "make lint",
            "test": ".venv/bin/python -m pytest",
        },
        installed=("pytest", "build"),
    ),
    # ---- Cargo, Go
    "Cargo workspace": Shape(
        {"Cargo.toml": "[workspace]\nmembers = ['a']\n", "rustfmt.toml": "", "a/Cargo.toml": ""},
        ("cargo", "cargo-clippy", "cargo-fmt"),
        "rust",
        {
            "build": "cargo build --workspace",
            "lint": "cargo fmt --all --check && cargo clippy --workspace --all-targets",
            "test": "cargo test --workspace",
        },
    ),
    "Cargo without clippy": Shape(
        {"Cargo.toml": "[package]\nname = 'demo'\n"},
        ("cargo",),
        "rust",
        {"build": "cargo build", "lint": "cargo clippy --all-targets", "test": "cargo test"},
        {"lint": "cargo-clippy is not installed: rustup component add clippy"},
    ),
    "Go with golangci-lint": Shape(
        {"go.mod": "module demo\n", ".golangci.yml": ""},
        ("go", "golangci-lint"),
        "go",
        {"build": "go build ./...", "lint": "golangci-lint run", "test": "go test ./..."},
    ),
    "Go with copies of other modules": Shape(
        {"go.mod": "module demo\n", "vendor/x/x.go": "package x\n"},
        ("go",),
        "go",
        {"build": "go build ./...", "lint": "go vet ./...", "test": "go test ./..."},
    ),
    # ---- nothing
    "documents alone": Shape({"README.md": "# Demo\n"}, (), "bare", {}),
    "empty": Shape({}, (), "bare", {}),
}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that has no more than these programs: its PATH; what is broken fails."""

    def make(tools=(), broken=()) -> str:
        folder = tmp_path / "machine"
        folder.mkdir()
        for name in ALWAYS:
            if found := shutil.which(name):
                (folder / name).symlink_to(found)
        for name in tools:
            stand_in(folder / name, broken)
        monkeypatch.setenv("PATH", str(folder))
        return str(folder)

    return make


def stand_in(path: Path, broken=()) -> None:
    """A program that succeeds, but for the calls that are to fail."""
    calls = [f'"{call}"*) exit 1;;' for call in broken]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\ncase "{path.name} $*" in {" ".join(calls)} *) exit 0;; esac\n')
    path.chmod(0o755)


def made(root: Path, shape: Shape) -> None:
    """Put the files of a shape into a folder."""
    for name, text in shape.files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            (path / ".keep").write_text("")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if shape.installed is not None:
        folder = root / ".venv"
        stand_in(folder / "bin" / "python", shape.broken)
        packages = folder / "lib" / "python3.11" / "site-packages"
        packages.mkdir(parents=True)
        (folder / "pyvenv.cfg").write_text("home = /\n")
        for name in shape.installed:
            stand_in(folder / "bin" / name, shape.broken)
            (packages / name).mkdir()
            (packages / name / "__init__.py").write_text("")


def listing(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).as_posix().startswith((".git/", ".runs/", "out/"))
    }


@pytest.fixture
def repository(project, tmp_path):
    """Make a shape a git repository with a first commit."""

    def make(shape: Shape) -> Repo:
        (project.root / ".git").rmdir()
        repo = Repo(project.root, git_variables(tmp_path))
        repo.git("init", "--quiet", "--initial-branch", "main")
        made(project.root, shape)
        repo.git("add", "--all")
        repo.git("commit", "--quiet", "--allow-empty", "--message", "first")
        return repo

    return make


def planned(said, pipeline: str) -> dict[str, dict]:
    code, out, err = said("plan", pipeline, "--format", "json")
    assert code == 0, err
    return {stage["id"]: stage for stage in json.loads(out)["stages"]}


# The first shape of each kind, and of each set of stages that fail.
GATED = {(shape.kind, shape.failed): name for name, shape in reversed(SHAPES.items())}.values()


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_found_is_planned_written_down_and_run(project, said, repository, machine, name):
    shape = SHAPES[name]
    repository(shape)
    path = machine(shape.tools, shape.broken)
    before = listing(project.root)
    venv = str(project.root / ".venv" / "bin")
    missing = {deed: reason.format(venv=venv) for deed, reason in shape.missing.items()}

    # The packaged pipelines: each stage is there, and what cannot be run says why before anything runs.
    packaged = planned(said, "diagnostics")
    assert list(packaged)[-1] == "spec-guard"
    deeds = [stage for stage in packaged if stage != "spec-guard"]
    assert [deed for deed in deeds if deed != "types"] == ([] if shape.kind == "bare" else list(ALL_SCRIPTS))
    for deed in deeds:
        skip = packaged[deed].get("skip")
        if deed in missing:
            assert (skip or "").startswith(missing[deed]), (deed, skip)
        elif deed in shape.stages:
            assert skip is None, (deed, skip)
    code, doctor, _ = said("doctor", "--format", "json")
    assert code == 0
    told = {check["name"]: check for check in json.loads(doctor)["checks"]}["pipeline diagnostics"]
    reasons = "\n".join([told["detail"], told["hint"] or ""])
    assert all(missing[deed].partition(": ")[0] in reasons for deed in missing)
    assert listing(project.root) == before

    # What `init` writes down, and that it writes nothing else, once.
    code, out, _ = said("init", "--format", "json")
    assert code == 0
    answer = json.loads(out)
    assert answer["kind"] == shape.kind
    assert {each["id"]: each["command"] for each in answer["stages"] if each["command"]} == shape.stages
    after = listing(project.root)
    assert set(after) - set(before) == {"codex.orchestrator.json"} | ({".gitignore"} - set(before))
    assert {path: after[path] for path in before} == before
    assert said("init")[0] == 0
    assert listing(project.root) == after
    stages = list(shape.stages)
    assert list(planned(said, "diagnostics")) == [*stages, "spec-guard"]
    assert list(planned(said, "implementation-gate")) == [GUARDS[0], *stages, *GUARDS[1:]]

    # How that ends.
    project.environment |= {**git_variables(project.root.parent), "PATH": path}
    ends(project.start("diagnostics"), shape.failed, in_order=True)
    # Its stages are those of diagnostics, as was just planned, and its guards ask for none of them: how it
    # ends can differ by what is red, and by the kind at most.
    if name in GATED:
        ends(project.start("implementation-gate"), shape.failed, in_order=False)
    assert listing(project.root).keys() >= after.keys()


def ends(run, failed: tuple[str, ...], *, in_order: bool) -> None:
    """Whether a run ended as it should: after a red stage the others only where they need it not."""
    statuses = {entry["id"]: entry["status"] for entry in run.manifest["commands"]}
    red = {name for name, status in statuses.items() if status == "failed"}
    if in_order:
        assert red == set(failed[:1]), (statuses, run.stderr)
    else:
        blocked = {"test"} if "build" in failed else set()
        assert red == set(failed) - blocked, (statuses, run.stderr)
        assert {name for name in GUARDS[:-1] if statuses[name] != "succeeded"} == set(), run.stderr
    assert run.exit_code == (1 if failed else 0), run.stderr
    assert all(status == "succeeded" for status in statuses.values()) is not bool(failed)


def test_the_environment_of_a_shape_is_apart_from_this_one(machine):
    assert shutil.which("pytest", path=machine()) is None
    assert os.environ["PATH"].endswith("machine")


def test_without_git_all_works_the_same(project, said, machine):
    (project.root / ".git").rmdir()
    made(project.root, SHAPES["npm, all scripts"])
    project.environment["PATH"] = machine(("npm",))
    (Path(project.environment["PATH"]) / "git").unlink()
    assert said("init")[0] == 0
    assert said("doctor")[0] == 0
    assert isinstance(project, Project)
    assert project.start("diagnostics").exit_code == 0
    assert project.start("implementation-gate").exit_code == 0
