"""Kill -9 at random moments of a run with nested runs and a retry, and resume it until it is green.

Each stage says when it begins and ends, and holds a lock of its own meanwhile; the logs say what the
owner knew when it was killed.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import commands
from tests.support.invariants import broken, manifests
from tests.support.projects import Project, named

from .evidence import is_temporary
from .moments import Moment, logged, stage
from .processes import PATIENCE_SECONDS

KILLS = 50
SAMPLE = 4
# How often one run is killed before it is left to end: its resumes are killed, too.
DEATHS = 3
POLL_SECONDS = 0.001

PIPELINES = {
    "work": [
        stage("a"),
        {"id": "outer", "kind": "subpipeline", "pipeline": "outer"},
        stage("flaky", "test -e tried || { touch tried; exit 1; }", retries=2),
        stage("z"),
    ],
    "outer": [stage("o1"), {"id": "inner", "kind": "subpipeline", "pipeline": "inner"}, stage("o2")],
    "inner": [stage("i1"), stage("i2"), stage("soft", "false || true", allowFailure=True)],
}


class Killed:
    """A project whose runs are killed."""

    def __init__(self, root: Path) -> None:
        (root / ".git").mkdir(parents=True)
        self.root = root
        self.project = Project(root)
        self.project.write(
            {
                "pipelines": [
                    {"id": name, "title": name, "stages": named(stages)} for name, stages in PIPELINES.items()
                ]
            }
        )

    def run(self, kill_at: int | None = None) -> tuple[int, str]:
        """Start or resume, and kill when so much has been logged; exit code and stderr."""
        words = ["resume", "--run", "latest"] if manifests(self.root) else ["start", "work"]
        process = commands.begin(
            "codex_orchestrator",
            words,
            cwd=self.root,
            env=self.project.environment,
            syncs=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        while kill_at is not None:
            try:
                process.wait(POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if logged(self.root) >= kill_at:
                    process.kill()
                    break
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, said


def run_again(root: Path) -> list[str]:
    """Stages that began again after the log had said that they had succeeded."""
    found = []
    for log in root.glob(".runs/task-1/cli/*/runner.ndjson"):
        succeeded: set[int] = set()
        for line in log.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # Its writer was killed in it.
            if event["type"] == "stage:completed" and event["status"] == "succeeded":
                succeeded.add(event["index"])
            if event["type"] == "exec:begin" and event["index"] in succeeded:
                found.append(f"{log.parent.name}: stage {event['index']} ran after its success")
    return found


def problems_of(killed: Killed, total: int, chance: random.Random) -> list[str]:
    """Kill a run and its resumes, then let it end: what is wrong then."""
    for _ in range(DEATHS):
        reached = logged(killed.root)
        code, said = killed.run(chance.randint(reached, max(reached, total)))
        if code not in (0, -signal.SIGKILL):
            return [f"ended with {code}: {said}"]
    code, said = killed.run()
    return wrong(killed.root) if code == 0 else [f"ended with {code}: {said}"]


def wrong(root: Path) -> list[str]:
    """What does not hold for a project whose run is green at last."""
    runs = list(manifests(root).values())
    names = sorted(run["pipeline_id"] for run in runs)
    lines = (root / "ran").read_text().splitlines()
    told = [name for stages in PIPELINES.values() for name in (s["id"] for s in stages if "command" in s)]
    return [
        *broken(root),
        *run_again(root),
        *([f"there are runs of {names}"] if names != sorted(PIPELINES) else []),
        *(f"{run['pipeline_id']} {run['status']}" for run in runs if run["status"] != "succeeded"),
        *(line for line in lines if line.startswith("twice")),
        *(f"{name} never ended" for name in told if f"end {name}" not in lines),
        *(f"left over: {path}" for path in root.glob(".runs/**/*") if is_temporary(path)),
    ]


@pytest.fixture(scope="module")
def total(tmp_path_factory) -> int:
    """How much a run logs that nobody kills."""
    killed = Killed(tmp_path_factory.mktemp("unharmed") / "project")
    code, said = killed.run()
    assert code == 0, said
    return logged(killed.root)


@pytest.mark.timeout(3_000)
def test_a_run_that_is_killed_again_and_again_ends_green_with_nothing_run_twice(
    total, points, tmp_path_factory
):
    if shutil.which("flock") is None:
        pytest.skip("flock is not installed")

    def tried(moment: Moment) -> list[str]:
        folder = tmp_path_factory.mktemp("killed")
        found = problems_of(Killed(folder / "project"), total, random.Random(moment.seed))
        if not found:
            shutil.rmtree(folder)
        return found

    moments = [Moment("kill", seed) for seed in range(KILLS)]
    points.tried(points.of(moments, moments, SAMPLE), tried)
