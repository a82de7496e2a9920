"""A run's workers and what became of the commands they were given (docs/reference/manifest.md, "Scheduler").

The shapes of a manifest's ``scheduler``, how it changes, and what summaries and metrics make of it: pure, and
what is told twice changes nothing. Annotations are real types here, as `codec` reads them.
"""

import re
from dataclasses import field, replace
from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import CAMEL, OMIT_NONE, STRICT, Bounds

_WHEN_KNOWN = {OMIT_NONE: True}

SchedulerMode = Literal["multi-instance"]
AssignmentStatus = Literal["assigned", "running", "succeeded", "failed", "recovered"]
AttemptOutcome = Literal["completed", "failed", "requeued"]
LossCause = Literal["missed-heartbeat", "manual", "auto"]
RecoveryAction = Literal["requeue", "escalate", "ack"]
_Name = Annotated[str, Bounds(min_length=1)]
_Count = Annotated[int, Bounds(ge=1)]
_Natural = Annotated[int, Bounds(ge=0)]

_AFTER: dict[AttemptOutcome, AssignmentStatus] = {
    "completed": "succeeded",
    "failed": "failed",
    "requeued": "recovered",
}


@dataclass(frozen=True)
class RecoveryPolicy:
    """When a worker counts as lost, and how often what it did is tried again."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    heartbeat_interval_seconds: _Count
    missing_heartbeat_timeout_seconds: _Count
    max_retries: _Natural


@dataclass(frozen=True)
class AssignmentMetadata:
    """How much a worker takes on."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    weight: Annotated[float, Bounds(ge=0)]
    max_concurrency: _Count


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What is done about a worker that was lost, and why."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    reason: LossCause
    action: RecoveryAction
    detail: str | None = field(default=None, metadata=_WHEN_KNOWN)


@dataclass(frozen=True, kw_only=True)
class RecoveryCheckpoint:
    """A `Checkpoint`, and when it was."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    timestamp: _Name
    reason: LossCause
    action: RecoveryAction
    detail: str | None = field(default=None, metadata=_WHEN_KNOWN)


@dataclass(frozen=True)
class WorkerAttempt:
    """One command that a worker was given."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    number: _Count
    assigned_at: _Name
    started_at: str | None
    completed_at: str | None
    status: Literal["pending", "running", "completed", "failed", "requeued"]
    recovery_checkpoints: tuple[RecoveryCheckpoint, ...]


@dataclass(frozen=True)
class Assignment:
    """A worker, and what it was given."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    instance_id: _Name
    capability: _Name
    status: AssignmentStatus
    assigned_at: _Name
    completed_at: str | None
    metadata: AssignmentMetadata
    attempts: tuple[WorkerAttempt, ...]


@dataclass(frozen=True)
class Scheduler:
    """A manifest's ``scheduler``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    mode: SchedulerMode
    requested_at: _Name
    min_instances: _Count
    max_instances: _Count
    recovery: RecoveryPolicy
    assignments: tuple[Assignment, ...]


POLICY = RecoveryPolicy(heartbeat_interval_seconds=30, missing_heartbeat_timeout_seconds=120, max_retries=3)
_METADATA = AssignmentMetadata(weight=1, max_concurrency=1)


def requested(
    known: Scheduler | None, *, min_instances: int, max_instances: int, timestamp: str
) -> Scheduler:
    """The scheduler of a run that wants this many workers; in a resumed run it goes on with more at most."""
    if known is None:
        return Scheduler("multi-instance", timestamp, min_instances, max_instances, POLICY, ())
    if max_instances <= known.max_instances:
        return known
    return replace(known, max_instances=max_instances)


def assigned(scheduler: Scheduler, instance_id: str, *, timestamp: str) -> Scheduler:
    """A worker was given a command; never two at one moment, so that it tells attempts apart."""
    worker = _worker(scheduler, instance_id) or _new_worker(instance_id, timestamp)
    if any(attempt.assigned_at == timestamp for attempt in worker.attempts):
        return scheduler
    attempt = WorkerAttempt(len(worker.attempts) + 1, timestamp, timestamp, None, "running", ())
    busy = replace(worker, status="running", completed_at=None, attempts=(*worker.attempts, attempt))
    return _with_worker(scheduler, busy)


def released(
    scheduler: Scheduler,
    instance_id: str,
    outcome: AttemptOutcome,
    checkpoint: Checkpoint | None = None,
    *,
    timestamp: str,
    assigned_at: str | None = None,
) -> Scheduler:
    """A worker has a command no more: it brought it to its end, or was lost over it.

    Args:
        scheduler: As it was.
        instance_id: The worker.
        outcome: ``completed``, whatever the command's exit code; of a lost worker ``requeued`` where the
            stage is tried again, else ``failed``.
        checkpoint: What is done about a lost worker.
        timestamp: When.
        assigned_at: When it was given the command; None for all that it has.
    """
    worker = _worker(scheduler, instance_id)
    if worker is None:
        return scheduler
    if assigned_at is None and any(attempt.completed_at == timestamp for attempt in worker.attempts):
        return scheduler  # Told again, when the worker may have the next command already.
    noted = () if checkpoint is None else (_noted(checkpoint, timestamp),)
    return _with_worker(scheduler, _closed(worker, outcome, timestamp, noted, assigned_at))


def ended(scheduler: Scheduler, *, timestamp: str) -> Scheduler:
    """Whatever had no end when the run ended, or when its process died, has failed."""
    for worker in scheduler.assignments:
        scheduler = _with_worker(scheduler, _closed(worker, "failed", timestamp))
    return scheduler


def _closed(
    worker: Assignment,
    outcome: AttemptOutcome,
    timestamp: str,
    noted: tuple[RecoveryCheckpoint, ...] = (),
    assigned_at: str | None = None,
) -> Assignment:
    attempts = tuple(
        replace(
            attempt,
            status=outcome,
            completed_at=timestamp,
            recovery_checkpoints=(*attempt.recovery_checkpoints, *noted),
        )
        if _is_open(attempt) and assigned_at in (None, attempt.assigned_at)
        else attempt
        for attempt in worker.attempts
    )
    if attempts == worker.attempts:
        return worker
    if any(map(_is_open, attempts)):
        return replace(worker, attempts=attempts)
    return replace(worker, status=_AFTER[outcome], completed_at=timestamp, attempts=attempts)


def _is_open(attempt: WorkerAttempt) -> bool:
    return attempt.status in ("pending", "running")


def _noted(checkpoint: Checkpoint, timestamp: str) -> RecoveryCheckpoint:
    return RecoveryCheckpoint(
        timestamp=timestamp, reason=checkpoint.reason, action=checkpoint.action, detail=checkpoint.detail
    )


def _worker(scheduler: Scheduler, instance_id: str) -> Assignment | None:
    return next((item for item in scheduler.assignments if item.instance_id == instance_id), None)


def _new_worker(instance_id: str, timestamp: str) -> Assignment:
    return Assignment(instance_id, "general", "assigned", timestamp, None, _METADATA, ())


def _with_worker(scheduler: Scheduler, worker: Assignment) -> Scheduler:
    if worker in scheduler.assignments:
        return scheduler
    others = (item for item in scheduler.assignments if item.instance_id != worker.instance_id)
    # Not in the order of their first commands, which may be told in any.
    return replace(scheduler, assignments=tuple(sorted((*others, worker), key=_place)))


def _place(worker: Assignment) -> tuple[str, str]:
    """By name, and with numbers in their order: ``gw2`` before ``gw10``."""
    return re.sub(r"\d+", lambda number: number[0].zfill(9), worker.instance_id), worker.instance_id


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
