"""DriftReporter: how the requests of a task's runs were found (docs/reference/files.md, "Control plane")."""

from __future__ import annotations

from collections.abc import Sequence

from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.journal import Journal, read_aggregate
from codex_orchestrator.evidence.pending_records import record_name
from codex_orchestrator.model.codec import Mismatch, dumps, dumps_line, from_json, loads, to_json
from codex_orchestrator.model.control_plane import ControlPlane, Drift
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.rules.run_request import DriftReport, DriftSample, sample_of, with_samples


class DriftReporter(Journal):
    """Appends a sample for each run and keeps the report of them all."""

    record_shape = DriftSample
    run_field = "request_id"

    def __init__(self, layout: TaskLayout) -> None:
        self._layout = layout
        super().__init__(
            layout.drift_samples,
            pending=layout.drift_pending,
            lock=layout.drift_lock,
            below=layout.environment.out_dir,
        )

    def queue(self, found: ControlPlane, attempts: int, *, recorded_at: str) -> None:
        """Leave how a run's request was found as a pending record, at that time.

        Raises:
            StorageError: It could not be written.
        """
        name = record_name(found.request_id, attempts)
        self.queue_line(name, dumps_line(to_json(sample_of(found, recorded_at))).encode())

    def read(self) -> Drift | None:
        """The report as manifests have it, or None where there is none that can be read."""
        report = self._report()
        if report is None:
            return None
        return report.as_drift(self._layout.environment.relative(self._layout.drift))

    def covered_bytes(self) -> int:
        """How much of the samples the report covers."""
        report = self._report()
        return report.covered_bytes if report else 0

    def line_start(self) -> bytes:
        """``{"request_id":"``."""
        return b'{"request_id":"'

    def update(
        self, lines: Sequence[bytes], covered_bytes: int, *, rebuild: bool, replaced: Sequence[bytes]
    ) -> None:
        """Write the report with more samples counted, or with these alone."""
        before = None if rebuild else self._report()
        report = with_samples(before, _parse(lines), _parse(replaced), covered_bytes=covered_bytes)
        files.replace(self._layout.drift, dumps(to_json(report)).encode(), below=self._below)

    def _report(self) -> DriftReport | None:
        return read_aggregate(self._layout.drift, DriftReport, below=self._below)


def _parse(lines: Sequence[bytes]) -> list[DriftSample]:
    samples = []
    for line in lines:
        try:
            samples.append(from_json(DriftSample, loads(line), strict=False))
        except (ValueError, Mismatch):
            continue  # A torn line of a writer that died; its sample is still pending.
    return samples
