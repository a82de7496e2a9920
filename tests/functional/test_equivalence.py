"""However a pipeline is run, serially or at once, here or on workers, it leaves the same evidence."""

from __future__ import annotations

import subprocess

import pytest

from tests.support import at_once
from tests.support.at_once import command, words
from tests.support.compared import comparable, evidence, same
from tests.support.environment import needs_xdist
from tests.support.invariants import broken
from tests.support.processes import DEADLINE_SECONDS

STAGES = [
    {"id": "build", "command": "echo building", "env": {"LEVEL": "2"}},
    {
        "id": "place",
        "command": 'echo "$LEVEL:$PWD" | sed "s|.*/||"',
        "cwd": "sub",
        "summaryHint": "where it ran",
    },
    {"id": "names", "command": "env | cut -d= -f1 | sort", "needs": []},
    {"id": "soft", "command": "echo because >&2; exit 3", "allowFailure": True, "retries": 1},
    {"id": "bad", "command": "echo why >&2; exit 7"},
    {"id": "blocked", "command": "true"},
    {"id": "spec-guard", "command": "true", "needs": ["soft"]},
    {"id": "killed", "command": "kill -TERM $$", "needs": []},
    {"id": "late", "command": "exec sleep 60", "needs": [], "timeoutSeconds": 0.1},
    {"id": "silent", "command": "true", "needs": ["build"], "session": {"id": "shared", "persist": True}},
]


@pytest.fixture
def both(project):
    """Run the pipeline both ways in the same folder, and answer what each left."""

    def run(*stages, start=(), plugin=(), **keys):
        project.pipeline(*stages, **keys)
        (project.root / "sub").mkdir(exist_ok=True)
        left = []
        for way in ("start", "pytest"):
            if way == "start":
                done = project.cli("start", "work", *start)
            else:
                done = project.pytest("--codex-pipeline", "work", *plugin)
            left.append((done.returncode, evidence(project.root)))
            # Each way in finds the folder as the other did, aggregates included.
            for name in (".runs", "out"):
                (project.root / name).rename(project.root.parent / f"{way}{name}")
        return left

    return run


def test_both_ways_in_leave_the_same_files_with_the_same_content(both):
    started, tested = both(*STAGES, description="Every outcome", tags=["a"], guardrailsRequired=True)
    assert (started[0], tested[0]) == (1, 1)
    assert sorted(started[1]) == sorted(tested[1])
    for path, content in started[1].items():
        assert content == tested[1][path], path
    statuses = [
        entry["status"] for entry in started[1][".runs/task-1/cli/<work>/manifest.json"][1][0]["commands"]
    ]
    assert statuses == [
        "succeeded",
        "succeeded",
        "succeeded",
        "skipped",
        "failed",
        "pending",
        "succeeded",
        "failed",
        "failed",
        "succeeded",
    ]


def test_both_ways_in_take_the_same_selection_and_options(both):
    options = {"approval-policy": "never", "target": "s2", "execution-mode": "mcp", "only": "s2"}
    options |= {"parent-run": "2026-01-01T00-00-00-000Z-00000000"}
    started, tested = both(
        "true",
        "echo two",
        "true",
        start=[f"--{name}={value}" for name, value in options.items()],
        plugin=[f"--codex-{name}={value}" for name, value in options.items()],
    )
    assert (started[0], tested[0]) == (0, 0)
    assert started[1] == tested[1]


# Twelve stages: a graph, a branch that fails, failures that are allowed, and nested pipelines, of which the
# one that is declared last can begin first.
GRAPH = [
    command("fetch", "echo fetched"),
    command("build", "for part in 1 2 3; do echo $LEVEL.$part; done", needs=["fetch"], env={"LEVEL": "2"}),
    command("docs", "echo écrit >&2", needs=["fetch"]),
    command("lint", "echo warned >&2; exit 3", allowFailure=True, retries=1),
    command("bad", "echo why >&2; exit 7", needs=["build"]),
    command("after-bad", "true", needs=["bad"]),
    command("after-that", "true", needs=["after-bad", "docs"]),
    {"kind": "subpipeline", "id": "nested", "pipeline": "inner", "needs": ["docs"]},
    command("spec-guard", "true", needs=["lint", "nested"]),
    {"kind": "subpipeline", "id": "early", "pipeline": "other", "needs": []},
    command("late", "exec sleep 60", needs=["fetch"], timeoutSeconds=0.1),
    command("port", 'test -n "$CODEX_ORCHESTRATOR_RUN_ID"', resources={"port": 1}),
]
INNER = [command("one", "echo in"), command("two", "exit 4", needs=["one"], allowFailure=True)]
OTHER = [command("killed", "kill -TERM $$", allowFailure=True)]


@pytest.fixture
def left_by(project):
    """Run the graph in one way, and answer what it left: the folder is as it was before."""

    def run(way: str, *more: str) -> dict:
        project.pipelines(work=GRAPH, inner=INNER, other=OTHER)
        done = subprocess.run(
            words(way, ("work",), *more),
            cwd=project.root,
            env=at_once.environment(project),
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert broken(project.root) == []
        files = evidence(project.root)
        for name in (".runs", "out"):
            (project.root / name).rename(project.root.parent / f"{way.replace(' ', '')}{name}")
        return files

    return run


@pytest.fixture
def serial(left_by) -> dict:
    """What a serial run of the graph leaves."""
    files = left_by("")
    assert {entry["id"]: entry["status"] for entry in files[MANIFEST][1][0]["commands"]} == {
        "fetch": "succeeded",
        "build": "succeeded",
        "docs": "succeeded",
        "lint": "skipped",
        "bad": "failed",
        "after-bad": "pending",
        "after-that": "pending",
        "nested": "succeeded",
        "spec-guard": "succeeded",
        "early": "succeeded",
        "late": "failed",
        "port": "succeeded",
    }
    return comparable(files)


MANIFEST = ".runs/task-1/cli/<work>/manifest.json"


@needs_xdist
def test_stages_at_once_leave_what_a_serial_run_leaves(serial, left_by):
    for way in ("--jobs 4", "-n 4"):
        files = left_by(way)
        assert ("scheduler" in files[MANIFEST][1][0]) == (way == "-n 4")
        same(serial, comparable(files))


@needs_xdist
def test_workers_behind_ssh_leave_what_a_serial_run_leaves(serial, left_by, sshd):
    files = left_by("--codex-task=task-1", *("--tx", sshd.spec) * 2)
    assert "scheduler" in files[MANIFEST][1][0]
    same(serial, comparable(files))
