"""The figures of a task's metrics (docs/reference/command-line.md, "metrics")."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from codex_orchestrator import places
from codex_orchestrator.clock import timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import UsageError
from codex_orchestrator.evidence.metrics import LARGEST, read_line
from codex_orchestrator.evidence.pending_records import list_pending
from codex_orchestrator.rules.layout import TaskLayout

LATEST_RUNS = 10
_RUN_KEYS = (
    "run_id",
    "pipeline_id",
    "status",
    "started_at",
    "completed_at",
    "duration_seconds",
    "guardrails_present",
    "resumed",
    "artifact_path",
)

_COUNTS = (
    "commands_passed",
    "commands_failed",
    "commands_skipped",
    "heartbeat_writes",
    "heartbeat_failures",
)

Line = dict[str, Any]


@dataclass(frozen=True)
class TaskMetrics:
    """The metrics of a task as they are on disk.

    Attributes:
        task: The task.
        lines: What is told of the line that counts of each run, in the order in which they were written.
        errors: Which lines could not be read, and why.
        queued: How many lines of finished runs wait to be merged.
    """

    task: TaskLayout
    lines: tuple[Line, ...]
    errors: tuple[str, ...]
    queued: int


def read_metrics(task: TaskLayout) -> TaskMetrics:
    """Read a task's metrics; a later line of a run stands for its earlier ones.

    Raises:
        UsageError: The file is there and cannot be read.
    """
    latest: dict[str, Line] = {}
    errors: list[str] = []
    for number, written in enumerate(_written(task), start=1):
        if not written.strip():
            continue
        line = read_line(written)
        if not isinstance(line, str):
            latest.pop(line["run_id"], None)
            latest[line["run_id"]] = {key: line.get(key) for key in (*_RUN_KEYS, *_COUNTS)}
        elif written.endswith(b"\n"):  # Else its writer died in it, and it is no line yet.
            errors.append(f"line {number}: {line}")
    base = task.environment.runs_dir
    queued = len(list_pending(task.metrics_pending, ".json", below=base)[0])
    return TaskMetrics(task, tuple(latest.values()), tuple(errors), queued)


def _written(task: TaskLayout) -> Iterator[bytes]:
    try:
        yield from places.lines(task.metrics, below=task.environment.runs_dir)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"Cannot read {task.metrics}: {error.strerror or error}.") from error


def metrics_document(metrics: TaskMetrics, *, now: float) -> dict[str, Any]:
    """The JSON answer of ``metrics``: the keys of ``metrics-summary.json``, and more of the same."""
    task, lines = metrics.task, metrics.lines
    seconds = sorted(_number(line, "duration_seconds") for line in lines)
    return {
        "generated_at": timestamp(now),
        "task_id": task.task_id,
        "metrics_file": task.environment.relative(task.metrics),
        "entries_total": len(lines),
        "entries_succeeded": _ended(lines, "succeeded"),
        "entries_failed": _ended(lines, "failed"),
        "entries_cancelled": _ended(lines, "cancelled"),
        "entries_resumed": sum(bool(line.get("resumed")) for line in lines),
        "success_rate": _share(_ended(lines, "succeeded"), lines),
        "guardrail_coverage": _share(sum(bool(line.get("guardrails_present")) for line in lines), lines),
        "average_duration_seconds": _share(math.fsum(seconds), lines),
        "median_duration_seconds": _median(seconds),
        "longest_duration_seconds": seconds[-1] if seconds else 0.0,
        **{key: _total(lines, key) for key in _COUNTS},
        "pipelines": list(_pipelines(lines)),
        "latest_runs": [{key: line[key] for key in _RUN_KEYS} for line in lines[: -LATEST_RUNS - 1 : -1]],
        "parse_errors": list(metrics.errors),
        "queued": metrics.queued,
    }


def metrics_lines(document: dict[str, Any]) -> list[str]:
    """The same for people."""
    lines = [f"Task: {document['task_id']} ({document['metrics_file']})"]
    if document["entries_total"]:
        lines.extend(_figures(document))
    else:
        lines.append("No finished run is recorded.")
    if document["parse_errors"]:
        lines.append("Lines that cannot be read, and are left out:")
        lines.extend(f"  {error}" for error in document["parse_errors"])
    if document["queued"]:
        lines.append(f"Not merged yet: {document['queued']}; the next run does it, or codex-orchestrator gc.")
    return lines


def _figures(document: dict[str, Any]) -> Iterator[str]:
    ended = ", ".join(
        f"{document[f'entries_{how}']} {how}" for how in ("succeeded", "failed", "cancelled", "resumed")
    )
    yield f"Runs: {document['entries_total']} ({ended})"
    yield f"Success rate: {document['success_rate']:.1%}"
    yield f"Guardrail coverage: {document['guardrail_coverage']:.1%}"
    duration = ", ".join(
        f"{which} {document[f'{which}_duration_seconds']:.1f} s" for which in ("average", "median", "longest")
    )
    yield f"Duration: {duration}"
    stages = ", ".join(f"{document[f'commands_{how}']} {how}" for how in ("passed", "failed", "skipped"))
    yield f"Stages: {stages}"
    beats = f"{document['heartbeat_writes']} written, {document['heartbeat_failures']} failed"
    yield f"Heartbeats: {beats}"
    yield "Pipelines:"
    for each in document["pipelines"]:
        yield (
            f"  {each['pipeline_id']}: {each['success_rate']:.1%} of {each['entries_total']} succeeded,"
            f" {each['average_duration_seconds']:.1f} s on average"
        )
    yield "Latest runs:"
    for run in document["latest_runs"]:
        marks = ("guarded" if run["guardrails_present"] else "", "resumed" if run["resumed"] else "")
        facts = (f"{_number(run, 'duration_seconds'):.1f} s", *filter(None, marks))
        yield f"  {run['run_id']}  {run['pipeline_id']}  {run['status']}, {', '.join(facts)}"


def _pipelines(lines: Sequence[Line]) -> Iterator[dict[str, Any]]:
    for name in sorted({str(line.get("pipeline_id")) for line in lines}):
        own = [line for line in lines if str(line.get("pipeline_id")) == name]
        yield {
            "pipeline_id": name,
            "entries_total": len(own),
            "success_rate": _share(_ended(own, "succeeded"), own),
            "average_duration_seconds": _share(
                math.fsum(_number(line, "duration_seconds") for line in own), own
            ),
        }


def _ended(lines: Sequence[Line], status: str) -> int:
    return sum(line.get("status") == status for line in lines)


def _share(value: float, lines: Sequence[Line]) -> float:
    return value / len(lines) if lines else 0.0


def _total(lines: Sequence[Line], key: str) -> int:
    return int(sum(_number(line, key) for line in lines))


def _number(line: Line, key: str) -> float:
    """A number of a line; 0 where the line has none, as those of other tools may."""
    value = line.get(key)
    # Python reads NaN and Infinity, which JSON does not have, and numbers that no float holds.
    return float(value) if isinstance(value, int | float) and abs(value) < LARGEST else 0.0


def _median(ordered: Sequence[float]) -> float:
    if not ordered:
        return 0.0
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
