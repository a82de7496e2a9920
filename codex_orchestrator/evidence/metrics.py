"""MetricsRecorder: a line per run, and the aggregate (docs/reference/files.md, "Metrics and state")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.ledger import Ledger, read_aggregate
from codex_orchestrator.evidence.pending_records import record_name
from codex_orchestrator.model.codec import dumps, dumps_line, loads, to_json
from codex_orchestrator.model.manifest import MetricsLine, MetricsSummary
from codex_orchestrator.rules.layout import TaskLayout

_KEPT_PARSE_ERRORS = 20
LARGEST = 1e15


class MetricsRecorder(Ledger):
    """Appends metrics lines and keeps their aggregate."""

    record_shape = MetricsLine

    def __init__(self, layout: TaskLayout, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock
        super().__init__(layout.metrics, pending=layout.metrics_pending, below=layout.environment.runs_dir)

    def queue(self, line: MetricsLine) -> None:
        """Leave a run's line as a pending record.

        Raises:
            StorageError: It could not be written.
        """
        self.queue_line(record_name(line.run_id, line.attempts), dumps_line(to_json(line)).encode())

    def covered_bytes(self) -> int:
        """How much of the metrics the summary on disk covers."""
        summary = self._summary()
        return summary.covered_bytes if summary else 0

    def line_start(self) -> bytes:
        """``{"run_id":"``."""
        return b'{"run_id":"'

    def update(
        self, lines: Sequence[bytes], covered_bytes: int, *, rebuild: bool, replaced: Sequence[bytes]
    ) -> None:
        """Write the summary with more lines counted, or with these alone."""
        before = None if rebuild else self._summary()
        parsed, errors = _parse(lines)
        latest = {line["run_id"]: line for line in parsed}
        earlier, _ = _parse(replaced)
        summary = _combined(before, list(latest.values()), earlier, errors)
        document = MetricsSummary(
            generated_at=timestamp(self._clock.now()),
            task_id=self._layout.task_id,
            metrics_file=self._layout.environment.relative(self._layout.metrics),
            covered_bytes=covered_bytes,
            **summary,
        )
        files.replace(self._layout.metrics_summary, dumps(to_json(document)).encode(), below=self._below)

    def _summary(self) -> MetricsSummary | None:
        return read_aggregate(self._layout.metrics_summary, MetricsSummary, below=self._below)


def read_line(line: bytes) -> dict[str, Any] | str:
    """A line of the metrics, or in words why it cannot be counted."""
    try:
        record = loads(line)
        problem = _problem(record)
    except ValueError as error:
        record, problem = None, str(error)
    if problem is not None:
        return f"{problem}: {line[:80].decode('utf-8', 'replace').strip()}"
    known: dict[str, Any] = record
    return known


def _parse(lines: Sequence[bytes]) -> tuple[list[dict[str, Any]], list[str]]:
    read = [read_line(line) for line in lines if line.strip()]
    parsed = [line for line in read if not isinstance(line, str)]
    return parsed, [problem for problem in read if isinstance(problem, str)]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _problem(record: Any) -> str | None:
    """Why a line cannot be counted, or None where it can."""
    if not isinstance(record, dict) or not isinstance(record.get("run_id"), str):
        return "no run_id"
    for key in ("duration_seconds", "attempts"):
        value = record.get(key) or 0
        # Neither NaN nor Infinity, which JSON does not have but Python reads, is below the bound.
        if not isinstance(value, int | float) or not abs(value) < LARGEST:
            return f"{key} is no number"
    return None


def _combined(
    before: MetricsSummary | None,
    lines: Sequence[dict[str, Any]],
    replaced: Sequence[dict[str, Any]],
    errors: list[str],
) -> dict[str, Any]:
    """The counts of ``before`` and of further lines, without those that these stand for.

    Lines of the Node CLI may lack what ours have.
    """
    seen = before.entries_total if before else 0
    total = seen + len(lines) - len(replaced)
    succeeded = (before.entries_succeeded if before else 0) + _count(lines, replaced, "succeeded")
    failed = (before.entries_failed if before else 0) + _count(lines, replaced, "failed")
    guarded = round(before.guardrail_coverage * seen) if before else 0
    guarded += _guarded(lines) - _guarded(replaced)
    seconds = before.average_duration_seconds * seen if before else 0.0
    seconds += _seconds(lines) - _seconds(replaced)
    known = [*(before.parse_errors if before else ()), *errors]
    return {
        "entries_total": total,
        "entries_succeeded": succeeded,
        "entries_failed": failed,
        "success_rate": succeeded / total if total else 0.0,
        "guardrail_coverage": guarded / total if total else 0.0,
        "average_duration_seconds": seconds / total if total else 0.0,
        "parse_errors": tuple(known[-_KEPT_PARSE_ERRORS:]),
    }


def _count(lines: Sequence[dict[str, Any]], replaced: Sequence[dict[str, Any]], status: str) -> int:
    now, before = ([line.get("status") for line in some].count(status) for some in (lines, replaced))
    return now - before


def _guarded(lines: Sequence[dict[str, Any]]) -> int:
    return sum(bool(line.get("guardrails_present")) for line in lines)


def _seconds(lines: Sequence[dict[str, Any]]) -> float:
    return sum(float(line.get("duration_seconds") or 0) for line in lines)
