"""However a pipeline is run, serially or at once, here or on workers, it leaves the same evidence."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import zip_longest

import pytest

from tests.support import at_once
from tests.support.at_once import command, words
from tests.support.environment import needs_xdist
from tests.support.invariants import broken, manifests
from tests.support.processes import DEADLINE_SECONDS

# What may differ between two runs of one pipeline, whichever way in: identities, times, and what is counted
# by the clock. Everything else in every file must be the same.
VOLATILE = {
    "run_id",
    "runId",
    "token",
    "resume_token",
    "correlation_id",
    "correlationId",
    "session_id",
    "handle_id",
    "handleId",
    "duration_ms",
    "duration_seconds",
    "average_duration_seconds",
    "heartbeat_writes",
    "pid",
    "start_token",
    "covered_bytes",
    # Runs of one session are counted as they end.
    "total_samples",
    "totalSamples",
}
# Between serial runs and those of stages at once (docs/reference/manifest.md, "Runs compared"): what only
# workers leave, and how output is cut into chunks, which is a matter of time too.
OF_WORKERS = {"scheduler", "instance_stats", "scheduler_mode"}
OF_CHUNKS = {"sequence", "frames", "frame_count", "frameCount", "latest_sequence", "latestSequence"} | {
    f"{kind}{ending}" for kind in ("total", "allowed") for ending in ("_frames", "Frames")
}
EVENTS_OF_WORKERS = {"scheduler:started", "stage:assigned", "stage:released"}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")

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


def steady(value, runs):
    """A JSON value without what may differ."""
    if isinstance(value, dict):
        return {key: "…" if key in VOLATILE else steady(item, runs) for key, item in value.items()}
    if isinstance(value, list):
        return [steady(item, runs) for item in value]
    return TIMESTAMP.sub("<time>", renamed(value, runs)) if isinstance(value, str) else value


def renamed(text, runs) -> str:
    """A text with ids of runs replaced."""
    for run_id, name in runs.items():
        text = text.replace(run_id, name)
    return text


def documents(path) -> list:
    """The JSON documents of a file, one or one per line; any other text as it is."""
    text = path.read_text(encoding="utf-8")
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return [text]


def evidence(root) -> dict:
    """Every file below ``.runs`` and ``out`` by its path, steady."""
    runs = {run_id: f"<{manifest['pipeline_id']}>" for run_id, manifest in manifests(root).items()}
    files = [path for top in (".runs", "out") for path in (root / top).rglob("*") if path.is_file()]
    return {
        renamed(path.relative_to(root).as_posix(), runs): (
            path.stat().st_mode,
            [steady(document, runs) for document in documents(path)],
        )
        for path in files
    }


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


def without(names: set[str], value):
    """A JSON value without some keys, however deep."""
    if isinstance(value, dict):
        return {key: without(names, item) for key, item in value.items() if key not in names}
    return [without(names, item) for item in value] if isinstance(value, list) else value


def subject(event: dict) -> tuple[int, str]:
    """What an event is about: a stage, a stage's run, or the run as a whole."""
    return event.get("index") or 0, event["manifest"] if event["type"] == "child:changed" else ""


def runs_in_any_order(document):
    """A document with its lists of runs sorted."""
    if not isinstance(document, dict):
        return document
    lists = {
        key: document[key]
        for key in ("child_runs", "childRuns", "runs")
        if isinstance(document.get(key), list)
    }
    return {**document, **{key: sorted(runs, key=json.dumps) for key, runs in lists.items()}}


def whole(told: list[dict]) -> list[dict]:
    """Events with the chunks of a stream in one."""
    joined: list[dict] = []
    for event in told:
        before = joined[-1] if joined else {}
        if event["type"] == "exec:chunk" and all(
            before.get(key) == event[key] for key in ("type", "index", "attempt", "stream")
        ):
            parts = {key: before[key] + event[key] for key in ("data", "bytes")}
            joined[-1] = {**before, **parts}
        else:
            joined.append(event)
    return joined


def comparable(files: dict) -> dict:
    """Evidence of a pipeline whose stages may have run in any order that their needs allow."""
    compared = {}
    for path, (mode, found) in files.items():
        kept = without(OF_WORKERS | OF_CHUNKS, found)
        if path.endswith(".ndjson") and "/cli/" in path:
            told = [event for event in kept if event["type"] not in EVENTS_OF_WORKERS]
            kept = whole(sorted(told, key=subject))
        elif "/cli/" not in path or path.endswith(("/manifest.json", "/run-summary.json")):
            # Runs are listed as they began, or ended.
            kept = sorted(map(runs_in_any_order, kept), key=json.dumps)
        compared[path] = (mode, kept)
    return compared


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


def same(first: dict, second: dict) -> None:
    assert sorted(first) == sorted(second)
    for path, (mode, documents) in first.items():
        assert mode == second[path][0], path
        for mine, other in zip_longest(documents, second[path][1]):
            assert mine == other, path
