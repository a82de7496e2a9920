"""Evidence of runs in files, as it is compared: without what may differ between two runs of one pipeline."""

from __future__ import annotations

import json
import re
from itertools import zip_longest

from .invariants import manifests

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
    # Of files that have the above in them.
    "size",
    "sha256",
    "root",
    "previous",
    "supersedes",
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


def without(names: set[str], value):
    """A JSON value without some keys, however deep."""
    if isinstance(value, dict):
        return {key: without(names, item) for key, item in value.items() if key not in names}
    return [without(names, item) for item in value] if isinstance(value, list) else value


def subject(event: dict) -> tuple[int, str]:
    """What an event is about: a stage, a stage's run, or the run as a whole."""
    return event.get("index") or 0, event["manifest"] if event["type"] == "child:changed" else ""


def runs_in_any_order(document):
    """A document with its lists of runs, and of files of theirs, sorted."""
    if not isinstance(document, dict):
        return document
    lists = {
        key: document[key]
        for key in ("child_runs", "childRuns", "runs", "files")
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
        if path.endswith(("privacy-decisions.ndjson", "approvals.ndjson")):
            kept = sorted(kept, key=json.dumps)
        elif path.endswith(".ndjson") and "/cli/" in path:
            told = [event for event in kept if event["type"] not in EVENTS_OF_WORKERS]
            kept = whole(sorted(told, key=subject))
        elif "/cli/" not in path or path.endswith(("/manifest.json", "/run-summary.json", "/seal.json")):
            # Runs are listed as they began, or ended.
            kept = sorted(map(runs_in_any_order, kept), key=json.dumps)
        compared[path] = (mode, kept)
    return compared


def same(first: dict, second: dict) -> None:
    assert sorted(first) == sorted(second)
    for path, (mode, documents) in first.items():
        assert mode == second[path][0], path
        for mine, other in zip_longest(documents, second[path][1]):
            assert mine == other, f"{path}: {mine!r:.600} and {other!r:.600}"
