"""What holds for the evidence of every run, however it ended and however often it was resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from codex_orchestrator.evidence.artefacts import check_file

TERMINAL = ("succeeded", "failed", "cancelled")
# What a sub-pipeline's entry may say of a child that ended so.
_AGREE = {
    "succeeded": {"succeeded"},
    "failed": {"failed", "skipped"},
    "cancelled": {"failed"},
    "in_progress": {"pending"},
}


def manifests(root: Path) -> dict[str, dict]:
    """All manifests of a project by their run ids."""
    paths = sorted((root / ".runs").glob("*/cli/*/manifest.json"))
    return {path.parent.name: json.loads(path.read_bytes()) for path in paths}


def broken(root: Path) -> list[str]:
    """Whatever does not hold for the runs of a project, none of which lives."""
    known = manifests(root)
    problems = [*_invalid(root), *_unlike_its_metrics(root, known), *_unlike_its_drift(root, known)]
    for run_id, manifest in known.items():
        found = [
            *_badly_ended(manifest),
            *(problem for entry in manifest["commands"] for problem in _bad_entry(root, manifest, entry)),
            *_bad_lineage(root, manifest, known),
        ]
        problems += [f"{manifest['pipeline_id']} {run_id}: {problem}" for problem in found]
    return problems


def _invalid(root: Path) -> Iterator[str]:
    for top in (".runs", "out"):
        for path in sorted((root / top).rglob("*")):
            if path.is_file() and ".returned" not in path.parts:  # That is no evidence.
                for problem in check_file(path).problems:
                    yield f"{path.relative_to(root)}: {problem}"


def _badly_ended(manifest: dict) -> Iterator[str]:
    ended = manifest["status"] in TERMINAL
    if ended != (manifest["completed_at"] is not None):
        yield f"is {manifest['status']} and completed_at is {manifest['completed_at']}"
    if any(entry["status"] == "running" for entry in manifest["commands"]):
        yield "has a running entry, and nobody runs it"
    if ended and any(handle["status"] == "open" for handle in manifest.get("handles", [])):
        yield "has ended, and a handle is open"
    if ended and manifest["metrics_recorded"] is not True:
        yield "has ended, and is not in the metrics"
    detail = manifest["status_detail"]
    if (manifest["status"] == "succeeded") != (detail is None):
        yield f"is {manifest['status']} with status_detail {detail}"


def _bad_entry(root: Path, manifest: dict, entry: dict) -> Iterator[str]:
    name, status = entry["id"], entry["status"]
    if (status == "pending") != (entry["completed_at"] is None):
        yield f"{name} is {status} and completed_at is {entry['completed_at']}"
    if status != "pending" and not entry["summary"]:
        yield f"{name} is {status} without a summary"
    if (status in ("failed", "skipped")) != (entry["error_file"] is not None):
        yield f"{name} is {status} with error_file {entry['error_file']}"
    for path in (entry["error_file"], entry["log_path"] if status != "pending" else None):
        if path is not None and not (root / path).is_file():
            yield f"{name}: {path} is missing"
    if entry["error_file"] is not None:
        error = json.loads((root / entry["error_file"]).read_bytes())
        if (error["run_id"], error["command_id"]) != (manifest["run_id"], name):
            yield f"{name}: its error file is that of {error['command_id']} in {error['run_id']}"


def _bad_lineage(root: Path, manifest: dict, known: dict[str, dict]) -> Iterator[str]:
    listed = {child["run_id"]: child for child in manifest["child_runs"]}
    for child_id, child in listed.items():
        found = known.get(child_id)
        if found is None:
            yield f"its child {child_id} is not there"
        elif (found["parent_run_id"], found["status"], found["pipeline_id"]) != (
            manifest["run_id"],
            child["status"],
            child["pipeline_id"],
        ):
            yield f"its child {child_id} is not as it says: {child}"
        elif not (root / child["manifest"]).is_file():
            yield f"{child['manifest']} is missing"
    for entry in manifest["commands"]:
        if entry["sub_run_id"] is not None and entry["sub_run_id"] not in listed:
            yield f"{entry['id']}: {entry['sub_run_id']} is not among its children"
        elif entry["sub_run_id"] is not None and entry["status"] not in (
            agreed := _AGREE[listed[entry["sub_run_id"]]["status"]]
        ):
            yield f"{entry['id']} is {entry['status']} and not one of {agreed}"
    for run_id, other in known.items():
        if other["parent_run_id"] == manifest["run_id"] and run_id not in listed:
            yield f"{run_id} has it for a parent, and is not among its children"


def _unlike_its_metrics(root: Path, known: dict[str, dict]) -> Iterator[str]:
    for path in (root / ".runs").glob("*/metrics.json"):
        latest = {line["run_id"]: line for line in map(json.loads, path.read_bytes().splitlines())}
        for run_id, line in latest.items():
            manifest = known[run_id]
            if manifest["status"] in TERMINAL and line["status"] != manifest["status"]:
                yield f"{run_id} is {manifest['status']} and {line['status']} in the metrics"
        summary = json.loads(path.with_name("metrics-summary.json").read_bytes())
        if summary["entries_total"] != len(latest):
            yield f"{summary['entries_total']} runs counted, and there are {len(latest)}"


def _unlike_its_drift(root: Path, known: dict[str, dict]) -> Iterator[str]:
    for path in (root / "out").glob("*/control-plane/drift.json"):
        lines = path.with_name("samples.ndjson").read_bytes().splitlines()
        latest = {line["request_id"]: line for line in map(json.loads, lines)}
        for run_id, line in latest.items():
            found = known[run_id]["control_plane"]["validation"]
            if known[run_id]["status"] in TERMINAL and found != {key: line[key] for key in found}:
                yield f"{run_id} was found {found} and is {line} among the samples"
        report = json.loads(path.read_bytes())
        invalid = sum(line["status"] == "failed" for line in latest.values())
        if (report["total_samples"], report["invalid_samples"]) != (len(latest), invalid):
            yield f"the drift report is {report}, and there are {len(latest)}, {invalid} of them not valid"
