"""``start``: a pipeline of commands runs and leaves its evidence."""

from __future__ import annotations

import json
import re
import stat

import pytest


def test_a_run_leaves_the_whole_layout(project):
    project.pipeline("echo one", "echo two >&2")
    run = project.start("work")
    assert run.exit_code == 0
    assert run.answer["status"] == "succeeded"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z-[0-9a-f]{8}", run.answer["run_id"])
    left = {path.relative_to(project.root).as_posix() for path in project.root.rglob("*") if path.is_file()}
    run_id = run.answer["run_id"]
    folder = f".runs/task-1/cli/{run_id}"
    assert left == {
        "codex.orchestrator.json",
        ".runs/.gitignore",
        f"{folder}/manifest.json",
        f"{folder}/.heartbeat",
        f"{folder}/runner.ndjson",
        f"{folder}/commands/01-s1.ndjson",
        f"{folder}/commands/02-s2.ndjson",
        f"{folder}/resume-token.json",
        f"{folder}/plan.json",
        f"{folder}/run-summary.json",
        f"{folder}/source.json",
        f"{folder}/seal.json",
        f"{folder}/run.lock",
        f".runs/task-1/mcp/{run_id}/manifest.json",
        f".runs/local-mcp/{run_id}/compat.json",
        ".runs/task-1/metrics.json",
        ".runs/task-1/metrics-summary.json",
        ".runs/task-1/.metrics.lock",
        "out/task-1/.gitignore",
        "out/task-1/state.json",
        "out/task-1/runs.ndjson",
        "out/task-1/runs-index.json",
        "out/task-1/seals.ndjson",
        "out/task-1/.seals.lock",
        "out/task-1/control-plane/drift.json",
        "out/task-1/control-plane/samples.ndjson",
    }
    assert stat.S_IMODE((run.folder / "resume-token.json").stat().st_mode) == 0o600
    assert project.cli("validate", ".runs", "out", "codex.orchestrator.json").returncode == 0


def test_stdout_is_one_document_and_progress_goes_to_stderr(project):
    project.pipeline("true")
    done = project.cli("start", "work", "--format", "json")
    assert list(json.loads(done.stdout)) == [
        "run_id",
        "status",
        "artifact_root",
        "manifest",
        "log_path",
        "summary",
    ]
    assert "[1/1] s1: passed" in done.stderr


def test_a_failure_is_shown_with_command_output_and_log(project):
    project.pipeline("echo building", "echo broken; echo why >&2; exit 7", "echo never")
    done = project.cli("start", "work")
    assert done.returncode == 1
    entries = project.manifest()["commands"]
    assert [entry["status"] for entry in entries] == ["succeeded", "failed", "pending"]
    assert entries[1]["exit_code"] == 7
    assert entries[1]["summary"] == "Exited with code 7 — why"
    for part in ("exit code 7", "broken", "why", entries[1]["log_path"], entries[1]["error_file"]):
        assert part in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_an_empty_pipeline_name_is_none(project):
    done = project.cli("start", "")
    assert done.returncode == 2
    assert 'Unknown pipeline "".' in done.stderr


@pytest.mark.parametrize("policy", [b"\xff", b"two\nlines"])
def test_an_approval_policy_that_is_no_line_of_text_is_refused(project, policy):
    project.pipeline("touch ran")
    done = project.cli("start", "work", "--approval-policy", policy)
    assert done.returncode == 2
    assert "--approval-policy" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.root / ".runs").exists()
