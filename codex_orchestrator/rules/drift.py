"""The drift report: how the requests of a task's runs were found (docs/reference/files.md, "Control plane").

Pure. Annotations are real types here, as `codec` reads them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any, ClassVar

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import OMIT_NONE, STRICT
from codex_orchestrator.model.control_plane import (
    SCHEMA,
    VERSION,
    Drift,
    EnforcementMode,
    Found,
    RequestProblem,
    RequestValidation,
    Samples,
)

KEPT_ENTRIES = 50


@dataclass(frozen=True)
class DriftSample:
    """A line of ``samples.ndjson``: how one run's request was found."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    request_id: str
    timestamp: str
    status: Found
    mode: EnforcementMode
    errors: tuple[RequestProblem, ...]
    recorded_at: str | None = field(default=None, metadata={OMIT_NONE: True})


@dataclass(frozen=True)
class DriftReport:
    """``drift.json``: the samples counted, and the latest of those that were not valid."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    schema_id: str
    schema_version: str
    total_samples: Samples
    invalid_samples: Samples
    invalid_rate: float
    last_sampled_at: str | None
    mode: EnforcementMode
    entries: tuple[DriftSample, ...]
    covered_bytes: Samples

    def as_drift(self, report_path: str) -> Drift:
        """The report as manifests have it."""
        return Drift(
            report_path=report_path,
            total_samples=self.total_samples,
            invalid_samples=self.invalid_samples,
            invalid_rate=self.invalid_rate,
            last_sampled_at=self.last_sampled_at,
            mode=self.mode,
        )


def sample_of(request_id: str, validation: RequestValidation, recorded_at: str) -> DriftSample:
    """How a run's request was found, for the report, and when that is recorded."""
    return DriftSample(
        request_id,
        validation.timestamp,
        validation.status,
        validation.mode,
        validation.errors,
        recorded_at,
    )


def with_samples(
    before: DriftReport | None,
    samples: Sequence[DriftSample],
    replaced: Sequence[DriftSample],
    *,
    covered_bytes: int,
) -> DriftReport:
    """The report with more samples; of each run only the last one counts.

    Args:
        before: The report so far; None to begin with.
        samples: What comes in addition, oldest first.
        replaced: Samples that were counted before, and that others of the same runs stand for now.
        covered_bytes: How much of ``samples.ndjson`` is counted then.
    """
    fresh = {sample.request_id: sample for sample in samples}
    total = (before.total_samples if before else 0) + len(fresh) - len(replaced)
    invalid = (before.invalid_samples if before else 0) + _invalid(fresh.values()) - _invalid(replaced)
    known = [entry for entry in before.entries if entry.request_id not in fresh] if before else []
    known += fresh.values()
    failed = [entry for entry in known if entry.status == "failed"]
    times = [(before.last_sampled_at or "", before.mode)] if before else []
    last, mode = max(
        [*times, *((sample.timestamp, sample.mode) for sample in fresh.values())], default=("", "shadow")
    )
    return DriftReport(
        schema_id=SCHEMA,
        schema_version=VERSION,
        total_samples=total,
        invalid_samples=invalid,
        invalid_rate=invalid / total if total else 0.0,
        last_sampled_at=last or None,
        mode=mode,
        # Where none has failed, the latest shows that there was something to see.
        entries=tuple(failed[-KEPT_ENTRIES:] or known[-1:]),
        covered_bytes=covered_bytes,
    )


def _invalid(samples: Iterable[DriftSample]) -> int:
    return sum(sample.status == "failed" for sample in samples)
