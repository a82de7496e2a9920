"""The shapes of the artefacts (docs/reference/manifest.md and docs/reference/files.md).

Annotations are real types here (no postponed evaluation), read by `codec` and by pydantic.
Field order is the order in the files.
"""

from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import OMIT_NONE, STRICT, Bounds
from codex_orchestrator.model.control_plane import ControlPlane
from codex_orchestrator.model.definitions import ExecutionMode, Pipeline
from codex_orchestrator.model.privacy_record import Privacy, PrivacyDecision
from codex_orchestrator.model.scheduler import InstanceStats, Scheduler

_WHEN_KNOWN = {OMIT_NONE: True}

RunStatus = Literal["queued", "in_progress", "succeeded", "failed", "cancelled"]
StageStatus = Literal["pending", "running", "succeeded", "failed", "skipped"]
StageKind = Literal["command", "subpipeline", "manual"]
Reason = Literal[
    "command-failed",
    "command-allow-failure",
    "command-execution-error",
    "command-timeout",
    "command-cancelled",
]
Name = Annotated[str, Bounds(min_length=1)]
Natural = Annotated[int, Bounds(ge=0)]

TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
HEARTBEAT_SECONDS = 5
STALE_SECONDS = 30
LARGEST_PID = 2**31 - 1


@dataclass(frozen=True)
class CommandEntry:
    """A stage's line in the manifest."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    index: Annotated[int, Bounds(ge=1)]
    id: Name
    title: Name
    command: str | None
    kind: StageKind
    status: StageStatus
    started_at: str | None
    completed_at: str | None
    exit_code: int | None
    summary: str | None
    log_path: str | None
    error_file: str | None
    sub_run_id: str | None


@dataclass(frozen=True, kw_only=True)
class ResumeEvent:
    """An attempt to resume the run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    actor: Name
    reason: Name
    outcome: Literal["accepted", "blocked"]
    detail: str | None = field(default=None, metadata=_WHEN_KNOWN)
    timestamp: str


@dataclass(frozen=True)
class Approval:
    """A recorded decision."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    actor: Name
    timestamp: str
    reason: str | None = field(default=None, metadata=_WHEN_KNOWN)


@dataclass(frozen=True)
class ChildRun:
    """A run that this one started."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    run_id: Name
    pipeline_id: Name
    status: RunStatus
    manifest: Name


@dataclass(frozen=True)
class GuardrailCounts:
    """How the guardrail commands ended."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    total: Natural
    succeeded: Natural
    failed: Natural
    skipped: Natural
    other: Natural


@dataclass(frozen=True)
class GuardrailStatus:
    """What the guardrails say about the run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    present: bool
    recommendation: str | None
    summary: str
    computed_at: str
    counts: GuardrailCounts


@dataclass(frozen=True)
class HandleMetadata:
    """Whose handle it is."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    run_id: Name


@dataclass(frozen=True)
class Handle:
    """One executed command's stream of events."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    handle_id: Name
    correlation_id: Name
    stage_id: str | None
    pipeline_id: Name
    status: Literal["open", "closed"]
    frame_count: Natural
    latest_sequence: Natural
    created_at: str
    metadata: HandleMetadata


