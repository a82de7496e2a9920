"""Kill -9 at random moments of random workers of a session with three: attempts are lost, and nothing else.

Each stage says when it begins and ends, and holds a lock of its own meanwhile, so that one that runs at two
workers at once says so; the record is compared with what happened.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from codex_orchestrator.definitions.graph import reached_failure
from tests.support import at_once
from tests.support.environment import needs_xdist
from tests.support.invariants import broken, manifests
from tests.support.processes import DEADLINE_SECONDS, children_of, processes_in, until
from tests.support.projects import Project, named

from .moments import Moment, logged, stage

RUNS = 30
SAMPLE = 3
# Of one session, which replaces twelve.
MOST_KILLS = 3
POLL_SECONDS = 0.002
LONGEST_PAUSE_SECONDS = 0.05

PIPELINES = {
    "work": [
        stage("a", needs=[], retries=1),
        stage("b", needs=[]),
        stage("c", "sleep 0.2", needs=[], retries=2),
        stage("d", needs=["a", "b"]),
        stage("e", needs=["c"], retries=1),
        stage("f", "exit 1", needs=["d"], retries=3, allowFailure=True),
        {"id": "nested", "kind": "subpipeline", "pipeline": "inner", "needs": ["b"]},
        stage("g", "sleep 0.1", needs=[]),
        stage("z", needs=["e", "nested"], retries=1),
    ],
    "inner": [stage("i1", retries=1), stage("i2", "sleep 0.1", needs=["i1"]), stage("i3", needs=["i1"])],
}


class Hunted:
    """A project whose workers are killed.

    Attributes:
        root: Its folder.
        kills: How many were.
    """

    def __init__(self, root: Path) -> None:
        (root / ".git").mkdir(parents=True)
        self.root = root
        self.kills = 0
        self._project = Project(root)
        pipelines = [{"id": name, "title": name, "stages": named(given)} for name, given in PIPELINES.items()]
        self._project.write({"pipelines": pipelines})

    def run(self, chance: random.Random, moments: list[int]) -> list[str]:
        """Run, and kill a worker each time when so much has been logged: what was wrong with it."""
        session = at_once.Session(self._project, at_once.WORKERS)
        process = session.process
        try:
            for moment in moments:
                self._wait_for(process, moment)
                # Not always in the step that follows a line of the log.
                time.sleep(chance.uniform(0, LONGEST_PAUSE_SECONDS))
                workers = [pid for pid in children_of(process.pid) if is_up(pid)]
                if workers:
                    with suppress(ProcessLookupError):
                        os.kill(chance.choice(workers), signal.SIGKILL)
                        self.kills += 1
            code, said = session.finish()
        except subprocess.TimeoutExpired:
            return [f"did not end within {DEADLINE_SECONDS:.0f} s"]
        finally:
            session.end()
        failed = any(run["status"] != "succeeded" for run in manifests(self.root).values() if is_root(run))
        return [] if code == int(failed) else [f"ended with {code}: {said}"]

    def _wait_for(self, process: subprocess.Popen, moment: int) -> None:
        while logged(self.root) < moment:
            try:
                process.wait(POLL_SECONDS)
                return
            except subprocess.TimeoutExpired:
                pass


def is_up(pid: int) -> bool:
    """Whether a process is a worker that has its guardian: one that cannot even start ends the session."""
    try:
        is_worker = b"sys.stdin.readline" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return is_worker and bool(children_of(pid))


def is_root(run: dict) -> bool:
    return run["parent_run_id"] is None


def problems_of(hunted: Hunted, total: int, chance: random.Random) -> list[str]:
    """Kill some workers of a session: what is wrong afterwards."""
    moments = sorted(chance.randint(1, total) for _ in range(chance.randint(1, MOST_KILLS)))
    problems = hunted.run(chance, moments)
    if problems:
        return problems
    until(lambda: not processes_in(hunted.root), "the end of all processes")
    return list(wrong(hunted))


def wrong(hunted: Hunted) -> Iterator[str]:
    """What does not hold for a project whose session has ended."""
    said = (hunted.root / "ran").read_text().splitlines()
    yield from broken(hunted.root)
    yield from (line for line in said if line.startswith("twice"))
    lost = 0
    for run in manifests(hunted.root).values():
        lost += sum(each["recovery_events"] for each in stats_of(hunted.root, run))
        yield from (f"{run['pipeline_id']}: {problem}" for problem in untrue(hunted.root, run, Counter(said)))
    if lost > hunted.kills:
        yield f"{lost} commands lost with {hunted.kills} workers"


def stats_of(root: Path, run: dict) -> list[dict]:
    lines = (root / ".runs/task-1/metrics.json").read_bytes().splitlines()
    return next(line["instance_stats"] for line in map(json.loads, lines) if line["run_id"] == run["run_id"])


def untrue(root: Path, run: dict, said: Counter[str]) -> Iterator[str]:
    """What a manifest says that did not happen, and the other way round."""
    stages = PIPELINES[run["pipeline_id"]]
    entries = {entry["id"]: entry for entry in run["commands"]}
    failed = {name for name, entry in entries.items() if entry["status"] == "failed"}
    waits = {each["id"]: tuple(each.get("needs", before(stages, place))) for place, each in enumerate(stages)}
    for each in stages:
        name, status = each["id"], entries[each["id"]]["status"]
        blocked = reached_failure(waits, name, failed) is not None
        if blocked != (status == "pending"):
            yield f"{name} is {status}, and {'' if blocked else 'not '}blocked by {failed}"
        if "command" not in each:
            continue
        begun, ended = said[f"begin {name}"], said[f"end {name}"]
        if begun > 1 + each.get("retries", 0):
            yield f"{name} began {begun} times, with {each.get('retries', 0)} retries"
        if status == "succeeded" and not ended:
            yield f"{name} never ended, and has succeeded"
        if status == "failed":
            error = json.loads((root / entries[name]["error_file"]).read_bytes())
            if "died" not in json.dumps(error):
                yield f"{name} failed by itself: {error}"


def before(stages: list[dict], place: int) -> list[str]:
    return [stages[place - 1]["id"]] if place else []


@pytest.fixture(scope="module")
def total(tmp_path_factory) -> int:
    """How much a session logs that nobody harms."""
    hunted = Hunted(tmp_path_factory.mktemp("unharmed") / "project")
    assert hunted.run(random.Random(0), []) == []
    assert list(wrong(hunted)) == []
    assert {run["status"] for run in manifests(hunted.root).values()} == {"succeeded"}
    return logged(hunted.root)


@needs_xdist
@pytest.mark.timeout(3_000)
def test_a_killed_worker_costs_an_attempt_and_leaves_a_true_record(total, points, tmp_path_factory):
    if shutil.which("flock") is None:
        pytest.skip("flock is not installed")

    def tried(moment: Moment) -> list[str]:
        folder = tmp_path_factory.mktemp("hunted")
        found = problems_of(Hunted(folder / "project"), total, random.Random(moment.seed))
        if not found:
            shutil.rmtree(folder)
        return found

    moments = [Moment("workers", seed) for seed in range(RUNS)]
    points.tried(points.of(moments, moments, SAMPLE), tried)
