"""The Node CLI of the same name reads our runs, and we read its."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest

from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.definitions.planner import CommandPlanner
from codex_orchestrator.environment import discover
from codex_orchestrator.evidence.artefacts import check_file


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
    """Runs of ours that succeed, fail, are cancelled, are partial, and that a poor request makes."""
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
    project.pipeline({"command": "true", "title": " "})
    for setting, exit_code in (("shadow", 0), ("enforce", 1)):
        run = project.start("work", environment={"CODEX_CONTROL_PLANE_MODE": setting})
        assert (run.exit_code, run.manifest["control_plane"]["validation"]["status"]) == (exit_code, "failed")


def test_our_manifests_pass_its_strict_schema_and_its_status_reads_our_runs(project, node_package, node):
    leave_runs(project)
    runs = project.runs()
    assert len(runs) == 6
    for folder in runs:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        assert strict_problems(node_package, manifest) == []
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
    # What is its own is named as that, what we took over is fit, and nothing else is wrong.
    checked = ours(project, "validate", ".runs", "out")
    assert checked["counts"]["invalid"] == 0
    valid = {row["path"]: row["valid"] for row in checked["files"]}
    assert valid[f".runs/task-1/cli/{run_id}/manifest.json"] is None
    for name in ("state.json", "runs.ndjson"):
        assert valid[f"out/task-1/{name}"] is True
    assert json.loads(project.cli("metrics", "--format=json").stdout)["entries_total"] == 2
    # And it still reads both.
    for known in (run_id, run.answer["run_id"]):
        assert node("status", "--run", known)["run_id"] == known
    # When its run goes, what it has put around the run goes too.
    assert (project.root / ".runs/task-1" / run_id / "manifest.json").exists()
    assert project.cli("gc", "--keep", "1").returncode == 0
    assert list((project.root / ".runs").rglob(f"{run_id}*")) == []


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


def leave_nested(project, *, last: str = "true") -> Path:
    """A run of ours with a nested one, and with a stage after it; the folder."""
    project.pipelines(
        work=[
            {"command": "echo a >> ran"},
            {"id": "sub", "kind": "subpipeline", "pipeline": "inner"},
            {"command": f"echo c >> ran; {last}"},
        ],
        inner=[{"id": "i", "command": "echo i >> ran"}],
    )
    run = project.start("work")
    return run.folder


def ran(project) -> list[str]:
    """What the stages said in the file ``ran``."""
    return (project.root / "ran").read_text().split()


def strict_problems(node_package, manifest: dict) -> list[str]:
    """What its schema has against a manifest of ours, but for the runtime that it names and we do not."""
    schema = json.loads((node_package / "schemas" / "manifest.json").read_text())
    assert schema["additionalProperties"] is False
    runtime = [name for name in schema["required"] if name.startswith("runtime_")]
    # They name a Node runtime, which did not run.
    assert len(runtime) == 4
    schema["required"] = [name for name in schema["required"] if name not in runtime]
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [error.message for error in validator.iter_errors(manifest)]


def test_its_status_reads_our_nested_and_resumed_runs(project, node_package, node):
    folder = leave_nested(project, last="test -e ok")
    for _ in range(2):
        for path in folder.parent.glob("*/manifest.json"):
            manifest = json.loads(path.read_bytes())
            assert strict_problems(node_package, manifest) == []
            answer = node("status", "--run", manifest["run_id"])
            assert (answer["status"], answer["child_runs"]) == (manifest["status"], manifest["child_runs"])
            assert [entry["status"] for entry in answer["commands"]] == [
                entry["status"] for entry in manifest["commands"]
            ]
        (project.root / "ok").touch()
        project.resume()
    assert project.manifest()["status"] == "succeeded"


def kill_in_the_middle(live, project) -> Path:
    """A run of ours whose owner was killed in its second stage; the folder."""
    project.pipeline(
        "echo a >> ran", f"test -e ok || {{ {live.GATE}; }}; echo b >> ran", "echo c >> ran; test -e good"
    )
    running = live.start("work")
    left = running.stage_pid()
    # The Node CLI goes by the manifest alone.
    running.has_printed("up")
    running.process.kill()
    running.process.wait()
    live.until(lambda: not live.is_alive(left), "the end of the stage")
    (project.root / "ok").touch()
    return running.folder


def history(project) -> list[str]:
    """The runs that our history knows, in order."""
    lines = (project.root / "out/task-1/runs.ndjson").read_bytes().splitlines()
    return [json.loads(line)["runId"] for line in lines]


def test_a_run_of_ours_goes_on_with_it_and_then_with_us(project, live, node):
    project.pipeline("true")
    earlier = project.start("work").answer["run_id"]
    folder = kill_in_the_middle(live, project)
    log = (folder / "runner.ndjson").read_bytes()

    # Its exit code does not tell of the run.
    assert node("resume", "--run", folder.name)["status"] == "failed"
    between = json.loads((folder / "manifest.json").read_bytes())
    assert [entry["status"] for entry in between["commands"]] == ["succeeded", "succeeded", "failed"]
    assert ran(project) == ["a", "b", "c"]
    assert earlier in history(project)

    (project.root / "good").touch()
    again = project.resume(run=folder.name)
    assert again.exit_code == 0, again.stderr
    assert ran(project) == ["a", "b", "c", "c"]
    assert again.manifest["status"] == "succeeded"
    assert (folder / "runner.ndjson").read_bytes().startswith(log)
    assert [event["outcome"] for event in again.manifest["resume_events"]] == ["accepted", "accepted"]
    known = history(project)
    assert (known.count(earlier), folder.name in known) == (1, True)
    state = json.loads((project.root / "out/task-1/state.json").read_bytes())
    assert {entry["runId"] for entry in state["runs"]} == {earlier, folder.name}
    assert node("status", "--run", folder.name)["status"] == "succeeded"


def test_what_it_has_run_since_is_not_forgotten(project, node):
    """Our log says that the stage failed, and its manifest that it succeeded later."""
    project.pipeline("echo a >> ran; test -e ok", "echo b >> ran; test -e good")
    run = project.start("work")
    assert run.exit_code == 1
    (project.root / "ok").touch()
    assert node("resume", "--run", run.folder.name)["status"] == "failed"
    assert ran(project) == ["a", "a", "b"]
    (project.root / "good").touch()
    again = project.resume()
    assert again.exit_code == 0, again.stderr
    assert ran(project) == ["a", "a", "b", "b"]


def test_we_go_on_with_a_run_of_its(project, node):
    project.pipeline("echo a >> ran", "echo b >> ran; test -e ok", "echo c >> ran")
    run_id = node("start", "work", exit_code=1)["run_id"]
    assert ran(project) == ["a", "b"]
    folder = project.root / ".runs/task-1/cli" / run_id
    token = json.loads((folder / "manifest.json").read_bytes())["resume_token"]
    wrong = project.cli("resume", "--run", run_id, "--token", "0" * 64)
    assert wrong.returncode == 2

    (project.root / "ok").touch()
    again = project.resume("--token", token, run=run_id)
    assert again.exit_code == 0, again.stderr
    assert ran(project) == ["a", "b", "b", "c"]
    assert again.manifest["status"] == "succeeded"
    assert check_file(folder / "manifest.json").problems == ()
    assert node("status", "--run", run_id)["status"] == "succeeded"
    assert ours(project, "status", "--run", run_id)["liveness"] == "finished"


def test_a_changed_pipeline_of_a_run_of_its_is_refused_as_well(project, node):
    project.pipeline("echo a >> ran", "false")
    run_id = node("start", "work", exit_code=1)["run_id"]
    project.pipeline("echo a >> ran", "true")
    done = project.cli("resume", "--run", run_id)
    assert done.returncode == 2
    assert 'stage "s2": command is different' in done.stderr
    assert project.resume("--accept-changes", run=run_id).exit_code == 0
    assert ran(project) == ["a"]
