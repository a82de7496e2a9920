"""Workers that die, sessions that are cancelled or killed: the record is true, nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from tests.support.at_once import command, waits
from tests.support.environment import needs_xdist
from tests.support.invariants import broken
from tests.support.processes import all_gone, is_alive, until
from tests.support.runs import events, statuses

pytestmark = needs_xdist

# What a killed worker leaves, so that its end can be watched.
ESCAPED = "setsid sleep 600 & echo $! > escaped.pid; "


def entry(project, stage_id: str) -> dict:
    return next(entry for entry in project.manifest()["commands"] if entry["id"] == stage_id)


def error(project, path: str) -> dict:
    return json.loads((project.root / path).read_text(encoding="utf-8"))


def attempts(project) -> dict[str, list[tuple[str, list[str]]]]:
    """By worker, what became of the commands that it was given, and what was done about it."""
    return {
        worker["instance_id"]: [
            (attempt["status"], [point["action"] for point in attempt["recovery_checkpoints"]])
            for attempt in worker["attempts"]
        ]
        for worker in project.manifest()["scheduler"]["assignments"]
    }


def assigned(project) -> dict[str, list[str]]:
    """By stage, the workers that were given it."""
    given: dict[str, list[str]] = {}
    for event in events(project, "stage:assigned"):
        given.setdefault(event["stage_id"], []).append(event["instance_id"])
    return given


def test_a_killed_worker_costs_one_attempt(project, session):
    project.pipeline(
        command("once", ESCAPED + waits("once")),
        command("again", waits("again", "echo well"), retries=1),
        command("after-once", needs=["once"]),
        command("after-again", needs=["again"]),
        command("alone"),
    )
    live = session("-n 2")
    workers = {name: live.worker_of(name) for name in ("once", "again")}
    assert len(set(workers.values())) == 2
    left = [live.pid("once"), live.pid("again"), live.pid("escaped")]
    (project.root / "again.pid").unlink()
    for worker in workers.values():
        os.kill(worker, signal.SIGKILL)
    until((project.root / "again.pid").exists, "the second attempt")
    live.open_gate("again")
    code, output = live.finish()
    assert code == 1, output
    for pid in left:
        assert not is_alive(pid)

    assert statuses(project) == {
        "once": "failed",
        "again": "succeeded",
        "after-once": "pending",
        "after-again": "succeeded",
        "alone": "succeeded",
    }
    once = entry(project, "once")
    name = assigned(project)["once"][0]
    assert (once["exit_code"], once["summary"]) == (None, f"Worker {name} died")
    told = error(project, once["error_file"])
    assert told["reason"] == "command-execution-error"
    assert f"Worker {name} died" in json.dumps(told["details"])
    assert f"Worker {name} died" in output
    assert broken(project.root) == []


def test_what_a_killed_worker_did_is_told_by_the_scheduler_and_the_log(project, session):
    project.pipeline(command("a", waits("a"), retries=2), command("b", needs=["a"]))
    live = session("-n 1")
    first = live.worker_of("a")
    (project.root / "a.pid").unlink()
    os.kill(first, signal.SIGKILL)
    second = live.worker_of("a")
    assert second != first
    live.open_gate("a")
    assert live.finish()[0] == 0
    assert assigned(project) == {"a": ["gw0", "gw1"], "b": ["gw1"]}
    assert attempts(project) == {
        "gw0": [("requeued", ["requeue"])],
        "gw1": [("completed", []), ("completed", [])],
    }
    (begun, ended, retry, *_) = events(project, "exec:begin", "exec:end", "exec:retry")
    assert (begun["attempt"], ended["attempt"], ended["exit_code"], ended["status"]) == (1, 1, None, "failed")
    assert (retry["type"], retry["error"]) == ("exec:retry", "Worker gw0 died")
    assert [event["attempt"] for event in events(project, "exec:begin")] == [1, 2, 1]
    earlier = project.runs()[-1] / "errors" / "01-a.attempt-1.json"
    assert "Worker gw0 died" in earlier.read_text()
    line = json.loads((project.root / ".runs/task-1/metrics.json").read_text())
    stats = {worker["instance_id"]: worker for worker in line["instance_stats"]}
    assert set(stats) == {"gw0", "gw1"}
    assert (stats["gw0"]["status"], stats["gw0"]["recovery_events"]) == ("recovered", 1)
    assert broken(project.root) == []


def test_without_a_replacement_what_never_ran_is_pending_and_named(project, session):
    project.pipeline(
        command("lost", waits("lost"), retries=1), command("busy", waits("busy")), command("a"), command("b")
    )
    live = session("-n 2 --max-worker-restart=0")
    live.pid("busy")
    os.kill(live.worker_of("lost"), signal.SIGKILL)
    until(lambda: events(project, "stage:released"), "the loss")
    live.open_gate("busy")
    code, output = live.finish()
    assert code == 1, output
    manifest = project.manifest()
    assert manifest["status"] == "failed"
    assert statuses(project) == {"lost": "failed", "busy": "succeeded", "a": "pending", "b": "pending"}
    assert entry(project, "lost")["summary"] == "No worker was left to try it again on"
    assert "Not run, as no worker was left: a, b." in manifest["summary"]
    assert broken(project.root) == []


def test_a_worker_that_cannot_be_replaced_ends_the_session_with_a_true_record(project, session):
    python = project.root / "python"
    python.write_text(f'#!/bin/sh\ntest -e broken && exit 1\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    project.pipeline(command("lost", waits("lost"), retries=1), command("busy", waits("busy")), command("a"))
    live = session(f"--tx 2*popen//python={python}")
    busy = live.pid("busy")
    worker = live.worker_of("lost")
    (project.root / "broken").touch()
    (project.root / "lost.pid").unlink()
    os.kill(worker, signal.SIGKILL)
    code, output = live.finish()
    assert code == 1, output
    assert "INTERNALERROR" not in output
    assert "A worker cannot be replaced: " in output
    assert not is_alive(busy)
    manifest = project.manifest()
    assert manifest["status"] == "failed"
    assert statuses(project) == {"lost": "failed", "busy": "failed", "a": "pending"}
    assert "Not run, as a worker could not be replaced: a." in manifest["summary"]
    assert broken(project.root) == []
    all_gone(project.root)


@pytest.mark.parametrize(
    ("way", "number"),
    [
        ("--jobs 2", signal.SIGTERM),
        ("--codex-jobs 2", signal.SIGINT),
        ("-n 2", signal.SIGINT),
        ("-n 2", signal.SIGTERM),
    ],
)
def test_a_signal_ends_everything_that_runs(project, session, way, number):
    project.pipeline(
        command("a", waits("a")),
        command("b", waits("b")),
        command("c", needs=["a"]),
        command("d", waits("d")),
    )
    live = session(way)
    pids = [live.pid(name) for name in "ab"]
    if number == signal.SIGINT:
        # As a terminal does it: everybody gets it.
        os.killpg(live.process.pid, number)
    else:
        live.process.send_signal(number)
    code, output = live.finish()
    assert code == (128 + number if way == "--jobs 2" else 2), output
    assert not any(map(is_alive, pids))
    manifest = project.manifest()
    assert (manifest["status"], manifest["status_detail"]) == ("cancelled", f"cancelled:{number.name}")
    assert statuses(project) == {"a": "failed", "b": "failed", "c": "pending", "d": "pending"}
    assert entry(project, "a")["exit_code"] == 128 + number
    assert broken(project.root) == []
    assert "Traceback" not in output
    all_gone(project.root)


@pytest.mark.parametrize("way", ["--jobs 2", "-n 2"])
def test_a_second_signal_kills_at_once(project, session, way):
    stubborn = "trap 'echo heard > {0}.heard' INT; echo $$ > {0}.pid; while :; do sleep 0.02; done"
    project.pipeline(*(command(name, stubborn.format(name)) for name in "ab"))
    live = session(way)
    for name in "ab":
        live.pid(name)
    live.process.send_signal(signal.SIGINT)
    for name in "ab":
        until((project.root / f"{name}.heard").exists, "the first signal")
    live.process.send_signal(signal.SIGINT)
    code, output = live.finish()
    assert code == (130 if way == "--jobs 2" else 2), output
    # Neither the grace of five seconds nor the stage's own way had the last word.
    assert [entry(project, name)["exit_code"] for name in "ab"] == [137, 137]
    assert project.manifest()["status"] == "cancelled"
    assert broken(project.root) == []
    all_gone(project.root)


def test_a_signal_is_heard_over_output_without_end(project, session):
    project.pipeline(command("a", "echo $$ > a.pid; exec yes"), command("b", "echo $$ > b.pid; exec yes"))
    live = session("-n 2")
    for name in "ab":
        live.pid(name)
    live.process.send_signal(signal.SIGINT)
    code, output = live.finish()
    assert code == 2, output
    assert project.manifest()["status"] == "cancelled"
    all_gone(project.root)


@pytest.mark.parametrize("way", ["--jobs 2", "-n 2"])
def test_a_killed_session_leaves_nothing_running_and_can_be_resumed(project, session, way):
    project.pipeline(command("a", waits("a")), command("b", ESCAPED + waits("b")), command("c", needs=["a"]))
    live = session(way)
    for name in ("a", "b", "escaped"):
        live.pid(name)
    os.kill(live.process.pid, signal.SIGKILL)
    live.process.wait()
    all_gone(project.root)
    for name in "ab":
        live.open_gate(name)
    run_id = project.runs()[-1].name
    done = project.cli("resume", "--run", run_id, "--jobs", "2")
    assert done.returncode == 0, done.stdout
    assert set(statuses(project).values()) == {"succeeded"}
    assert broken(project.root) == []


@pytest.mark.parametrize("way", ["--jobs 2", "-n 2"])
def test_what_stages_leave_serves_others_and_is_ended_with_the_run(project, session, way):
    daemon = "sleep 600 > /dev/null 2>&1 & echo $! > daemon.pid"
    project.pipeline(
        command("serve", daemon),
        command("use", "kill -0 $(cat daemon.pid)", needs=["serve"]),
        command("other", waits("other"), needs=["use"]),
    )
    live = session(way)
    live.pid("other")
    pid = live.pid("daemon")
    assert is_alive(pid)
    live.open_gate("other")
    code, output = live.finish()
    assert code == 0, output
    assert not is_alive(pid)
    assert f"Ended what stages left running: sleep 600 (pid {pid})." in project.manifest()["summary"]


@pytest.mark.parametrize("way", ["--jobs 2", "-n 2"])
def test_a_run_inside_of_a_stage_closes_itself_when_all_is_cancelled(project, session, way):
    nested = f"{sys.executable} -m codex_orchestrator start inner --task inner"
    project.pipelines(
        work=[command("outer", nested), command("beside", waits("beside"))],
        inner=[command("deep", f"trap '' TERM; {waits('deep')}")],
    )
    live = session(way)
    live.pid("beside")
    live.pid("deep")
    live.process.send_signal(signal.SIGTERM)
    code, output = live.finish()
    assert code == (143 if way == "--jobs 2" else 2), output
    inner = project.manifest("inner")
    # It has needed its five seconds to end its own stage, and has had them.
    assert (inner["status"], inner["commands"][0]["exit_code"]) == ("cancelled", 137)
    child = project.manifest()["child_runs"]
    assert [(each["run_id"], each["status"]) for each in child] == [(inner["run_id"], "cancelled")]
    assert broken(project.root) == []
    all_gone(project.root)
