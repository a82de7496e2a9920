"""The request that a run is made by, a plain JSON value; what is wrong with one; how a task's were found.

Pure (docs/reference/manifest.md and docs/reference/files.md, "Control plane"). A request is checked as a
stranger's would be: its texts come from definitions, and plugins may have changed those. Annotations are real
types here, as `codec` reads them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

from codex_orchestrator.clock import parse_timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import OMIT_NONE, STRICT, camel_keys, to_json
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
from codex_orchestrator.model.definitions import CommandStage, Pipeline, Stage, SubpipelineStage
from codex_orchestrator.model.manifest import HEARTBEAT_SECONDS
from codex_orchestrator.model.scheduler import POLICY
from codex_orchestrator.rules.layout import RunLayout

KEPT_ENTRIES = 50
_PIPELINE_VERSION = "1.0.0"
_POLICY_VERSION = "1.0.0"
_MOST_SUBSCRIBERS = 8
# What every metrics line names.
_DIMENSIONS = ("task_id", "pipeline_id", "status")


def build_request(
    layout: RunLayout, pipeline: Pipeline, *, approval_policy: str | None, requested_at: str
) -> dict[str, Any]:
    """The request of a run.

    Args:
        layout: The run.
        pipeline: What it runs.
        approval_policy: As asked for, or None.
        requested_at: When, as a timestamp.
    """
    capabilities = list(pipeline.tags or ()) or ["general"]
    task_id = layout.task.task_id
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "requestId": layout.run_id,
        "task": {"id": task_id, "title": task_id, "slug": task_id, "tags": capabilities},
        "pipeline": {
            "id": pipeline.id,
            "version": _PIPELINE_VERSION,
            "title": pipeline.title,
            "capabilities": capabilities,
            "stages": [_stage(stage) for stage in pipeline.stages],
        },
        "schedule": _schedule(capabilities, max(1, len(pipeline.stages))),
        "streaming": {
            "handles": True,
            "resumeSupported": True,
            # Nobody who looks on holds a command up.
            "observers": {"maxSubscribers": _MOST_SUBSCRIBERS, "defaultBackpressureMs": 0},
        },
        "constraints": {
            "privacyLevel": "standard",
            "policyVersion": _POLICY_VERSION,
            "approvalPolicy": approval_policy,
        },
        "metrics": {"emitIntervalSeconds": HEARTBEAT_SECONDS, "requiredDimensions": list(_DIMENSIONS)},
        "requestedAt": requested_at,
        "requestedBy": {"actorId": "codex-cli", "channel": "cli", "name": "codex-orchestrator"},
        "metadata": {
            "artifactRoot": layout.relative(layout.folder),
            "pipelineId": pipeline.id,
            "taskSlug": task_id,
        },
    }


def _stage(stage: Stage) -> dict[str, Any]:
    may_fail = (isinstance(stage, CommandStage) and stage.allow_failure) or (
        isinstance(stage, SubpipelineStage) and stage.optional
    )
    entry = {"id": stage.id, "kind": stage.kind, "title": stage.title, "optional": may_fail}
    session = stage.session if isinstance(stage, CommandStage) else None
    if session is not None and session.id is not None:
        entry["capabilities"] = [f"session:{session.id}"]
    return entry


def _schedule(capabilities: list[str], most: int) -> dict[str, Any]:
    return {
        "strategy": "auto",
        "minInstances": 1,
        "maxInstances": most,
        "fanOut": [{"capability": name, "weight": 1, "maxConcurrency": 1} for name in capabilities],
        "recovery": camel_keys(to_json(POLICY)),
    }


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _one_of(*words: str) -> tuple[Any, str]:
    return (lambda value: value in words), f"must be {' or '.join(words)}"


# A rule for a plain value is a test and what to say where it fails; a list of one rule is a list whose
# members all keep it; in an object a key with a question mark need not be there.
_TEXT = (_is_text, "must be a text that is not blank")
_TEXT_OR_NULL = (lambda value: value is None or isinstance(value, str), "must be a text or null")
_FLAG = (lambda value: isinstance(value, bool), "must be true or false")
_COUNT = (lambda value: _is_whole(value) and value >= 1, "must be a whole number from 1 on")
_NATURAL = (lambda value: _is_whole(value) and value >= 0, "must be a whole number from 0 on")
_WEIGHT = (lambda value: _is_number(value) and value > 0, "must be a number above 0")
_MOMENT = (lambda value: isinstance(value, str) and parse_timestamp(value) is not None, "must be a timestamp")
_OBJECT = (lambda value: isinstance(value, Mapping), "must be an object")

_REQUEST: dict[str, Any] = {
    "schema": _one_of(SCHEMA),
    "version": _one_of(VERSION),
    "requestId": _TEXT,
    "task": {"id": _TEXT, "title": _TEXT, "slug?": _TEXT_OR_NULL, "tags?": [_TEXT]},
    "pipeline": {
        "id": _TEXT,
        "version": _TEXT,
        "title": _TEXT,
        "capabilities": [_TEXT],
        "stages": [
            {
                "id": _TEXT,
                "kind": _one_of("command", "subpipeline", "manual"),
                "title": _TEXT,
                "optional?": _FLAG,
                "capabilities?": [_TEXT],
            }
        ],
    },
    "schedule": {
        "strategy": _one_of("auto", "manual"),
        "minInstances": _COUNT,
        "maxInstances": _COUNT,
        "fanOut": [{"capability": _TEXT, "weight": _WEIGHT, "maxConcurrency?": _COUNT}],
        "recovery": {
            "heartbeatIntervalSeconds": _COUNT,
            "missingHeartbeatTimeoutSeconds": _COUNT,
            "maxRetries": _NATURAL,
        },
    },
    "streaming": {
        "handles": _FLAG,
        "resumeSupported": _FLAG,
        "observers": {"maxSubscribers": _COUNT, "defaultBackpressureMs": _NATURAL},
    },
    "constraints": {
        "privacyLevel": _one_of("standard", "restricted", "sensitive"),
        "policyVersion": _TEXT,
        "approvalPolicy?": _TEXT_OR_NULL,
    },
    "metrics": {"emitIntervalSeconds": _COUNT, "requiredDimensions": [_TEXT]},
    "requestedAt": _MOMENT,
    "requestedBy": {"actorId": _TEXT, "channel": _TEXT, "name?": _TEXT_OR_NULL},
    "metadata?": _OBJECT,
}


def problems_of(request: Any) -> list[RequestProblem]:
    """Everything that is wrong with a request; empty where nothing is."""
    found = list(_check(request, _REQUEST, "$"))
    if not found and request["schedule"]["minInstances"] > request["schedule"]["maxInstances"]:
        found.append(RequestProblem("$.schedule.minInstances", "must not be above maxInstances"))
    return found


def _check(value: Any, rule: Any, path: str) -> Iterator[RequestProblem]:
    if isinstance(rule, tuple):
        holds, otherwise = rule
        if not holds(value):
            yield RequestProblem(path, otherwise)
    elif isinstance(rule, list):
        if not isinstance(value, list | tuple) or not value:
            yield RequestProblem(path, "must be a list that is not empty")
            return
        for place, member in enumerate(value):
            yield from _check(member, rule[0], f"{path}[{place}]")
    elif not isinstance(value, Mapping):
        yield RequestProblem(path, "must be an object")
    else:
        yield from _check_keys(value, rule, path)


def _check_keys(value: Mapping[str, Any], rule: Mapping[str, Any], path: str) -> Iterator[RequestProblem]:
    rules = {key.removesuffix("?"): inner for key, inner in rule.items()}
    for name, inner in rules.items():
        if name in value:
            yield from _check(value[name], inner, f"{path}.{name}")
        elif name in rule:
            yield RequestProblem(f"{path}.{name}", "is missing")
    yield from (RequestProblem(f"{path}.{name}", "is not known") for name in value if name not in rules)


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
