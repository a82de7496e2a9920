"""The events of a run and their lines (docs/reference/event-logs.md).

A line is compact JSON with ``type`` first, ``timestamp`` and ``index`` last.
"""

from dataclasses import field, fields
from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import OMIT_NONE, STRICT, Bounds, OneOf, dumps_line, to_json
from codex_orchestrator.model.exec_events import ExecChunk, ExecEvent, Index
from codex_orchestrator.model.manifest import Reason, RunStatus, StageStatus
from codex_orchestrator.model.scheduler import AttemptOutcome, Checkpoint

_WHEN_KNOWN = {OMIT_NONE: True}


@dataclass(frozen=True, kw_only=True)
class AttemptFailed:
    """An attempt has failed and another follows: the last word on this one."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["attempt:failed"] = "attempt:failed"
    stage_id: str
    attempt: Index
    reason: Reason
    error_file: str | None
    correlation_id: str
    frames: int
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class OutputLeftOut:
    """So much of what a stage printed is in no log, as it was more than the definitions allow."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["output:left-out"] = "output:left-out"
    stage_id: str
    left_out_bytes: Annotated[int, Bounds(ge=1)]
    limit_bytes: Annotated[int, Bounds(ge=1)]
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class StageCompleted:
    """What the run makes of a stage: the last word on its entry.

    ``detail`` is the run's ``status_detail`` where the stage failed, if its kind has one of its own.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["stage:completed"] = "stage:completed"
    stage_id: str
    status: StageStatus
    exit_code: int | None
    summary: str
    reason: Reason | None
    error_file: str | None
    correlation_id: str | None
    frames: int
    detail: str | None = field(default=None, metadata=_WHEN_KNOWN)
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class StageSkipped:
    """A stage is not run because of another's failure; its entry stays ``pending``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["stage:skipped"] = "stage:skipped"
    stage_id: str
    reason: str
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class StageWaiting:
    """A stage can go on only when somebody has decided; its entry stays ``pending``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["stage:waiting"] = "stage:waiting"
    stage_id: str
    reason: str
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class SchedulerStarted:
    """Stages run on workers, at least and at most so many."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["scheduler:started"] = "scheduler:started"
    min_instances: Annotated[int, Bounds(ge=1)]
    max_instances: Annotated[int, Bounds(ge=1)]
    timestamp: str


@dataclass(frozen=True, kw_only=True)
class StageAssigned:
    """A stage's command is given to a worker."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["stage:assigned"] = "stage:assigned"
    stage_id: str
    instance_id: Annotated[str, Bounds(min_length=1)]
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class StageReleased:
    """The worker has no command any more: it ended it, however that went, or the worker is lost."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["stage:released"] = "stage:released"
    stage_id: str
    instance_id: Annotated[str, Bounds(min_length=1)]
    outcome: AttemptOutcome
    assigned_at: str | None = field(default=None, metadata=_WHEN_KNOWN)
    checkpoint: Checkpoint | None = field(default=None, metadata=_WHEN_KNOWN)
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class ApprovalRecorded:
    """Somebody has decided on a manual stage."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["approval:recorded"] = "approval:recorded"
    actor: str
    reason: str
    timestamp: str


@dataclass(frozen=True, kw_only=True)
class ChildChanged:
    """A run that this one started began or ended; ``index`` is its stage's, where it is a stage's own run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["child:changed"] = "child:changed"
    child_run_id: str
    pipeline_id: str
    status: RunStatus
    manifest: str
    timestamp: str
    index: Index | None = field(default=None, metadata=_WHEN_KNOWN)


@dataclass(frozen=True, kw_only=True)
class RunResumed:
    """The run goes on after it had ended or died; ``stages`` are the ids at the indexes of what follows."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["run:resumed"] = "run:resumed"
    run_id: str
    actor: str
    reason: str
    stages: tuple[str, ...] = ()
    timestamp: str


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """The run begins; ``stages`` are the ids at the indexes of what follows."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["run:started"] = "run:started"
    run_id: str
    pipeline_id: str
    stages: tuple[str, ...] = ()
    timestamp: str


@dataclass(frozen=True, kw_only=True)
class RunCompleted:
    """The run has ended."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["run:completed"] = "run:completed"
    run_id: str
    status: RunStatus
    status_detail: str | None
    summary: str
    timestamp: str


StageEvent = (
    ExecEvent
    | AttemptFailed
    | OutputLeftOut
    | StageCompleted
    | StageSkipped
    | StageWaiting
    | StageAssigned
    | StageReleased
)
RunEvent = SchedulerStarted | RunStarted | RunResumed | RunCompleted
Event = StageEvent | ChildChanged | ApprovalRecorded | RunEvent
AnyEvent = Annotated[Event, OneOf("type")]


def encode(event: Event) -> bytes:
    """The event's line in the logs."""
    if isinstance(event, ExecChunk):
        return _encode_chunk(event)
    return dumps_line(to_json(event)).encode()


def _encode_chunk(chunk: ExecChunk) -> bytes:
    """The line that any event would get, made several times faster: chunks are many, and of 64 KiB."""
    values = {field.name: getattr(chunk, field.name) for field in _CHUNK_FIELDS}
    before, after = dumps_line({**values, "data": ""}).encode().split(_NO_DATA)
    data = chunk.data.encode()
    for character, escape in _ESCAPES:
        # A search for one byte runs at the speed of memory, and is all that most of these come to.
        data = data.replace(character, escape)
    return b"".join((before, b'"data":"', data, b'"', after))


_CHUNK_FIELDS = fields(ExecChunk)
# No value can hold these bytes: within a text, a quotation mark has a backslash before it.
_NO_DATA = b'"data":""'
# The backslash comes first, or it would escape the other escapes.
_ESCAPED = ("\\", '"', *map(chr, range(0x20)))
_ESCAPES = tuple((character.encode(), dumps_line(character)[1:-2].encode()) for character in _ESCAPED)
