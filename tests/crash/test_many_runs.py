"""Many runs of one task that end at the same moment, alone and beside somebody who holds their lock."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codex_orchestrator.evidence.locks import SOFT_SUFFIX
from tests.support.projects import Project, named

from .crowd import GATE, crowd, patiently
from .evidence import files_in, found_runs, lines_of, settled, task_of
from .processes import TASK

UNMERGED = "not merged yet"
COUNTING = ("manifests", "recorded", "metrics", "totalRuns", "samples")


@pytest.fixture
def root(project) -> Path:
    """A project whose only stage waits until it is let go, and whose pipeline `one` does not."""
    stages = {"work": GATE, "one": "true"}
    pipelines = [{"id": name, "title": name, "stages": named([command])} for name, command in stages.items()]
    project.write({"pipelines": pipelines})
    return project.root


@pytest.fixture
def beside(points) -> int:
    """How many runs there are beside one that holds the lock."""
    return 50 if points.whole else 10


def count_of_runs(root: Path) -> dict[str, int]:
    """The number of runs by everything that counts them."""
    task = task_of(root)
    return {
        "manifests": sum(run.manifest["status"] == "succeeded" for run in found_runs(root)),
        "recorded": sum(run.manifest["metrics_recorded"] for run in found_runs(root)),
        "metrics": len(lines_of(task.metrics)),
        "totalRuns": json.loads(task.state.read_bytes())["totalRuns"],
        "samples": json.loads(task.drift.read_bytes())["total_samples"],
    }


def all_count(root: Path, count: int) -> None:
    assert settled(root) == []
    assert count_of_runs(root) == dict.fromkeys(COUNTING, count)
    assert [path for path in files_in(root) if path.name.endswith(SOFT_SUFFIX)] == []
    for path in files_in(root):
        if path.suffix == ".lock":
            with path.open("rb") as lock:
                # Raises where somebody holds it.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unmerged(root: Path) -> int:
    """How many runs say that their records were not merged."""
    return sum(UNMERGED in (run.manifest["summary"] or "") for run in found_runs(root))


@contextmanager
def held_lock(root: Path) -> Iterator[None]:
    """Hold what the runs of the task need to merge their metrics."""
    path = task_of(root).journal_lock
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_one(root: Path) -> None:
    done = Project(root).cli("start", "one", environment={"MCP_RUNNER_TASK_ID": TASK})
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(600)
def test_fifty_runs_that_end_at_once_are_all_recorded(root):
    with crowd(root, 50) as runs:
        runs.let_go()
        assert runs.failed() == []
    all_count(root, 50)


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("turn", range(5))
def test_two_hundred_runs_that_end_at_once_are_all_recorded(root, points, turn):
    if not points.whole:
        pytest.skip("only with the whole fault suite: FAULTS=all")
    with crowd(root, 200) as runs:
        runs.let_go()
        assert runs.failed() == []
    all_count(root, 200)


@pytest.mark.timeout(600)
def test_runs_beside_one_that_never_lets_the_lock_go_lose_nothing(root, beside):
    with held_lock(root):
        with crowd(root, beside) as runs:
            runs.let_go()
            assert runs.failed() == []
        recorded = [run.manifest["metrics_recorded"] for run in found_runs(root)]
        assert recorded == [False] * beside
        assert unmerged(root) == beside
        assert lines_of(task_of(root).metrics) == []
    run_one(root)
    all_count(root, beside + 1)


@pytest.mark.timeout(600)
def test_runs_beside_one_that_lets_the_lock_go_meanwhile_are_all_recorded(root, beside):
    pending = task_of(root).metrics_pending
    with crowd(root, beside) as runs:
        with held_lock(root):
            runs.let_go()
            patiently(lambda: len(list(pending.glob("*.json"))) >= beside // 2, "half of the records")
        assert runs.failed() == []
    run_one(root)
    all_count(root, beside + 1)
