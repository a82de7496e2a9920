"""``status`` and ``runs``: what a run is doing, whoever made it and whatever became of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from codex_orchestrator.api import load_manifest
from codex_orchestrator.clock import timestamp

STATUS_KEYS = [
    *("run_id", "status", "status_detail", "started_at", "completed_at", "manifest", "artifact_root"),
    *("log_path", "heartbeat_at", "heartbeat_age_seconds", "stale", "liveness", "metrics_recorded"),
    *("approvals", "commands", "child_runs", "parent_run_id", "activity"),
]
ACTIVITY_KEYS = [
    *("manifest_heartbeat_at", "heartbeat_file_at", "runner_log_mtime_at", "stale"),
    *("stale_threshold_seconds", "age_seconds"),
]
ROW_KEYS = [
    *("run_id", "task_id", "pipeline_id", "status", "liveness", "started_at", "completed_at"),
    *("parent_run_id", "manifest"),
]
OLD, MIDDLE, NEW = (
    "2026-01-01T00-00-00-000Z-aaaaaaaa",
    "2026-02-01T00-00-00-000Z-bbbbbbbb",
    "2026-03-01T00-00-00-000Z-cccccccc",
)


@pytest.fixture
def status(said):
    """``status --format json`` as a document."""

    def ask(*words: str) -> dict:
        code, out, err = said("status", *words, "--format", "json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return ask


def node_run(project, run_id=OLD, task="task-1", *, beat: float | None = 0.0, **changes):
    """A run as the Node CLI leaves it, with its last heartbeat so many seconds ago."""
    folder = project.root / ".runs" / task / "cli" / run_id
    folder.mkdir(parents=True)
    root = f".runs/{task}/cli/{run_id}"
    heartbeat = None if beat is None else timestamp(time.time() - beat)
    entry = {
        "index": 1,
        "id": "build",
        "title": "Build",
        "command": "npm run build",
        "kind": "command",
        "status": "running",
        "started_at": "2026-01-01T00:00:00.000Z",
        "completed_at": None,
        "exit_code": None,
        "summary": None,
        "log_path": f"{root}/commands/01-build.ndjson",
        "error_file": None,
        "sub_run_id": None,
    }
    manifest = {
        "version": 1,
        "task_id": task,
        "run_id": run_id,
        "parent_run_id": None,
        "pipeline_id": "diagnostics",
        "pipeline_title": "Diagnostics",
        "runner": "codex-cli",
        "status": "in_progress",
        "status_detail": None,
        "started_at": "2026-01-01T00:00:00.000Z",
        "completed_at": None,
        "updated_at": heartbeat,
        "heartbeat_at": heartbeat,
        "artifact_root": root,
        "log_path": f"{root}/runner.ndjson",
        "issue_provider": None,
        "summary": None,
        "metrics_recorded": False,
        "approvals": [],
        "commands": [entry],
        "child_runs": [],
        "runtime_mode": "cli",
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return folder


# Runs that live, die and end.


def test_a_live_run_is_alive_until_its_process_is_killed(project, live, status, said):
    project.pipeline("echo done", live.GATE, "echo never")
    run = live.start("work")
    run.has_printed("up")
    document = status("--run", run.run_id)
    assert list(document) == STATUS_KEYS
    assert list(document["activity"]) == ACTIVITY_KEYS
    assert (document["status"], document["liveness"], document["stale"]) == ("in_progress", "alive", False)
    assert [entry["status"] for entry in document["commands"]] == ["succeeded", "running", "pending"]
    assert (document["completed_at"], document["metrics_recorded"]) == (None, False)
    assert 0 <= document["heartbeat_age_seconds"] <= 30
    assert document["activity"]["age_seconds"] == document["heartbeat_age_seconds"]
    assert document["activity"]["stale_threshold_seconds"] == 30
    beats = [document["activity"][f"{name}_at"] for name in ("manifest_heartbeat", "heartbeat_file")]
    assert document["heartbeat_at"] == max(beats)
    text = said("status")[1]
    assert f"Run: {run.run_id}\nStatus: in_progress, alive\n" in text
    assert "Heartbeat: " in text
    assert "  [succeeded] S1 (s1) — done\n  [running] S2 (s2)\n  [pending] S3 (s3)\n" in text
    assert json.loads(said("runs", "--format", "json")[1])[0]["liveness"] == "alive"

    run.process.kill()
    run.finish()
    # Nothing of the run was written again, and yet it is known at once.
    document = status()
    assert (document["status"], document["liveness"], document["stale"]) == ("in_progress", "dead", False)
    assert "Status: in_progress, dead" in said("status")[1]
    code, out, _ = said("status", "--watch", "--interval", "60", "--format", "json")
    assert code == 0
    assert json.loads(out)["liveness"] == "dead"
    assert json.loads(said("runs", "--format", "json")[1])[0]["liveness"] == "dead"
    assert said("logs", "-f")[0] == 0


def test_watching_goes_on_until_the_run_ends(project, live):
    project.pipeline(live.GATE, "echo after")
    run = live.start("work")
    run.has_printed("up")

    def watch(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "codex_orchestrator", "status", "--watch", "--interval=0.05", *words],
            cwd=project.root,
            env=project.environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    as_json, as_text = watch("--format", "json"), watch("--run", run.run_id)
    try:
        first = [json.loads(as_json.stdout.readline()) for _ in range(2)]
        words = as_text.stdout.readline()
        run.open_gate()
        assert run.finish()[0] == 0
        rest = as_json.communicate(timeout=60)[0].splitlines()
        last_words = as_text.communicate(timeout=60)[0].splitlines()[-1]
    finally:
        for process in (as_json, as_text):
            process.kill()
            process.wait()
    assert (as_json.returncode, as_text.returncode) == (0, 0)
    assert {document["liveness"] for document in first} == {"alive"}
    assert words == "in_progress, alive: 0 of 2 stages, running s1\n"
    documents = [json.loads(line) for line in rest]
    assert all(list(document) == STATUS_KEYS for document in documents)
    assert [document["liveness"] for document in documents][-1:] == ["finished"]
    assert documents[-1]["status"] == "succeeded"
    assert last_words == "succeeded, finished: 2 of 2 stages"


def test_a_finished_run_and_the_latest_of_several(project, status, said):
    project.pipeline("echo out", "exit 3")
    first = project.start("work")
    child = project.start("work", "--parent-run", first.answer["run_id"])
    document = status("--run", "latest")
    # A child is not the latest run of its task, and still is found by its id.
    assert document["run_id"] == first.answer["run_id"] == status()["run_id"]
    assert status("--run", child.answer["run_id"])["parent_run_id"] == first.answer["run_id"]
    manifest = first.manifest
    for key in (
        "status",
        "status_detail",
        "started_at",
        "completed_at",
        "commands",
        "log_path",
        "artifact_root",
    ):
        assert document[key] == manifest[key]
    assert document["manifest"] == first.answer["manifest"]
    assert (document["liveness"], document["stale"], document["metrics_recorded"]) == (
        "finished",
        False,
        True,
    )
    text = said("status")[1]
    assert "Status: failed (stage:s2:failed), finished" in text
    assert f"      error file: {manifest['commands'][1]['error_file']}" in text
    assert "Summary:\n  Stage 'S2' failed with exit code 3.\n" in text
    assert said("status", "--watch")[0] == 0
    assert f"Parent: {first.answer['run_id']}" in said("status", "--run", child.answer["run_id"])[1]


# Runs of others.


@pytest.mark.parametrize(
    ("beat", "changes", "liveness", "stale"),
    [
        (0.0, {}, "alive", False),
        (20.0, {}, "alive", False),
        (-3600.0, {}, "alive", False),
        (3600.0, {}, "dead", True),
        (None, {}, "dead", True),
        (3600.0, {"status": "succeeded"}, "finished", False),
        (3600.0, {"status": "cancelled"}, "finished", False),
        (3600.0, {"status": "queued"}, "dead", True),
        (3600.0, {"status_detail": "stage:ok:awaiting-approval"}, "waiting", False),
    ],
    ids=["now", "late", "ahead", "stale", "never", "succeeded", "cancelled", "queued", "waiting"],
)
def test_a_run_without_our_lock_is_judged_by_its_heartbeat(project, status, beat, changes, liveness, stale):
    node_run(project, beat=beat, **changes)
    document = status()
    assert (document["liveness"], document["stale"], document["activity"]["stale"]) == (
        liveness,
        stale,
        stale,
    )
    assert list(document) == STATUS_KEYS
    if beat is None:
        assert (document["heartbeat_at"], document["heartbeat_age_seconds"]) == (None, None)
    else:
        assert document["heartbeat_age_seconds"] >= max(0.0, beat)


def test_the_newest_sign_of_life_counts(project, status):
    folder = node_run(project, beat=3600.0)
    moment = timestamp(time.time())
    (folder / ".heartbeat").write_text(f"{moment}\n")
    document = status()
    assert (document["liveness"], document["heartbeat_at"]) == ("alive", moment)
    assert document["activity"]["heartbeat_file_at"] == moment
    (folder / ".heartbeat").write_text("\0not a moment")
    assert status()["liveness"] == "dead"


def test_an_owner_counts_more_than_a_heartbeat(project, status):
    folder = node_run(project, beat=0.0)
    boot = "00000000-0000-0000-0000-000000000000"
    owner = {"pid": 1, "start_token": "1", "host": "", "boot_id": boot}
    # Another host's run: nobody here can look, so its heartbeat decides.
    (folder / "run.lock").write_text(json.dumps({**owner, "host": "elsewhere.invalid"}))
    assert status()["liveness"] == "alive"
    # This host before it was booted anew: dead, however fresh the heartbeat.
    (folder / "run.lock").write_text(json.dumps({**owner, "host": os.uname().nodename}))
    assert status()["liveness"] == "dead"
    # No owner at all in it.
    (folder / "run.lock").write_text("")
    assert status()["liveness"] == "alive"


def test_a_run_is_found_under_any_task(project, status, said):
    node_run(project, OLD, "their-task")
    assert status("--run", OLD)["manifest"] == f".runs/their-task/cli/{OLD}/manifest.json"
    assert status("--task", "their-task")["run_id"] == OLD
    assert said("logs", "--run", OLD)[0] == 0
    code, _, err = said("status")
    assert (code, err.split("\n")[0]) == (2, f'error: Task "task-1" has no runs under {project.root}/.runs.')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read "),
        (b"", "is not JSON"),
        (b'{"run_id": ', "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "is not a run manifest"),
        (b"{}", "is not a run manifest"),
        (b'{"run_id": "x"}', "is not a run manifest"),
        (b'{"run_id": "x", "commands": {}}', "is not a run manifest"),
        (b'{"run_id": "x", "commands": ["x"]}', "is not a run manifest"),
    ],
    ids=["none", "empty", "torn", "binary", "list", "object", "bare", "commands", "entries"],
)
def test_a_broken_manifest_is_one_clear_message(project, said, content, message):
    folder = node_run(project)
    if content is None:
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_bytes(content)
    for command in ("status", "logs"):
        code, out, err = said(command, "--run", OLD)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert message in err
        assert str(folder / "manifest.json") in err
        assert "Traceback" not in err
    # It hides no other run.
    node_run(project, NEW)
    assert said("status")[0] == 0
    assert [row["run_id"] for row in json.loads(said("runs", "--format=json")[1])] == [NEW]


def test_a_manifest_with_the_least_there_is_can_be_shown(project, status, said):
    folder = node_run(project)
    (folder / "manifest.json").write_text(json.dumps({"run_id": OLD, "commands": [{}], "surprise": 1}))
    document = status()
    assert list(document) == STATUS_KEYS
    assert (document["status"], document["approvals"], document["child_runs"]) == (None, [], [])
    for command in ("status", "logs", "runs"):
        assert said(command)[0] == 0


# The list.


def test_runs_are_listed_newest_first(project, said):
    def rows(*words: str) -> list[dict]:
        code, out, err = said("runs", *words, "--format", "json")
        assert (code, err) == (0, "")
        return json.loads(out)

    assert rows() == []
    node_run(project, MIDDLE, "a-task", status="failed", completed_at="2026-02-01T00:00:01.000Z")
    node_run(project, OLD, "task-1", parent_run_id=MIDDLE)
    node_run(project, NEW, "task-1", status="succeeded")
    (project.root / ".runs/task-1/cli/not a run?").mkdir()
    (project.root / ".runs/local-mcp" / NEW).mkdir(parents=True)
    (project.root / ".runs/stray").write_text("")
    listed = rows()
    assert all(list(row) == ROW_KEYS for row in listed)
    assert [row["run_id"] for row in listed] == [NEW, MIDDLE, OLD]
    assert [row["liveness"] for row in listed] == ["finished", "finished", "alive"]
    assert listed[2]["parent_run_id"] == MIDDLE
    assert listed[1]["manifest"] == f".runs/a-task/cli/{MIDDLE}/manifest.json"
    assert [row["run_id"] for row in rows("--task", "task-1")] == [NEW, OLD]
    assert [row["run_id"] for row in rows("--limit", "2")] == [NEW, MIDDLE]
    assert [row["run_id"] for row in rows("--limit=1", "--task=a-task")] == [MIDDLE]
    assert rows("--task", "nobody") == []
    lines = said("runs")[1].splitlines()
    assert lines[0].split() == ["RUN", "TASK", "PIPELINE", "STATUS", "LIVENESS", "STARTED"]
    assert lines[2].split() == [
        MIDDLE,
        "a-task",
        "diagnostics",
        "failed",
        "finished",
        "2026-01-01T00:00:00.000Z",
    ]
    assert len(lines) == 4


def test_readers_of_a_killed_run_know_what_its_log_knows(project, status, said):
    project.pipeline(
        'cp "$CODEX_ORCHESTRATOR_MANIFEST_PATH" early.json',
        "echo second",
        "kill -9 $CODEX_ORCHESTRATOR_OWNER_PID; exec sleep 60",
    )
    assert project.cli("start", "work").returncode == -signal.SIGKILL
    [folder] = project.runs()
    # As far behind as a power failure would have left it.
    shutil.copy(project.root / "early.json", folder / "manifest.json")
    done = status("--run", "latest")
    known = [(entry["status"], entry["summary"]) for entry in done["commands"][1:]]
    assert known == [("succeeded", "second"), ("running", None)]
    assert (done["status"], done["liveness"]) == ("in_progress", "dead")
    assert [entry.status for entry in load_manifest(folder).commands] == ["succeeded", "succeeded", "running"]
    assert "second" in said("review", "--run", "latest")[1]
    # Looking changes nothing.
    assert (folder / "manifest.json").read_bytes() == (project.root / "early.json").read_bytes()
