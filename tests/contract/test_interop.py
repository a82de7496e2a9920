"""The Node CLI of the same name reads our runs, and we read its."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest

from codex_orchestrator.environment import discover
from codex_orchestrator.pipelines.loader import load_definitions
from codex_orchestrator.pipelines.planner import CommandPlanner

PACKAGE = "@kbediako/codex-orchestrator"
VERSION = "0.2.1"
# A folder whose node_modules has the package, for those who run this often.
INSTALLED = os.environ.get("CODEX_TEST_NODE_CLI")


@pytest.fixture(scope="session")
def node_package(tmp_path_factory) -> Path:
    """The Node CLI's package, installed once for all tests."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = Path(INSTALLED) if INSTALLED else tmp_path_factory.mktemp("node-cli")
    if not INSTALLED:
        words = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--fetch-retries=0",
            "--prefix",
            str(folder),
        ]
        done = subprocess.run(
            [*words, f"{PACKAGE}@{VERSION}"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"npm cannot install {PACKAGE}@{VERSION}: {done.stderr.strip()[-300:]}")
    package = folder / "node_modules" / PACKAGE
    assert json.loads((package / "package.json").read_text())["version"] == VERSION
    return package


@pytest.fixture
def node(project, node_package):
    """Run the Node CLI in the project: its JSON answer."""

    def run(*words: str, exit_code: int = 0) -> dict:
        done = subprocess.run(
            ["node", str(node_package / "bin" / "codex-orchestrator.js"), *words, "--format", "json"],
            cwd=project.root,
            # Else it looks for another program first.
            env={**project.environment, "CODEX_ORCHESTRATOR_RUNTIME_MODE": "cli"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == exit_code, done.stderr
        # Its own progress goes to stdout, too.
        return json.loads(done.stdout[done.stdout.index("{\n") :])

    return run


def ours(project, *words: str) -> object:
    """Our JSON answer."""
    done = project.cli(*words, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def leave_runs(project) -> None:
    """Runs of ours that succeed, fail, are cancelled and are partial."""
    (project.root / "AGENTS.md").write_text("Be careful.\n")
    guard = {"id": "spec-guard", "command": "echo ok; echo err >&2", "session": {"id": "s", "persist": True}}
    project.pipeline("echo one", guard)
    assert project.start("work", "--approval-policy", "never").exit_code == 0
    project.pipeline(
        "printf '\\377 \\001'; exit 3",
        {"command": "sleep 60", "needs": [], "timeoutSeconds": 0.05},
        {"command": "true", "needs": [], "cwd": "absent"},
        {"command": "exit 1", "needs": [], "allowFailure": True},
        {**guard, "command": "kill -KILL $$"},
        "echo never",
    )
    assert project.start("work", "--parent-run", project.runs()[0].name).exit_code == 1
    project.pipeline("kill -TERM $PPID; exec sleep 60", "true")
    assert project.start("work").exit_code == 143
    project.pipeline("true", "true")
    assert project.start("work", "--only", "s2").exit_code == 0


def test_our_manifests_pass_its_strict_schema_and_its_status_reads_our_runs(project, node_package, node):
    schema = json.loads((node_package / "schemas" / "manifest.json").read_text())
    assert schema["additionalProperties"] is False
    runtime = [name for name in schema["required"] if name.startswith("runtime_")]
    # They name a Node runtime, which did not run.
    assert len(runtime) == 4
    schema["required"] = [name for name in schema["required"] if name not in runtime]
    validator = jsonschema.validators.validator_for(schema)(schema)

    leave_runs(project)
    runs = project.runs()
    assert len(runs) == 4
    for folder in runs:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        assert [error.message for error in validator.iter_errors(manifest)] == []
        answer = node("status", "--run", folder.name)
        own = ours(project, "status", "--run", folder.name)
        for key in (
            "run_id",
            "status",
            "status_detail",
            "started_at",
            "completed_at",
            "log_path",
            "artifact_root",
        ):
            assert answer[key] == own[key] == manifest[key]
        assert answer["manifest"] == own["manifest"]
        shown = [(entry["id"], entry["status"], entry["exit_code"]) for entry in answer["commands"]]
        assert shown == [(entry["id"], entry["status"], entry["exit_code"]) for entry in own["commands"]]


def test_we_read_its_runs_and_go_on_with_its_history(project, node):
    project.pipeline("echo one; echo err >&2", {"id": "spec-guard", "command": "echo two; exit 3"})
    run_id = node("start", "work", exit_code=1)["run_id"]

    status = ours(project, "status", "--run", run_id)
    assert (status["status"], status["liveness"], status["status_detail"]) == (
        "failed",
        "finished",
        "stage:spec-guard:failed",
    )
    assert [(entry["status"], entry["exit_code"]) for entry in status["commands"]] == [
        ("succeeded", 0),
        ("failed", 3),
    ]
    assert ours(project, "status")["run_id"] == run_id
    text = project.cli("status", "--run", run_id)
    assert f"Run: {run_id}" in text.stdout
    logs = project.cli("logs", "--run", run_id)
    assert logs.returncode == 0
    assert sorted(logs.stdout.splitlines()) == ["[s1] err", "[s1] one", "[spec-guard] two"]
    assert project.cli("logs", "--run", run_id, "--stage", "spec-guard").stdout == "two\n"
    row = ours(project, "runs")[0]
    assert (row["run_id"], row["task_id"], row["pipeline_id"], row["status"]) == (
        run_id,
        "task-1",
        "work",
        "failed",
    )

    # Our next run of that task counts its metrics line and carries its history over.
    project.pipeline("true")
    run = project.start("work")
    assert run.exit_code == 0
    assert run.manifest["metrics_recorded"] is True
    totals = json.loads((project.root / ".runs/task-1/metrics-summary.json").read_text())
    assert (totals["entries_total"], totals["entries_succeeded"], totals["entries_failed"]) == (2, 1, 1)
    assert totals["parse_errors"] == []
    state = json.loads((project.root / "out/task-1/state.json").read_text())
    assert [entry["runId"] for entry in state["runs"]] == [run_id, run.answer["run_id"]]
    assert state["totalRuns"] == 2
    assert [row["run_id"] for row in ours(project, "runs")] == [run.answer["run_id"], run_id]
    # And it still reads both.
    for known in (run_id, run.answer["run_id"]):
        assert node("status", "--run", known)["run_id"] == known


def test_its_own_configuration_can_be_planned(project, node_package):
    """What its users wrote for it is what we take."""
    document = json.loads((node_package / "codex.orchestrator.json").read_text())
    project.write(document)
    definitions = load_definitions(discover(project.root, {}))
    assert len(document["pipelines"]) > 5
    for pipeline in document["pipelines"]:
        chosen = definitions.choose(pipeline["id"])
        assert definitions.sources[chosen.id] == "user"
        assert CommandPlanner(chosen).plan().items
