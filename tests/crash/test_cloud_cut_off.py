"""Commands on a cluster of which a part dies, or is stopped, which stands for a network that is cut."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.at_once import Session, waits
from tests.support.clusters import Cluster, needs_dask
from tests.support.invariants import broken
from tests.support.processes import is_alive, until

pytestmark = needs_dask

LOSS_SECONDS = 2
# Nothing here is found by its mark, which only what looks after the orchestrator's own machine would do.
COMMAND = "unset $(env | grep ^CODEX_ | cut -d= -f1); echo x >> ledger; " + waits("long")


# Each takes the time of a lease.
SAMPLE = "the scheduler is killed"


@pytest.fixture(autouse=True)
def _is_asked_for(request, points):
    name = request.node.callspec.id if hasattr(request.node, "callspec") else request.node.name
    if name not in points.of([name], [SAMPLE], 1):
        pytest.skip("in the sample is another; FAULTS=all tries all of them")


@pytest.fixture
def cluster(_is_asked_for, tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"), threads=1)
    yield made
    made.close()


@pytest.fixture
def begun(project, cluster):
    """A session with a command that runs on a worker: the session, the command's process id, its worker."""
    stages = [
        {"id": "long", "title": "Long", "kind": "command", "command": COMMAND},
        {"id": "next", "title": "Next", "kind": "command", "command": "true"},
    ]
    pipeline = {"id": "work", "title": "Work", "stages": stages}
    project.write({"pipelines": [pipeline], "cloud": {"lossSeconds": LOSS_SECONDS, "connectSeconds": 5}})
    session = Session(project, f"--jobs 1 --execution-mode cloud --cluster {cluster.address}")
    pid = session.pid("long")
    (worker,) = {one["instance_id"] for one in until(lambda: assignments(project), "a worker")}
    yield session, pid, cluster.workers[worker]
    session.end()


def assignments(project) -> list[dict]:
    return project.manifest().get("scheduler", {}).get("assignments", [])


CASES = {
    "the scheduler is killed": (lambda cluster, worker: cluster.scheduler.kill(), "gave no sign of life"),
    "the scheduler is stopped": (
        lambda cluster, worker: cluster.scheduler.send_signal(signal.SIGSTOP),
        "gave no sign of life",
    ),
    "the worker is stopped": (
        lambda cluster, worker: worker.send_signal(signal.SIGSTOP),
        "gave no sign of life",
    ),
    "the worker is killed": (lambda cluster, worker: worker.kill(), "died"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_command_ends_and_the_entry_says_why(project, cluster, begun, case):
    session, pid, worker = begun
    happens, cause = CASES[case]
    happens(cluster, worker)
    code, output = session.finish()
    assert code == 1, output
    assert not is_alive(pid)
    first, second = project.manifest()["commands"]
    assert (first["status"], second["status"]) == ("failed", "pending")
    assert cause in first["summary"]
    assert (project.root / "ledger").read_text() == "x\n"
    assert broken(project.root) == []


@pytest.mark.parametrize("stopped", ["scheduler", "worker"])
def test_a_cancelled_session_ends_though_nobody_answers(project, cluster, begun, stopped):
    session, pid, worker = begun
    (worker if stopped == "worker" else cluster.scheduler).send_signal(signal.SIGSTOP)
    session.process.send_signal(signal.SIGTERM)
    code, output = session.finish()
    assert code == 143, output
    until(lambda: not is_alive(pid), "the end of the command")
    assert project.manifest()["status"] == "cancelled"
    assert broken(project.root) == []


def test_a_stopped_orchestrator_loses_its_commands(project, cluster, begun):
    session, pid, _ = begun
    os.killpg(session.process.pid, signal.SIGSTOP)
    until(lambda: not is_alive(pid), "the end of the command")
    os.killpg(session.process.pid, signal.SIGCONT)
    code, output = session.finish()
    assert code == 1, output
    assert project.manifest()["commands"][0]["status"] == "failed"
    assert broken(project.root) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_what_no_worker_has_begun_is_lost_with_the_scheduler(project, cluster, number):
    stages = [
        {"id": f"s{n}", "title": "S", "kind": "command", "command": f"{waits(f's{n}')}", "needs": []}
        for n in range(4)
    ]
    pipeline = {"id": "work", "title": "Work", "stages": stages}
    project.write({"pipelines": [pipeline], "cloud": {"lossSeconds": LOSS_SECONDS}})
    session = Session(project, f"--jobs 1 --execution-mode cloud --cluster {cluster.address}")
    session.pid("s0")
    cluster.scheduler.send_signal(number)
    code, output = session.finish()
    session.end()
    assert code == 1, output
    assert {entry["status"] for entry in project.manifest()["commands"]} == {"failed"}
    assert broken(project.root) == []
