"""CommandReviewer: a finished run as a RunSummary and a metrics line (docs/reference/files.md, "Summaries").

Shapes and the pure functions that fill them. Annotations are real types here, as `codec` reads them.
"""

from dataclasses import field, fields
from typing import Any, ClassVar, Literal

from codex_orchestrator.clock import parse_timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.planner import Plan
from codex_orchestrator.model.codec import CAMEL, OMIT_NONE, camel_keys, to_json
from codex_orchestrator.model.definitions import ExecutionMode
from codex_orchestrator.model.manifest import GuardrailStatus, Handle, Manifest, MetricsLine
from codex_orchestrator.model.privacy_record import Privacy, PrivacyDecision, PrivacyTotals
from codex_orchestrator.model.scheduler import SchedulerSummary, instance_stats, scheduler_summary
from codex_orchestrator.rules.guardrails import guardrail_entries, guardrail_status
from codex_orchestrator.rules.summary import caveats

_WHEN_KNOWN = {OMIT_NONE: True}


@dataclass(frozen=True)
class Artifact:
    """A file worth opening."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    path: str
    description: str


@dataclass(frozen=True)
class BuildResult:
    """How the stages went."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    subtask_id: str | None
    artifacts: tuple[Artifact, ...]
    mode: ExecutionMode
    run_id: str
    success: bool
    notes: str | None = field(default=None, metadata=_WHEN_KNOWN)


@dataclass(frozen=True)
class TestReport:
    """One guardrail's result."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    name: str
    status: Literal["passed", "failed"]
    details: str | None


@dataclass(frozen=True)
class TestResult:
    """How the guardrails went."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    subtask_id: str | None
    success: bool
    reports: tuple[TestReport, ...]
    run_id: str


@dataclass(frozen=True)
class Decision:
    """Whether the run stands as evidence."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    approved: bool
    feedback: str | None = field(default=None, metadata=_WHEN_KNOWN)


@dataclass(frozen=True)
class ReviewResult:
    """The reviewer's words."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    summary: str
    decision: Decision


@dataclass(frozen=True)
class HandleSummary:
    """A handle as the summary has it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    handle_id: str
    correlation_id: str
    stage_id: str | None
    status: Literal["open", "closed"]
    frame_count: int
    latest_sequence: int


@dataclass(frozen=True)
class PrivacyDecisionSummary(PrivacyDecision):
    """A decision of the privacy guard as the summary has it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL


@dataclass(frozen=True)
class PrivacyTotalsSummary(PrivacyTotals):
    """The guard's totals as the summary has them."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL


@dataclass(frozen=True, kw_only=True)
class PrivacySummary:
    """What the privacy guard did, as the summary has it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    mode: Literal["shadow", "enforce"]
    decisions: tuple[PrivacyDecisionSummary, ...] | None = field(default=None, metadata=_WHEN_KNOWN)
    totals: PrivacyTotalsSummary
    log_path: str | None


@dataclass(frozen=True)
class RunSummary:
    """``run-summary.json`` and each line of ``runs.ndjson``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    task_id: str
    run_id: str
    mode: ExecutionMode
    plan: Plan
    build: BuildResult
    test: TestResult
    review: ReviewResult
    timestamp: str
    scheduler: SchedulerSummary | None = field(default=None, metadata=_WHEN_KNOWN)
    handles: tuple[HandleSummary, ...] | None = field(default=None, metadata=_WHEN_KNOWN)
    privacy: PrivacySummary | None = field(default=None, metadata=_WHEN_KNOWN)
    control_plane: dict[str, Any] | None = field(default=None, metadata=_WHEN_KNOWN)


@dataclass(frozen=True)
class TaskState:
    """``state.json``: the latest runs."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    task_id: str
    last_run_at: str | None
    total_runs: int
    runs: tuple[RunSummary, ...]


