"""DriftReporter: how the requests of a task's runs were found (docs/reference/files.md, "Control plane")."""

from __future__ import annotations

from collections.abc import Sequence

from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.ledger import Ledger, Waiting, read_aggregate
from codex_orchestrator.evidence.pending_records import PendingRecord
from codex_orchestrator.model.codec import Mismatch, dumps, dumps_line, from_json, loads, to_json
from codex_orchestrator.model.control_plane import ControlPlane, Drift, RequestValidation
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.rules.run_request import DriftReport, DriftSample, sample_of, with_samples


class DriftReporter(Ledger):
    """Appends a sample for each run and keeps the report of them all.

    A run's sample comes with its summary. Runs of earlier versions have left records of their own.
    """

    record_shape = DriftSample
    run_field = "request_id"

    def __init__(self, layout: TaskLayout) -> None:
        self._layout = layout
        super().__init__(layout.drift_samples, pending=layout.drift_pending, below=layout.environment.out_dir)

    def waiting_beside(self, summaries: Sequence[Waiting]) -> list[Waiting]:
        """The samples that wait: of earlier versions' runs, and those in summaries that wait."""
        found = [*self.waiting(), *(sample for one in summaries if (sample := _sample_in(one)) is not None)]
        return sorted(found, key=lambda each: (each.pending.run_id, each.pending.attempt))

    def report_with(self, found: ControlPlane, attempts: int, waiting: Sequence[Waiting]) -> Drift:
        """The report as it will be with one more run in it, as manifests have it; nothing is written.

        Args:
            found: How that run's request was found.
            attempts: How often it was started.
            waiting: The samples that wait, looked for before: those that are taken up meanwhile count once.

        Raises:
            StorageError: What is there cannot be read.
        """
        sample = sample_of(found.request_id, found.validation, "")
        own = PendingRecord(self._layout.history_pending, found.request_id, attempts)
        before = self._report()
        survey = self.survey(
            [*waiting, Waiting(own, {}, _line_of(sample))], before.covered_bytes if before else 0
        )
        report = with_samples(
            None if survey.rebuild else before,
            _parse(survey.lines),
            _parse(survey.replaced),
            covered_bytes=0,
        )
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


def _sample_in(summary: Waiting) -> Waiting | None:
    """The sample in a run's summary; None where its request was not checked, or is another's."""
    run_id, checked = summary.pending.run_id, summary.document.get("controlPlane")
    if not isinstance(checked, dict) or checked.get("requestId") != run_id:
        return None
    try:
        validation = from_json(RequestValidation, checked.get("validation"), strict=False)
    except Mismatch:
        return None
    return Waiting(
        summary.pending, {}, _line_of(sample_of(run_id, validation, summary.document["timestamp"]))
    )


def _line_of(sample: DriftSample) -> bytes:
    return dumps_line(to_json(sample)).encode()


def _parse(lines: Sequence[bytes]) -> list[DriftSample]:
    samples = []
    for line in lines:
        try:
            samples.append(from_json(DriftSample, loads(line), strict=False))
        except (ValueError, Mismatch):
            continue  # A torn line of a writer that died; its sample is still pending.
    return samples