@dataclass(frozen=True)
class Manifest:
    """``manifest.json``; a run's evidence in one place."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    # No Literal: pydantic takes `true` for one.
    version: Annotated[int, Bounds(ge=1, le=1)]
    task_id: Name
    task_slug: str | None
    run_id: Name
    parent_run_id: str | None
    pipeline_id: Name
    pipeline_title: Name
    runner: Literal["codex-cli"]
    approval_policy: str | None
    status: RunStatus
    status_detail: str | None
    started_at: str
    completed_at: str | None
    updated_at: str
    heartbeat_at: str | None
    heartbeat_interval_seconds: int
    heartbeat_stale_after_seconds: int
    artifact_root: Name
    compat_path: Name
    log_path: Name
    summary: str | None
    metrics_recorded: bool
    resume_token: Name
    resume_events: tuple[ResumeEvent, ...]
    approvals: tuple[Approval, ...]
    commands: tuple[CommandEntry, ...]
    child_runs: tuple[ChildRun, ...]
    run_summary_path: str | None
    plan_target_id: str | None
    instructions_hash: str | None
    instructions_sources: tuple[str, ...]
    guardrails_required: bool | None = field(default=None, metadata=_WHEN_KNOWN)
    control_plane: ControlPlane | None = field(default=None, metadata=_WHEN_KNOWN)
    scheduler: Scheduler | None = field(default=None, metadata=_WHEN_KNOWN)
    guardrail_status: GuardrailStatus | None = field(default=None, metadata=_WHEN_KNOWN)
    handles: tuple[Handle, ...] | None = field(default=None, metadata=_WHEN_KNOWN)
    privacy: Privacy | None = field(default=None, metadata=_WHEN_KNOWN)

    @property
    def path(self) -> str:
        """Where it lies, as artefacts name it."""
        return f"{self.artifact_root}/manifest.json"

    def entry(self, index: int) -> CommandEntry:
        """The entry of a stage by its 1-based index."""
        return self.commands[index - 1]


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A line of ``approvals.ndjson``: a decision, good for one run and its plan, once, until it expires."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    run_id: Name
    stage_id: Name
    decision: Literal["approved", "rejected"]
    actor: Name
    actor_kind: Literal["agent", "ci", "tty", "unattended"]
    reason: str | None
    timestamp: str
    expires_at: str | None
    plan_digest: Name


@dataclass(frozen=True)
class ResumeToken:
    """``resume-token.json``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    run_id: Name
    token: Name
    created_at: str


@dataclass(frozen=True)
class Pointer:
    """``mcp/R/manifest.json`` and ``compat.json``: where the run really is."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    redirect_to: Name
    manifest: Name
    created_at: str
    note: str


@dataclass(frozen=True)
class PlanRecord:
    """``plan.json``: what is run, and the digest that tells whether it has changed."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    pipeline: Pipeline
    digest: Name
    created_at: str
    execution_mode: ExecutionMode | None = field(default=None, metadata={OMIT_NONE: True})


@dataclass(frozen=True)
class Owner:
    """``run.lock``: the process that owns the run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    # 1 is the owner's where a container runs nothing else; whoever signals processes leaves that one out.
    pid: Annotated[int, Bounds(ge=1, le=LARGEST_PID)]
    start_token: str | None
    host: str
    boot_id: str | None


@dataclass(frozen=True)
class StageError:
    """``errors/NN-slug.json``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    run_id: str
    task_id: str
    command_index: int
    command_id: str
    command: str
    reason: Reason
    details: dict[str, Any]
    created_at: str


@dataclass(frozen=True)
class MetricsLine:
    """One line of ``metrics.json``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    run_id: Name
    task_id: Name
    pipeline_id: Name
    status: RunStatus
    started_at: str
    completed_at: str | None
    duration_seconds: float
    commands_passed: Natural
    commands_failed: Natural
    guardrails_present: bool
    recorded_at: str
    artifact_path: Name
    child_runs: Natural
    control_plane_status: str
    scheduler_mode: str
    instance_stats: tuple[InstanceStats, ...]
    privacy_mode: str
    privacy_log_path: str | None
    privacy_event_count: Natural
    privacy_events: tuple[PrivacyDecision, ...]
    handle_count: Natural
    commands_skipped: Natural
    approvals_count: Natural
    approvals: tuple[Approval, ...]
    resumed: bool
    attempts: Annotated[int, Bounds(ge=1)]
    heartbeat_writes: Natural
    heartbeat_failures: Natural


@dataclass(frozen=True)
class MetricsSummary:
    """``metrics-summary.json``: the aggregate, and how many bytes of the metrics it covers."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    generated_at: str
    task_id: Name
    metrics_file: Name
    entries_total: Natural
    entries_succeeded: Natural
    entries_failed: Natural
    success_rate: float
    guardrail_coverage: float
    average_duration_seconds: float
    parse_errors: tuple[str, ...]
    covered_bytes: Natural


@dataclass(frozen=True)
class StateIndex:
    """``runs-index.json``: how much of the history ``state.json`` counts."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    covered_bytes: Natural
    total_runs: Natural