class CommandReviewer:
    """Sums a finished run up."""

    def __init__(self, manifest: Manifest, plan: Plan, *, manifest_path: str, partial: bool) -> None:
        self._manifest = manifest
        self._plan = plan
        self._manifest_path = manifest_path
        self._partial = partial

    def summarize(self) -> RunSummary:
        """The RunSummary of a run that has its final status, summary and guardrails."""
        manifest = self._manifest
        ended = manifest.completed_at or manifest.updated_at
        guardrails = manifest.guardrail_status or guardrail_status(manifest, computed_at=ended)
        succeeded = manifest.status == "succeeded"
        build = BuildResult(
            subtask_id=self._plan.targetId,
            artifacts=self._artifacts(),
            mode=self._mode,
            run_id=manifest.run_id,
            success=succeeded,
            notes=self._notes(),
        )
        return RunSummary(
            task_id=manifest.task_id,
            run_id=manifest.run_id,
            mode=self._mode,
            plan=self._plan,
            build=build,
            test=self._test(guardrails, build_succeeded=succeeded),
            review=self._review(guardrails),
            timestamp=ended,
            scheduler=scheduler_summary(manifest.scheduler),
            handles=tuple(_handle_summary(handle) for handle in manifest.handles or ()),
            privacy=_privacy_summary(manifest.privacy),
            control_plane=camel_keys(to_json(manifest.control_plane)),
        )

    @property
    def _mode(self) -> ExecutionMode:
        """``cloud`` where a stage has run on a cluster."""
        cloud = {item.metadata["stageId"] for item in self._plan.items if item.requires_cloud}
        ran = any(entry.status != "pending" and entry.id in cloud for entry in self._manifest.commands)
        return "cloud" if ran else "mcp"

    def _artifacts(self) -> tuple[Artifact, ...]:
        errors = [
            Artifact(entry.error_file, f"Error of stage {entry.id}")
            for entry in self._manifest.commands
            if entry.error_file
        ]
        return (
            Artifact(self._manifest_path, "Run manifest"),
            Artifact(self._manifest.log_path, "Event log"),
            *errors,
        )

    def _notes(self) -> str:
        lines = [f"{entry.title}: {entry.summary}" for entry in self._manifest.commands if entry.summary]
        return "\n".join(lines)

    def _test(self, guardrails: GuardrailStatus, *, build_succeeded: bool) -> TestResult:
        entries = guardrail_entries(self._manifest)
        reports = tuple(
            TestReport(entry.id, "passed" if entry.status == "succeeded" else "failed", entry.summary)
            for entry in entries
        )
        held = not entries or (guardrails.present and guardrails.counts.failed == 0)
        return TestResult(
            subtask_id=self._plan.targetId,
            success=build_succeeded and held,
            reports=reports,
            run_id=self._manifest.run_id,
        )

    def _review(self, guardrails: GuardrailStatus) -> ReviewResult:
        summary = self._manifest.summary or ""
        open_doubts = caveats(self._manifest)
        succeeded = self._manifest.status == "succeeded"
        approved = succeeded and not (self._partial or guardrails.recommendation or open_doubts)
        if approved:
            feedback = None if guardrails.counts.total else "No guardrail is among the stages."
        elif succeeded and not self._partial and not guardrails.recommendation:
            feedback = " ".join(open_doubts)
        else:
            feedback = guardrails.recommendation or summary.partition("\n")[0]
        return ReviewResult(summary=summary, decision=Decision(approved, feedback))


def _handle_summary(handle: Handle) -> HandleSummary:
    return HandleSummary(**{kept.name: getattr(handle, kept.name) for kept in fields(HandleSummary)})


def _privacy_summary(privacy: Privacy | None) -> PrivacySummary | None:
    if privacy is None:
        return None
    return PrivacySummary(
        mode=privacy.mode,
        decisions=tuple(PrivacyDecisionSummary(**vars(decision)) for decision in privacy.decisions),
        totals=PrivacyTotalsSummary(**vars(privacy.totals)),
        log_path=privacy.log_path,
    )


def metrics_line(
    manifest: Manifest,
    *,
    recorded_at: str,
    heartbeat_writes: int,
    heartbeat_failures: int,
    attempts: int = 1,
    privacy_events: int | None = None,
    duration_seconds: float | None = None,
) -> MetricsLine:
    """A finished run's line for ``metrics.json``; what is not known yet says so by its type.

    Args:
        manifest: The run.
        recorded_at: Now, as a timestamp.
        heartbeat_writes: Since this process took the run up.
        heartbeat_failures: Likewise.
        attempts: How often the run was started.
        privacy_events: How many decisions of the privacy guard to hold, the first ones; None for all.
        duration_seconds: How long it took, where somebody has measured it; None for what its times say.
    """
    privacy = manifest.privacy
    decisions = privacy.decisions if privacy else ()
    statuses = [entry.status for entry in manifest.commands]
    return MetricsLine(
        run_id=manifest.run_id,
        task_id=manifest.task_id,
        pipeline_id=manifest.pipeline_id,
        status=manifest.status,
        started_at=manifest.started_at,
        completed_at=manifest.completed_at,
        duration_seconds=_duration(manifest) if duration_seconds is None else duration_seconds,
        commands_passed=statuses.count("succeeded"),
        commands_failed=statuses.count("failed"),
        guardrails_present=bool(manifest.guardrail_status and manifest.guardrail_status.present),
        recorded_at=recorded_at,
        artifact_path=manifest.artifact_root,
        child_runs=len(manifest.child_runs),
        control_plane_status=manifest.control_plane.validation.status
        if manifest.control_plane
        else "unknown",
        scheduler_mode=manifest.scheduler.mode if manifest.scheduler else "unknown",
        instance_stats=instance_stats(manifest.scheduler),
        privacy_mode=privacy.mode if privacy else "unknown",
        privacy_log_path=privacy.log_path if privacy else None,
        privacy_event_count=len(decisions),
        privacy_events=decisions[:privacy_events],
        handle_count=len(manifest.handles or ()),
        commands_skipped=statuses.count("skipped"),
        approvals_count=len(manifest.approvals),
        approvals=manifest.approvals,
        resumed=attempts > 1,
        attempts=attempts,
        heartbeat_writes=heartbeat_writes,
        heartbeat_failures=heartbeat_failures,
    )


def _duration(manifest: Manifest) -> float:
    started = parse_timestamp(manifest.started_at)
    completed = parse_timestamp(manifest.completed_at or manifest.started_at)
    # The wall clock may have been set back meanwhile.
    return max(0.0, round((completed or 0.0) - (started or 0.0), 3))
