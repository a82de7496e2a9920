"""``init``: what it writes where, what it leaves alone, and that `start` works after it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = (
    "scripts/agents_mcp_runner.mjs",
    "scripts/mcp-runner-metrics.js",
    "scripts/mcp-runner-poll.sh",
    "scripts/mcp-runner-start.sh",
)
CONFIG = "codex.orchestrator.json"
FILES = (CONFIG, ".gitignore")
ALL_FILES = (CONFIG, *SCRIPTS, ".gitignore")
GATE_GUARDS = ["spec-guard", "docs:check", "diff-budget", "review"]
ALL_SCRIPTS = {"build": "true", "lint": "true", "test": "true"}


@pytest.fixture
def init(said):
    """``init --format json``: exit code, and what became of each file."""

    def run(*words: str) -> tuple[int, dict[str, str]]:
        code, out, _ = said("init", *words, "--format", "json")
        return code, {file["path"]: file["outcome"] for file in json.loads(out)["files"]}

    return run


def npm(project, **scripts: str) -> None:
    package = {"name": "demo", "version": "1.0.0", "private": True, "scripts": scripts}
    (project.root / "package.json").write_text(json.dumps(package))


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the tests' own ``.git``."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git/" not in path.as_posix()
    }


# ------------------------------------------------------------------ what is written


def test_an_empty_folder_gets_every_file(project, init):
    code, outcomes = init()
    assert code == 0
    assert outcomes == dict.fromkeys(FILES, "written")
    assert set(tree(project.root)) == set(FILES)
    assert json.loads((project.root / CONFIG).read_text()) == {
        "taskId": "task-1",
        "defaultPipeline": "diagnostics",
    }


def test_scripts_are_written_where_they_are_asked_for(project, init):
    code, outcomes = init("--scripts")
    assert code == 0
    assert outcomes == dict.fromkeys(ALL_FILES, "written")
    for name in SCRIPTS:
        assert stat.S_IMODE((project.root / name).stat().st_mode) & 0o100, name


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("package.json", '{"scripts": {"poll": "bash scripts/mcp-runner-poll.sh"}}'),
        ("Makefile", "start:\n\tscripts/mcp-runner-start.sh\n"),
        (".github/workflows/ci.yml", "steps:\n  - run: node scripts/agents_mcp_runner.mjs start\n"),
        ("AGENTS.md", "Poll with `scripts/mcp-runner-poll.sh`.\n"),
        ("scripts/mcp-runner-start.sh", "#!/bin/sh\nmine\n"),
    ],
)
def test_scripts_are_written_where_they_are_called(project, said, path, text):
    file = project.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    code, out, _ = said("init")
    assert code == 0
    assert f"{path} calls the scripts of the MCP runner." in out.splitlines()
    assert all((project.root / name).exists() for name in SCRIPTS)
    assert file.read_text() == text
    before = tree(project.root)
    assert said("init")[0] == 0
    assert tree(project.root) == before


def test_a_dry_run_says_the_same_and_writes_nothing(project, said):
    (project.root / "scripts").mkdir()
    (project.root / SCRIPTS[0]).write_text("mine\n")
    before = tree(project.root)
    code, dry, _ = said("init", "--dry-run")
    assert (code, tree(project.root)) == (0, before)
    *told, last = dry.splitlines()
    assert last == "Nothing was written: this was a dry run."
    assert said("init")[1].splitlines()[:-1] == told
    code, again, _ = said("init", "--dry-run", "--force", "--format", "json")
    outcomes = {file["path"]: file["outcome"] for file in json.loads(again)["files"]}
    assert outcomes == {**dict.fromkeys(ALL_FILES, "unchanged"), SCRIPTS[0]: "replaced"}
    assert (project.root / SCRIPTS[0]).read_text() == "mine\n"


def test_the_answers_tell_of_each_file(project, said):
    code, out, err = said("init")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"Repository: {project.root} (bare)",
        *(f"written    {name}" for name in FILES[:-1]),
        "written    .gitignore: /.runs/, /out/",
        "Next: codex-orchestrator doctor, then codex-orchestrator start",
    ]
    code, out, err = said("init", "--format", "json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert {key: document[key] for key in ("root", "kind")} == {"root": str(project.root), "kind": "bare"}
    assert document["files"] == [{"path": name, "outcome": "unchanged", "detail": None} for name in FILES]


def test_the_task_is_the_one_of_the_environment_else_the_folder(project, init, monkeypatch):
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "0042-shop")
    init()
    assert json.loads((project.root / CONFIG).read_text())["taskId"] == "0042-shop"
    monkeypatch.delenv("MCP_RUNNER_TASK_ID")
    init("--force")
    assert json.loads((project.root / CONFIG).read_text())["taskId"] == "project"


def test_a_task_id_that_is_none_is_refused_and_nothing_is_written(project, said, monkeypatch):
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "a/b")
    code, _, err = said("init")
    assert code == 2
    assert 'Invalid MCP_RUNNER_TASK_ID "a/b"' in err
    assert tree(project.root) == {}


def test_it_sets_up_the_repository_that_it_is_called_in(project, init, monkeypatch):
    below = project.root / "a" / "b"
    below.mkdir(parents=True)
    done = project.cli("init", cwd=below)
    assert done.returncode == 0, done.stderr
    assert set(tree(project.root)) == set(FILES)
    other = project.root.parent / "other"
    other.mkdir()
    assert project.cli("init", "--root", str(other), cwd=below).returncode == 0
    assert set(tree(other)) == set(FILES)
    assert project.cli("start", cwd=other).returncode == 0


# ------------------------------------------------------------------ what is left


def test_nothing_is_overwritten(project, init):
    before = {}
    for name in ALL_FILES[:-1]:
        path = project.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"mine: {name}\n")
        before[name] = path.read_bytes()
    code, outcomes = init()
    assert code == 0
    assert outcomes == {**dict.fromkeys(before, "left"), ".gitignore": "written"}
    assert {name: (project.root / name).read_bytes() for name in before} == before


def test_what_is_left_is_told_with_the_way_out(project, said):
    project.write({"pipelines": []})
    code, out, _ = said("init")
    assert code == 0
    assert f"left       {CONFIG}: it is another one; --force replaces it" in out.splitlines()


def test_where_pyproject_has_the_definitions_no_other_file_gets_them(project, said):
    (project.root / "pyproject.toml").write_text('[tool.codex-orchestrator]\ntaskId = "t"\n')
    before = tree(project.root)
    for words in ((), ("--force",)):
        code, out, _ = said("init", *words)
        assert code == 0
        assert f"left       {CONFIG}: pyproject.toml has the definitions" in out.splitlines()
        assert tree(project.root) == {**before, ".gitignore": (project.root / ".gitignore").read_bytes()}
    assert said("plan")[0] == 0


def test_force_replaces_what_differs_and_nothing_else(project, init):
    init("--scripts")
    fresh = tree(project.root)
    (project.root / SCRIPTS[0]).write_text("mine\n")
    (project.root / SCRIPTS[0]).chmod(0o644)
    (project.root / "scripts" / "other.sh").write_text("mine too\n")
    code, outcomes = init("--force")
    assert code == 0
    assert outcomes == {**dict.fromkeys(ALL_FILES, "unchanged"), SCRIPTS[0]: "replaced"}
    assert tree(project.root) == {**fresh, "scripts/other.sh": b"mine too\n"}
    assert os.access(project.root / SCRIPTS[0], os.X_OK)


def test_a_link_is_left_and_with_force_replaced_itself(project, init):
    target = project.root.parent / "elsewhere.json"
    target.write_text("{}")
    (project.root / CONFIG).symlink_to(target)
    assert init()[1][CONFIG] == "left"
    assert init("--force")[1][CONFIG] == "replaced"
    assert target.read_text() == "{}"
    assert not (project.root / CONFIG).is_symlink()


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ("", "# What runs of codex-orchestrator leave\n/.runs/\n/out/\n"),
        ("*.log\n", "\n# What runs of codex-orchestrator leave\n/.runs/\n/out/\n"),
        ("*.log", "\n\n# What runs of codex-orchestrator leave\n/.runs/\n/out/\n"),
        ("out/\r\n", "\r\n# What runs of codex-orchestrator leave\r\n/.runs/\r\n"),
        ("**/.runs/**\n", "\n# What runs of codex-orchestrator leave\n/out/\n"),
        ("# .runs\n!/out/\nweb/out\n", "\n# What runs of codex-orchestrator leave\n/.runs/\n/out/\n"),
        (".runs\n/out/*\n", ""),
        ("/.runs/\n/out/\n", ""),
    ],
)
def test_the_lines_that_gitignore_lacks_are_added_at_its_end(project, init, before, added):
    path = project.root / ".gitignore"
    path.write_bytes(before.encode())
    code, outcomes = init()
    assert code == 0
    assert outcomes[".gitignore"] == ("extended" if added else "unchanged")
    assert path.read_bytes() == (before + added).encode()
    assert init("--force")[1][".gitignore"] == "unchanged"


# ------------------------------------------------------------------ what cannot be written


def test_a_file_that_cannot_be_written_is_named_and_the_others_are_written(project, said):
    (project.root / "scripts").write_text("no folder\n")
    (project.root / ".gitignore").mkdir()
    code, out, _ = said("init", "--scripts", "--format", "json")
    files = {file["path"]: file for file in json.loads(out)["files"]}
    assert code == 1
    assert {name: file["outcome"] for name, file in files.items()} == {
        **dict.fromkeys(ALL_FILES, "failed"),
        CONFIG: "written",
    }
    in_the_way = f"{project.root}/scripts is a file where a folder belongs."
    assert files[SCRIPTS[0]]["detail"] == f"Cannot make the folder {project.root}/scripts: {in_the_way}"
    assert files[".gitignore"]["detail"] == f"{project.root}/.gitignore is a folder where a file belongs."
    code, out, _ = said("init", "--scripts")
    assert code == 1
    assert "Next:" not in out


def test_a_repository_that_is_read_only_stays_as_it_is(project, said, monkeypatch):
    real = os.open

    def refuse(path, flags, *arguments, **keywords):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *arguments, **keywords)

    (project.root / "scripts").mkdir()
    monkeypatch.setattr(os, "open", refuse)
    code, out, _ = said("init", "--format", "json")
    details = [file["detail"] for file in json.loads(out)["files"]]
    assert code == 1
    assert len(details) == len(FILES)
    assert all(detail.endswith(": Read-only file system.") for detail in details), details
    assert tree(project.root) == {}


# ------------------------------------------------------------------ npm


@pytest.mark.parametrize(
    ("scripts", "stages"),
    [
        (ALL_SCRIPTS, ["build", "lint", "test"]),
        ({**ALL_SCRIPTS, "lint": ""}, ["build", "test"]),
        ({"test": "node --test"}, ["test"]),
        ({"test": 'echo "Error: no test specified" && exit 1'}, []),
        ({}, []),
    ],
)
def test_npm_scripts_that_are_missing_are_left_out(project, said, scripts, stages):
    npm(project, **scripts)
    code, out, _ = said("init")
    assert code == 0
    repository, *found = out.splitlines()[:4]
    assert repository == f"Repository: {project.root} (npm)"
    assert [line.split(maxsplit=1) for line in found] == [
        [
            name,
            f'npm run {name} (package.json has the script "{name}")'
            if name in stages
            else f'left out: package.json has no script "{name}"',
        ]
        for name in ALL_SCRIPTS
    ]
    for pipeline, guards in (("diagnostics", ["spec-guard"]), ("implementation-gate", GATE_GUARDS)):
        planned = json.loads(said("plan", pipeline, "--format", "json")[1])
        assert (planned["pipeline"]["id"], planned["pipeline"]["source"]) == (pipeline, "user")
        ids = [stage["id"] for stage in planned["stages"]]
        assert ids == ([*stages, *guards] if pipeline == "diagnostics" else [guards[0], *stages, *guards[1:]])
        assert planned["guardrails"] == {"required": True, "stages": ["spec-guard"]}


@pytest.mark.parametrize("text", ["", "[]", '{"scripts": []}', "{", "[" * 100_000])
def test_a_package_json_that_is_none_has_no_scripts(project, said, text):
    (project.root / "package.json").write_text(text)
    assert said("init")[0] == 0
    planned = json.loads(said("plan", "--format", "json")[1])
    assert [stage["id"] for stage in planned["stages"]] == ["spec-guard"]


# ------------------------------------------------------------------ start works then


def started(project):
    """`init`, then `start` without a word more, as a new user would."""
    del project.environment["MCP_RUNNER_TASK_ID"]
    done = project.cli("init")
    assert done.returncode == 0, done.stderr
    before = set(tree(project.root))
    run = project.start()
    assert run.exit_code == 0, run.stderr
    assert run.manifest["task_id"] == "project"
    assert "No task id given" not in run.stderr
    left = {name for name in set(tree(project.root)) - before if not name.startswith((".runs/", "out/"))}
    return run, left


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
@pytest.mark.parametrize("names", [("build", "lint", "test"), ("test",)])
def test_start_works_in_an_npm_repository(project, names):
    npm(project, **{name: f"node -e \"console.log('{name} done')\"" for name in names})
    run, left = started(project)
    assert [entry["id"] for entry in run.manifest["commands"]] == [*names, "spec-guard"]
    assert {entry["status"] for entry in run.manifest["commands"]} == {"succeeded"}
    assert all(f"{name} done" in run.entry(name)["summary"] for name in names)
    assert left == set()


def test_start_works_in_a_python_repository(project):
    (project.root / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "1.0.0"\n[tool.uv]\npackage = false\n'
    )
    (project.root / "tests").mkdir()
    (project.root / "tests" / "test_one.py").write_text("def test_one():\n    assert True\n")
    # An environment of the project's own that has pytest, and no build.
    programs = project.root / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -B "$@"\n')
    (programs / "python").chmod(0o755)
    installed = project.root / ".venv" / "lib" / "python3.11" / "site-packages" / "pytest"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    run, left = started(project)
    assert [entry["id"] for entry in run.manifest["commands"]] == ["test", "spec-guard"]
    assert run.entry("test")["command"] == ".venv/bin/python -m pytest"
    assert any("1 passed" in event.get("data", "") for event in run.events("commands/01-test.ndjson"))
    assert run.entry("spec-guard")["status"] == "succeeded"
    assert not {name for name in left if "_cache" not in name}


def test_start_works_in_an_empty_folder(project):
    run, left = started(project)
    assert [entry["status"] for entry in run.manifest["commands"]] == ["succeeded"]
    assert left == set()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_sees_the_files_of_init_and_none_of_the_runs(project):
    (project.root / ".git").rmdir()
    subprocess.run(["git", "init", "--quiet", project.root], check=True)
    started(project)
    status = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line[3:] for line in status.stdout.splitlines()} == set(FILES)
