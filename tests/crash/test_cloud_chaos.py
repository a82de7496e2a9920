"""A cluster of which workers, the scheduler or the orchestrator are killed or stopped at random moments.

Each command writes into a ledger of its own when it begins: no attempt begins twice, nothing is left running
after the lease, every file is valid, and the run can be taken up again until it is done.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

import pytest

from tests.support.at_once import Session
from tests.support.clusters import Cluster, needs_dask
from tests.support.invariants import broken
from tests.support.processes import until
from tests.support.projects import named

pytestmark = needs_dask

RUNS, SAMPLE = 30, 0
LOSS_SECONDS = 2
STAGES = [
    {"id": "a", "needs": [], "retries": 1},
    {"id": "b", "needs": []},
    {"id": "c", "needs": ["a"], "retries": 2},
    {"id": "d", "needs": ["b"]},
    {"id": "e", "needs": ["c", "d"], "retries": 1},
]
COMMAND = "echo $CODEX_ORCHESTRATOR_STAGE_ID >> ledger; sleep 0.3; echo done"


@pytest.fixture
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"), 3, threads=1)
    yield made
    made.close()


def harm(chance: random.Random, cluster: Cluster, session: Session) -> str:
    """Do something to somebody; what, in words."""
    worker = chance.choice(sorted(cluster.workers))
    whom = {worker: cluster.workers[worker], "the scheduler": cluster.scheduler, "we": session.process}
    name = chance.choice([worker, worker, worker, "the scheduler", "we"])
    number = chance.choice([signal.SIGKILL, signal.SIGSTOP])
    if name == "we":
        number = signal.SIGKILL
    with suppress(ProcessLookupError):
        os.kill(whom[name].pid, number)
    return f"{name}: {signal.Signals(number).name}"


def begun(project, kind: str) -> Counter:
    """How often each stage has begun, by the log."""
    stages = [stage["id"] for stage in STAGES]
    counted: Counter = Counter()
    for line in (project.runs()[-1] / "runner.ndjson").read_text().splitlines():
        with suppress(ValueError):
            event = json.loads(line)
            if event["type"] == kind:
                counted[stages[event["index"] - 1]] += 1
    return counted


@pytest.mark.parametrize("seed", range(RUNS))
def test_no_attempt_is_made_twice_and_the_run_ends_in_the_end(
    project, points, request, seed, tmp_path_factory
):
    if seed not in points.of(range(RUNS), range(RUNS), SAMPLE):
        pytest.skip("in the sample is another; FAULTS=all tries all of them")
    cluster = request.getfixturevalue("cluster")
    chance = random.Random(seed)
    stages = [{**stage, "command": COMMAND, "executionMode": "cloud"} for stage in STAGES]
    pipeline = {"id": "work", "title": "Work", "stages": named(stages)}
    project.write({"pipelines": [pipeline], "cloud": {"lossSeconds": LOSS_SECONDS, "connectSeconds": 20}})
    session = Session(project, f"--jobs 1 --cluster {cluster.address}")
    until(lambda: (project.root / "ledger").exists() or session.process.poll() is not None, "a command")
    time.sleep(chance.uniform(0, 0.8))
    harmed = harm(chance, cluster, session)
    session.process.wait(60)
    session.end()
    cluster.close()
    until(lambda: not cluster.runners(), f"{seed}, {harmed}: the end of what runs commands")
    ledger = Counter((project.root / "ledger").read_text().split())
    tried = begun(project, "exec:begin") if harmed != "we: SIGKILL" else begun(project, "command:start")
    assert not ledger - tried, f"{seed}, {harmed}: {ledger} and {tried}"
    fresh = Cluster(tmp_path_factory.mktemp("fresh"), 1)
    try:
        done = project.cli("resume", "--run=latest", f"--cluster={fresh.address}")
        assert done.returncode == 0, f"{seed}, {harmed}: {done.stdout}{done.stderr}"
    finally:
        fresh.close()
    assert broken(project.root) == [], f"{seed}, {harmed}"
