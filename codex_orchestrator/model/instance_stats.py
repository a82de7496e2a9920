"""What summaries and metrics make of a run's workers (docs/reference/files.md, "Summaries").

Shapes and the pure functions that fill them. Annotations are real types here, as `codec` reads them.
"""

from typing import Annotated, Any, ClassVar

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import CAMEL, STRICT, Bounds
from codex_orchestrator.model.scheduler import AssignmentStatus, RecoveryPolicy, Scheduler, SchedulerMode

_Name = Annotated[str, Bounds(min_length=1)]
_Natural = Annotated[int, Bounds(ge=0)]


@dataclass(frozen=True)
class InstanceStats:
    """A worker as the metrics line has it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    instance_id: _Name
    capability: _Name
    status: AssignmentStatus
    attempts: _Natural
    recovery_events: _Natural


@dataclass(frozen=True)
class RecoverySummary(RecoveryPolicy):
    """The `RecoveryPolicy` as the summary has it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL


@dataclass(frozen=True)
class AssignmentSummary:
    """A worker as the summary has it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    instance_id: str
    capability: str
    status: AssignmentStatus
    attempts: int
    last_completed_at: str | None


@dataclass(frozen=True)
class SchedulerSummary:
    """The scheduler as the summary has it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    mode: SchedulerMode
    recovery: RecoverySummary
    assignments: tuple[AssignmentSummary, ...]


def instance_stats(scheduler: Scheduler | None) -> tuple[InstanceStats, ...]:
    """A line about each worker; none where the run had no scheduler."""
    return tuple(
        InstanceStats(
            instance_id=worker.instance_id,
            capability=worker.capability,
            status=worker.status,
            attempts=len(worker.attempts),
            recovery_events=sum(len(attempt.recovery_checkpoints) for attempt in worker.attempts),
        )
        for worker in (scheduler.assignments if scheduler else ())
    )


def scheduler_summary(scheduler: Scheduler | None) -> SchedulerSummary | None:
    """What a RunSummary says of the workers, or None where the run had no scheduler."""
    if scheduler is None:
        return None
    return SchedulerSummary(
        mode=scheduler.mode,
        recovery=RecoverySummary(**vars(scheduler.recovery)),
        assignments=tuple(
            AssignmentSummary(
                instance_id=worker.instance_id,
                capability=worker.capability,
                status=worker.status,
                attempts=len(worker.attempts),
                last_completed_at=worker.completed_at,
            )
            for worker in scheduler.assignments
        ),
    )
