"""Workers on another machine: here, behind an SSH server of the tests' own on loopback."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.at_once import command, run, waits
from tests.support.environment import needs_xdist
from tests.support.invariants import broken
from tests.support.processes import all_gone, children_of, is_alive, until
from tests.support.runs import events, statuses

pytestmark = needs_xdist


def tx(sshd, count: int) -> list[str]:
    """Options for so many workers."""
    return ["--tx", f"{count}*{sshd.spec}"]


def clients(session) -> list[int]:
    """The processes by which a session reaches its workers."""
    pids = children_of(session.process.pid)
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ssh\0")]


def test_stages_run_there_and_are_recorded_here(project, sshd):
    meets = "touch {0}.up; until test -e {1}.up; do sleep 0.02; done"
    # Whatever is called as the pipeline is, is no argument of pytest's.
    (project.root / "work").mkdir()
    project.environment["ONLY_HERE"] = "yes"
    project.pipeline(
        command("a", f"{meets.format('a', 'b')}; echo $ONLY_HERE $PWD $CODEX_ORCHESTRATOR_TASK_ID"),
        command("b", meets.format("b", "a")),
        command("serve", "sleep 600 > /dev/null 2>&1 & echo $! > daemon.pid", needs=["a"]),
        command("use", "kill -0 $(cat daemon.pid)", needs=["serve"]),
        command("bad", "exit 3", allowFailure=True),
    )
    done = run(project, "-q", *tx(sshd, 2))
    assert done.returncode == 0, done.stdout
    assert statuses(project) == {**dict.fromkeys(("a", "b", "serve", "use"), "succeeded"), "bad": "skipped"}
    manifest = project.manifest()
    assert {worker["instance_id"] for worker in manifest["scheduler"]["assignments"]} == {"gw0", "gw1"}
    said = "".join(event["data"] for event in events(project, "exec:chunk"))
    assert said == f"yes {project.root} task-1\n"
    # A process of that machine, which only a worker there can end.
    assert "Ended what stages left running on gw" in manifest["summary"]
    assert "sleep 600" in manifest["summary"]
    assert not is_alive(int((project.root / "daemon.pid").read_text()))
    assert broken(project.root) == []


def test_a_connection_that_breaks_costs_an_attempt(project, session, sshd):
    project.pipeline(command("a", waits("a"), retries=1))
    live = session("-q", *tx(sshd, 1))
    first = live.pid("a")
    (project.root / "a.pid").unlink()
    for pid in clients(live):
        os.kill(pid, signal.SIGKILL)
    second = live.pid("a")
    # The other side has ended what it ran, though nobody here could.
    until(lambda: not is_alive(first), "the end of the first attempt")
    assert is_alive(second)
    live.open_gate("a")
    code, output = live.finish()
    assert code == 0, output
    assert [event["error"] for event in events(project, "exec:retry")] == ["Worker gw0 died"]
    assert broken(project.root) == []
    all_gone(project.root)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_the_end_of_the_session_is_the_end_of_what_runs_there(project, session, sshd, number):
    project.pipeline(command("a", waits("a")))
    live = session("-q", *tx(sshd, 1))
    pid = live.pid("a")
    os.kill(live.process.pid, number)
    code, output = live.finish()
    assert code == (2 if number == signal.SIGINT else -signal.SIGKILL), output
    until(lambda: not is_alive(pid), "the end of the stage")
    all_gone(project.root)
    if number == signal.SIGINT:
        assert project.manifest()["commands"][0]["exit_code"] == 130
        assert broken(project.root) == []


def test_a_host_that_cannot_be_reached_is_a_usage_error(project, sshd):
    project.pipeline("true")
    gone = sshd.spec.replace(f"-p {sshd.port}", "-p 1")
    done = run(project, "-q", "--tx", gone)
    assert done.returncode == 4, done.stdout
    assert "A worker cannot be started" in done.stdout
    assert "INTERNALERROR" not in done.stdout
    assert not (project.root / ".runs").exists()
