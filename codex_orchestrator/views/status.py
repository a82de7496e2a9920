"""A run's state by manifest, owner and heartbeat (docs/reference/command-line.md, "status")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codex_orchestrator.clock import timestamp
from codex_orchestrator.evidence.owner import Liveness, liveness_of, read_activity
from codex_orchestrator.model.manifest import STALE_SECONDS
from codex_orchestrator.text import gist
from codex_orchestrator.views.lookup import FoundRun


def status_document(run: FoundRun, *, now: float) -> dict[str, Any]:
    """The JSON answer of ``status``."""
    manifest = run.manifest
    activity = read_activity(run.layout, manifest)
    age = activity.age(now)
    liveness = liveness_of(run.layout, manifest, now=now, activity=activity)
    stale = liveness in ("alive", "dead") and (age is None or age > STALE_SECONDS)
    return {
        **{
            key: manifest.get(key)
            for key in ("run_id", "status", "status_detail", "started_at", "completed_at")
        },
        "manifest": run.layout.relative(run.layout.manifest),
        "artifact_root": manifest.get("artifact_root"),
        "log_path": manifest.get("log_path"),
        "heartbeat_at": _moment(activity.latest),
        "heartbeat_age_seconds": age,
        "stale": stale,
        "liveness": liveness,
        "metrics_recorded": manifest.get("metrics_recorded", False),
        "approvals": manifest.get("approvals", []),
        "commands": manifest["commands"],
        "child_runs": manifest.get("child_runs", []),
        "parent_run_id": manifest.get("parent_run_id"),
        "activity": {
            "manifest_heartbeat_at": _moment(activity.manifest_heartbeat),
            "heartbeat_file_at": _moment(activity.heartbeat_file),
            "runner_log_mtime_at": _moment(activity.runner_log),
            "stale": stale,
            "stale_threshold_seconds": STALE_SECONDS,
            "age_seconds": age,
        },
    }


def status_lines(
    document: dict[str, Any],
    summary: str | None,
    *,
    task: str | None = None,
    waiting: Sequence[str] = (),
    tree: Sequence[str] = (),
    workers: Sequence[str] = (),
) -> list[str]:
    """The same for people.

    Args:
        document: The JSON answer.
        summary: The run's summary.
        task: The task, for people; None where there is no more to say than its id.
        waiting: Lines about what the run waits for.
        tree: Lines about the runs below it.
        workers: Lines about the workers that its stages were given to.
    """
    detail = f" ({document['status_detail']})" if document["status_detail"] else ""
    lines = [
        f"Run: {document['run_id']}",
        f"Status: {document['status']}{detail}, {document['liveness']}",
        f"Started: {document['started_at']}",
        f"Completed: {document['completed_at'] or '-'}",
        f"Manifest: {document['manifest']}",
        f"Log: {document['log_path']}",
    ]
    if task is not None:
        lines.insert(1, f"Task: {task}")
    if document["parent_run_id"]:
        lines.append(f"Parent: {document['parent_run_id']}")
    if document["liveness"] == "alive":
        lines.append(
            f"Heartbeat: {document['heartbeat_age_seconds']} s ago{', stale' if document['stale'] else ''}"
        )
    lines.append(f"Metrics recorded: {'yes' if document['metrics_recorded'] else 'no'}")
    lines.append("Stages:")
    for entry in document["commands"]:
        said = f" — {_first_line(str(entry['summary']))}" if entry.get("summary") else ""
        lines.append(f"  [{entry.get('status')}] {entry.get('title')} ({entry.get('id')}){said}")
        if entry.get("error_file"):
            lines.append(f"      error file: {entry['error_file']}")
    lines += ["Workers:", *workers] if workers else []
    lines += ["Child runs:", *tree] if tree else []
    lines.extend(
        f"Approval: {item.get('actor')} {item.get('reason') or ''}".rstrip() for item in document["approvals"]
    )
    lines.extend(waiting)
    if summary:
        lines += ["Summary:", *(f"  {line}" for line in summary.splitlines())]
    return lines


def worker_lines(manifest: Mapping[str, Any]) -> list[str]:
    """``w1: running, 3 commands so far``, for each worker that a run has given stages to."""
    given = (manifest.get("scheduler") or {}).get("assignments") or []
    return [
        f"  {one.get('instance_id')}: {one.get('status')}, {_commands(len(one.get('attempts') or []))} so far"
        for one in given
    ]


def _commands(number: int) -> str:
    return "1 command" if number == 1 else f"{number} commands"


def runs_row(run: FoundRun, *, now: float) -> dict[str, Any]:
    """A run's row in the answer of ``runs``."""
    manifest = run.manifest
    row = {key: manifest.get(key) for key in ("run_id", "task_id", "pipeline_id", "status")}
    row["liveness"] = liveness_of_run(run, now=now)
    row.update({key: manifest.get(key) for key in ("started_at", "completed_at", "parent_run_id")})
    return {**row, "manifest": run.layout.relative(run.layout.manifest)}


def liveness_of_run(run: FoundRun, *, now: float) -> Liveness:
    """Whether a run is alive, dead, finished or waiting."""
    return liveness_of(run.layout, run.manifest, now=now)


def _moment(value: float | None) -> str | None:
    return None if value is None else timestamp(value)


def _first_line(text: str) -> str:
    return gist(text.partition("\n")[0])
