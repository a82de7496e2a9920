"""``codex-orchestrator start work`` and ``pytest --codex-pipeline work`` leave the same evidence."""

from __future__ import annotations

import json
import re

import pytest

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
}
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


def steady(value, run_id):
    """A JSON value without what may differ."""
    if isinstance(value, dict):
        return {key: "…" if key in VOLATILE else steady(item, run_id) for key, item in value.items()}
    if isinstance(value, list):
        return [steady(item, run_id) for item in value]
    return TIMESTAMP.sub("<time>", value.replace(run_id, "<run>")) if isinstance(value, str) else value


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
    (folder,) = (root / ".runs" / "task-1" / "cli").iterdir()
    files = [path for top in (".runs", "out") for path in (root / top).rglob("*") if path.is_file()]
    return {
        path.relative_to(root).as_posix().replace(folder.name, "<run>"): (
            path.stat().st_mode,
            [steady(document, folder.name) for document in documents(path)],
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
        entry["status"] for entry in started[1][".runs/task-1/cli/<run>/manifest.json"][1][0]["commands"]
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
