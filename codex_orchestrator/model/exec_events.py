"""The events of a command, from its start to its end (docs/reference/event-logs.md).

By themselves, as this is all that a worker needs to know of events, and a worker has to start soon.
"""

from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import STRICT, Bounds

Index = Annotated[int, Bounds(ge=1)]


@dataclass(frozen=True, kw_only=True)
class CommandStart:
    """A stage begins."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["command:start"] = "command:start"
    command: str
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class ExecBegin:
    """An attempt to run the stage's command begins."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["exec:begin"] = "exec:begin"
    correlation_id: str
    attempt: Index
    command: str
    args: tuple[str, ...] = ()
    cwd: str
    session_id: str
    sandbox_state: str = "none"
    persisted: bool = False
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class ExecChunk:
    """Output as it came; ``bytes`` counts what was read, ``sequence`` runs over both streams."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["exec:chunk"] = "exec:chunk"
    correlation_id: str
    attempt: Index
    stream: Literal["stdout", "stderr"]
    sequence: Index
    bytes: int
    data: str
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class ExecRetry:
    """The command will be tried again."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["exec:retry"] = "exec:retry"
    correlation_id: str
    attempt: Index
    delay_ms: int
    sandbox_state: str = "none"
    error: str
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class ExecEnd:
    """An attempt has ended."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["exec:end"] = "exec:end"
    correlation_id: str
    attempt: Index
    exit_code: int | None
    signal: str | None
    duration_ms: int
    status: Literal["succeeded", "failed", "timeout", "cancelled"]
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class CommandEnd:
    """The stage's command has ended for good."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["command:end"] = "command:end"
    exit_code: int | None
    signal: str | None
    duration_ms: int
    timestamp: str
    index: Index


@dataclass(frozen=True, kw_only=True)
class PrivacyDecided:
    """The guard has found a secret, in the chunk of that ``sequence``, or, with 0, in the command."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["privacy:decided"] = "privacy:decided"
    correlation_id: str
    sequence: Annotated[int, Bounds(ge=0)]
    action: Literal["allow", "redact", "block"]
    rule: str
    reason: str
    timestamp: str
    index: Index


ExecEvent = CommandStart | ExecBegin | ExecChunk | ExecRetry | ExecEnd | CommandEnd | PrivacyDecided
