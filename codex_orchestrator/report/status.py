"""A run's state by manifest, owner and heartbeat (docs/reference/command-line.md, "status")."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codex_orchestrator.clock import parse_timestamp, timestamp
from codex_orchestrator.run.shapes import STALE_SECONDS, TERMINAL
from codex_orchestrator.store.owner import is_alive, read_owner

from .lookup import FoundRun

Liveness = Literal["alive", "dead", "finished", "waiting"]
_WAITING = ":awaiting-approval"


@dataclass(frozen=True)
class Activity:
    """Signs of life, as epoch seconds, None where there is none."""

    manifest_heartbeat: float | None
    heartbeat_file: float | None
    runner_log: float | None

    @property
    def latest(self) -> float | None:
        """The newest heartbeat."""
        beats = [beat for beat in (self.manifest_heartbeat, self.heartbeat_file) if beat is not None]
        return max(beats, default=None)


def judge_liveness(
    manifest: dict[str, Any], owner_alive: bool | None, *, heartbeat_age: float | None
) -> Liveness:
    """Alive, dead, finished or waiting.

    Args:
        manifest: The run's manifest.
        owner_alive: Whether the owner named in the lock runs; None where nobody can tell.
        heartbeat_age: Seconds since the newest heartbeat; decides only where the owner cannot.
    """
    if str(manifest.get("status")) in TERMINAL:
        return "finished"
    if owner_alive is None:
        owner_alive = heartbeat_age is not None and heartbeat_age <= STALE_SECONDS
    if owner_alive:
        return "alive"
    return "waiting" if str(manifest.get("status_detail") or "").endswith(_WAITING) else "dead"


def status_document(run: FoundRun, *, now: float) -> dict[str, Any]:
    """The JSON answer of ``status``."""
    manifest = run.manifest
    activity = read_activity(run)
    age = _age(activity.latest, now)
    liveness = liveness_of(run, now=now, activity=activity)
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


def status_text(document: dict[str, Any], summary: str | None) -> str:
    """The same for people."""
    detail = f" ({document['status_detail']})" if document["status_detail"] else ""
    lines = [
        f"Run: {document['run_id']}",
        f"Status: {document['status']}{detail}, {document['liveness']}",
        f"Started: {document['started_at']}",
        f"Completed: {document['completed_at'] or '-'}",
        f"Manifest: {document['manifest']}",
        f"Log: {document['log_path']}",
    ]
    if document["parent_run_id"]:
        lines.append(f"Parent: {document['parent_run_id']}")
    if document["liveness"] == "alive":
        lines.append(
            f"Heartbeat: {document['heartbeat_age_seconds']} s ago{', stale' if document['stale'] else ''}"
        )
    lines.append(f"Metrics recorded: {'yes' if document['metrics_recorded'] else 'no'}")
    lines.append("Stages:")
    for entry in document["commands"]:
        said = f" — {_first_line(entry.get('summary'))}" if entry.get("summary") else ""
        lines.append(f"  [{entry.get('status')}] {entry.get('title')} ({entry.get('id')}){said}")
        if entry.get("error_file"):
            lines.append(f"      error file: {entry['error_file']}")
    lines.extend(f"Child: {child.get('run_id')} {child.get('status')}" for child in document["child_runs"])
    lines.extend(
        f"Approval: {item.get('actor')} {item.get('reason') or ''}".rstrip() for item in document["approvals"]
    )
    if summary:
        lines += ["Summary:", *(f"  {line}" for line in summary.splitlines())]
    return "\n".join(lines)


def runs_row(run: FoundRun, *, now: float) -> dict[str, Any]:
    """A run's row in the answer of ``runs``."""
    manifest = run.manifest
    row = {key: manifest.get(key) for key in ("run_id", "task_id", "pipeline_id", "status")}
    row["liveness"] = liveness_of(run, now=now)
    row.update({key: manifest.get(key) for key in ("started_at", "completed_at", "parent_run_id")})
    return {**row, "manifest": run.layout.relative(run.layout.manifest)}


def liveness_of(run: FoundRun, *, now: float, activity: Activity | None = None) -> Liveness:
    """`judge_liveness` with what the disk and the kernel say; ``activity`` where it was read already."""
    if str(run.manifest.get("status")) in TERMINAL:
        return "finished"
    owner = read_owner(run.layout.lock)
    age = _age((activity or read_activity(run)).latest, now)
    return judge_liveness(run.manifest, is_alive(owner) if owner else None, heartbeat_age=age)


def read_activity(run: FoundRun) -> Activity:
    """The signs of life that a run leaves on disk."""
    beat = run.manifest.get("heartbeat_at")
    try:
        text = run.layout.heartbeat.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return Activity(
        manifest_heartbeat=parse_timestamp(beat) if isinstance(beat, str) else None,
        heartbeat_file=parse_timestamp(text),
        runner_log=_modified(run.layout.runner_log),
    )


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _age(moment: float | None, now: float) -> float | None:
    # A clock that was set back must not make a heartbeat come from the future.
    return None if moment is None else round(max(0.0, now - moment), 3)


def _moment(value: float | None) -> str | None:
    return None if value is None else timestamp(value)


def _first_line(text: object) -> str:
    return str(text).split("\n", 1)[0]
