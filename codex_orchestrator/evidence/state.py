"""TaskStateStore: the run history and the latest snapshot (docs/reference/files.md, "Metrics and state")."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codex_orchestrator import places
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.ledger import Ledger, read_aggregate
from codex_orchestrator.evidence.pending_records import record_name
from codex_orchestrator.model.codec import Mismatch, dumps, dumps_line, from_json, loads, to_json
from codex_orchestrator.model.manifest import StateIndex
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.rules.reviewer import RunSummary, TaskState

LATEST_RUNS = 20


class TaskStateStore(Ledger):
    """Appends RunSummaries to the history and keeps ``state.json`` as its latest end."""

    record_shape = RunSummary
    time_key = "timestamp"

    def __init__(self, layout: TaskLayout) -> None:
        self._layout = layout
        super().__init__(layout.history, pending=layout.history_pending, below=layout.environment.out_dir)

    def queue(self, summary: RunSummary, attempts: int = 1) -> None:
        """Leave a run's summary as a pending record.

        Args:
            summary: The summary.
            attempts: How often the run was started.

        Raises:
            StorageError: It could not be written.
        """
        name = record_name(summary.run_id, attempts)
        self.queue_line(name, dumps_line(to_json(summary)).encode())

    def covered_bytes(self) -> int:
        """How much of the history the snapshot on disk covers; 0 starts it anew."""
        self._carry_over()
        index, state = self._index(), self._read_state()
        # The snapshot is written first: where only it counts more runs, its writer died between the two.
        whole = index is not None and state is not None and index.total_runs == state["totalRuns"]
        return index.covered_bytes if index is not None and whole else 0

    def line_start(self) -> bytes:
        """``{"taskId":"T","runId":"``."""
        return dumps_line({"taskId": self._layout.task_id, "runId": ""}).encode().removesuffix(b'"}\n')

    def update(
        self, lines: Sequence[bytes], covered_bytes: int, *, rebuild: bool, replaced: Sequence[bytes]
    ) -> None:
        """Write the snapshot with more runs, or with these alone; the index is written last and counts."""
        state = None if rebuild else self._read_state()
        index = None if rebuild else self._index()
        before: list[dict[str, Any]] = state["runs"] if state else []
        fresh = _parse(lines)
        known = {run["runId"] for run in (*before, *_parse(replaced))}
        total = (index.total_runs if index else 0) + len({run["runId"] for run in fresh} - known)
        latest = {run["runId"]: run for run in [*before, *fresh]}
        newest = sorted(latest.values(), key=lambda run: (run.get("timestamp") or "", run["runId"]))
        last_run_at = newest[-1].get("timestamp") if newest else None
        # Runs of other tools have keys of their own, which stay.
        document = to_json(TaskState(self._layout.task_id, last_run_at, total, ()))
        document["runs"] = newest[-LATEST_RUNS:]
        index = StateIndex(covered_bytes, total)
        files.replace(self._layout.state, _encoded(dumps(document)), below=self._below)
        files.replace(self._layout.state_index, dumps(to_json(index)).encode(), below=self._below)

    def _read_state(self) -> dict[str, Any] | None:
        document = _read_object(self._layout.state, self._below)
        if (
            document is None
            or document.keys() != to_json(TaskState("", None, 0, ())).keys()
            or not isinstance(document["runs"], list)
        ):
            return None
        return document if all(_is_run(run) for run in document["runs"]) else None

    def _index(self) -> StateIndex | None:
        return read_aggregate(self._layout.state_index, StateIndex, below=self._below)

    def _carry_over(self) -> None:
        """Take over what the Node CLI left: its ``runs.json``, and ``state.json`` as it once was."""
        if places.has_file(self._layout.history, below=self._below):
            return
        for path in (self._layout.out_dir / "runs.json", self._layout.state):
            document = _read_object(path, self._below)
            runs = document.get("runs") if document else None
            if isinstance(runs, list) and runs:
                lines = b"".join(_encoded(dumps_line(_taken_over(run))) for run in runs)
                files.replace(self._layout.history, lines, below=self._below)
                return


def _read_object(path: Path, below: Path) -> dict[str, Any] | None:
    try:
        document = loads(places.read(path, below=below))
    except (OSError, ValueError):
        return None  # None yet, or not ours: rebuilt from the history.
    return document if isinstance(document, dict) else None


def _parse(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    runs = []
    for line in lines:
        try:
            run = loads(line)
        except ValueError:
            continue  # A torn line of a writer that died; its run is still pending or queued again.
        if _is_run(run):
            runs.append(_in_short(run))
    return runs


def _in_short(run: dict[str, Any]) -> dict[str, Any]:
    """A RunSummary without the parts that grow with the output of its commands."""
    short = {key: value for key, value in run.items() if key != "handles"}
    privacy = short.get("privacy")
    if isinstance(privacy, dict):
        short["privacy"] = {key: value for key, value in privacy.items() if key != "decisions"}
    return short


def _taken_over(run: Any) -> Any:
    """A run of the Node CLI's history, without the keys that only that tool writes."""
    if not isinstance(run, dict):
        return run
    from codex_orchestrator.evidence import node_cli

    try:
        return to_json(from_json(RunSummary, node_cli.converted_summary(run), strict=False))
    except Mismatch:
        return run  # What it says is not lost, even where it cannot be made fit.


def _is_run(value: Any) -> bool:
    """Whether this can be counted and put in order: other tools' runs have other keys besides."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("runId"), str)
        and isinstance(value.get("timestamp"), str | None)
    )


def _encoded(text: str) -> bytes:
    """UTF-8, also of the half characters that other tools leave where they cut a text."""
    return text.encode("utf-8", "replace")
