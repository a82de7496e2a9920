"""``cancel``: a live run ends cleanly, and nothing else is touched."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import is_alive, until

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="without /proc")


def cancel(project, run_id, *words):
    return project.cli("cancel", "--run", run_id, *words)


@pytest.mark.parametrize("way", ["start", "pytest"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_live_run_is_cancelled(project, live, way, form):
    project.pipeline("echo done", live.GATE, "echo never")
    run = live.start("work") if way == "start" else live.pytest("work")
    run.has_printed("up")
    pid = run.stage_pid()
    done = cancel(project, run.run_id, "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    code = run.finish()[0]
    # pytest has codes of its own: 2, interrupted.
    assert code == (143 if way == "start" else 2)
    manifest = run.manifest
    assert (manifest["status"], manifest["status_detail"]) == ("cancelled", "cancelled:SIGTERM")
    assert [entry["status"] for entry in manifest["commands"]] == ["succeeded", "failed", "pending"]
    assert manifest["completed_at"] is not None
    assert not is_alive(pid)
    path = f"{manifest['artifact_root']}/manifest.json"
    if form == "text":
        assert done.stdout == f"Run cancelled: {run.run_id}\nStatus: cancelled\nManifest: {path}\n"
    else:
        assert json.loads(done.stdout) == {
            "run_id": run.run_id,
            "status": "cancelled",
            "artifact_root": manifest["artifact_root"],
            "manifest": path,
            "log_path": manifest["log_path"],
            "summary": json.loads(done.stdout)["summary"],
        }
    assert project.cli("validate", str(run.folder)).returncode == 0


def test_the_latest_run_of_a_task_may_be_meant(project, live):
    project.pipeline(live.GATE)
    run = live.start("work")
    run.has_printed("up")
    assert project.cli("cancel", "--run=latest", "--task=task-1").returncode == 0
    assert run.finish()[0] == 143


def test_a_run_that_takes_longer_is_told_of(project, live):
    project.pipeline("trap '' TERM; echo up; echo $$ > pid; exec cat gate")
    run = live.start("work")
    run.has_printed("up")
    done = cancel(project, run.run_id, "--wait", "0", "--format=json")
    assert done.returncode == 1
    assert done.stderr == f"Run {run.run_id} has not ended, it is in_progress: waited for 0 s.\n"
    assert json.loads(done.stdout)["status"] == "in_progress"
    run.open_gate()
    assert run.finish()[0] == 143
    assert run.manifest["status"] == "cancelled"


def test_a_sub_pipeline_is_cancelled_with_its_session(project, live):
    stage = {"kind": "command", "id": "s", "title": "S", "command": live.GATE}
    levels = [
        {
            "id": name,
            "title": name.title(),
            "stages": [{"kind": "subpipeline", "id": "down", "title": "Down", "pipeline": below}],
        }
        for name, below in (("outer", "mid"), ("mid", "inner"))
    ]
    project.write({"pipelines": [*levels, {"id": "inner", "title": "Inner", "stages": [stage]}]})
    outer = live.start("outer")
    until((project.root / "pid").exists, "the innermost stage")
    manifests = {
        manifest["pipeline_id"]: manifest
        for manifest in (json.loads((run / "manifest.json").read_text()) for run in project.runs())
    }
    inner = manifests["inner"]["run_id"]
    outermost = manifests["outer"]["run_id"]
    done = cancel(project, inner)
    assert done.returncode == 0
    assert done.stderr == f"Run {inner} is part of run {outermost}, which is cancelled with it.\n"
    assert outer.finish()[0] == 143
    statuses = [json.loads((run / "manifest.json").read_text())["status"] for run in project.runs()]
    assert statuses == ["cancelled"] * 3


# What is refused, with nothing touched.


def ended(project, live):
    return project.start("quick").folder


def waiting(project, live):
    return project.start("gated").folder


def killed(project, live):
    run = live.start("slow")
    run.has_printed("up")
    run.process.kill()
    run.finish()
    return run.folder


def recycled(project, live):
    """A run whose process id another process has now: this one."""
    folder = killed(project, live)
    owner = json.loads((folder / "run.lock").read_text())
    (folder / "run.lock").write_text(json.dumps({**owner, "pid": os.getpid()}))
    return folder


def on_another_host(project, live):
    folder = killed(project, live)
    owner = json.loads((folder / "run.lock").read_text())
    (folder / "run.lock").write_text(json.dumps({**owner, "pid": os.getpid(), "host": "elsewhere.invalid"}))
    return folder


def without_owner(project, live):
    """As the Node CLI leaves its runs."""
    folder = killed(project, live)
    (folder / "run.lock").unlink()
    return folder


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (ended, "is not alive: it has ended, succeeded.", ""),
        (
            waiting,
            "has no process to cancel: it waits (stage:ok:awaiting-approval).",
            "codex-orchestrator reject",
        ),
        (
            killed,
            "is not alive: it is in_progress, and its process is gone.",
            "codex-orchestrator resume --run",
        ),
        (
            recycled,
            "is not alive: it is in_progress, and its process is gone.",
            "codex-orchestrator resume --run",
        ),
        (on_another_host, "is on host elsewhere.invalid.", "Cancel it there."),
        (without_owner, "run.lock names no process.", ""),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_has_no_process_here_is_refused(project, live, make, message, hint):
    pipelines = [
        ("quick", {"kind": "command", "command": "true"}),
        ("slow", {"kind": "command", "command": live.GATE}),
        ("gated", {"kind": "manual"}),
    ]
    project.write(
        {
            "pipelines": [
                {"id": name, "title": name.title(), "stages": [{"id": "ok", "title": "Ok", **stage}]}
                for name, stage in pipelines
            ]
        }
    )
    folder = make(project, live)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    done = cancel(project, folder.name)
    assert (done.returncode, done.stdout) == (2, "")
    said, *hints = done.stderr.splitlines()
    assert said.startswith(f"error: Run {folder.name} ")
    assert said.endswith(message)
    assert hint in "".join(hints)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run", "nobody"], 'Unknown run "nobody"'),
        (["--run", "../.."], 'Invalid run ID "../..": '),
        (["--run", "latest"], 'Task "task-1" has no runs'),
        ([], 'Task "task-1" has no runs'),
        (["--run", "nobody", "--wait", "-1"], "--wait must be at least 0"),
        (["--run", "nobody", "--wait", "nan"], "--wait must be at least 0"),
    ],
)
def test_a_wrong_request_is_refused(project, words, message):
    project.pipeline("true")
    done = project.cli("cancel", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert not (project.root / ".runs").exists()


def test_asking_for_help_cancels_nothing(project, live):
    project.pipeline(live.GATE)
    run = live.start("work")
    run.has_printed("up")
    assert project.cli("cancel", "--help", "--run", run.run_id).returncode == 0
    run.open_gate()
    assert run.finish()[0] == 0


# A lock file is a claim: whoever may write it must not have others signalled.


def forged(project, live, **owner):
    """A run that ended, made to look alive, with a lock that names a process as it really is."""
    folder = project.start("work").folder
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(
        json.dumps({**manifest, "status": "in_progress", "heartbeat_at": "2099-01-01T00:00:00.000Z"})
    )
    (folder / "run.lock").write_text(json.dumps({**json.loads((folder / "run.lock").read_text()), **owner}))
    return folder


@pytest.fixture
def victim():
    """A process that has nothing to do with any run, and what a lock file would say of it."""
    process = subprocess.Popen(["sleep", "600"])
    token = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    yield {"pid": process.pid, "start_token": token}
    process.kill()
    process.wait()


@needs_proc
@pytest.mark.parametrize("held", [False, True])
def test_a_process_that_a_forged_lock_names_is_left_alone(project, live, victim, held):
    project.pipeline("true")
    folder = forged(project, live, **victim)
    with (folder / "run.lock").open("rb") as lock:
        if held:  # By somebody else than the one who is named.
            fcntl.flock(lock, fcntl.LOCK_EX)
        done = cancel(project, folder.name, "--wait", "0")
        liveness = json.loads(project.cli("status", "--run", folder.name, "--format=json").stdout)["liveness"]
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Run {folder.name} is not alive: it is in_progress, and its process is gone." in done.stderr
    assert liveness == "dead"
    assert is_alive(victim["pid"])


@needs_proc
@pytest.mark.parametrize("pid", [-1, 0, 1, -2, 2**31, 99999999999999999999])
def test_a_number_that_stands_for_many_processes_ends_none(project, live, pid):
    # In a namespace of its own, where even a signal to all of them would reach only the bystander.
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode != 0:
        pytest.skip("this kernel gives us no namespace of processes")
    project.pipeline("true")
    folder = forged(project, live, pid=pid, start_token=None)
    command = f"{sys.executable} -m codex_orchestrator"
    script = f"sleep 600 & {command} cancel --run {folder.name} --wait 0; echo $?; kill $! && echo alive"
    done = subprocess.run(
        [*unshare, "sh", "-c", script],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "2\nalive\n"
    assert done.stderr.startswith(f"error: Run {folder.name} ")
    assert "Traceback" not in done.stderr
    valid = project.cli("validate", str(folder / "run.lock"))
    assert ("pid: " in valid.stdout + valid.stderr) == (pid != 1)
