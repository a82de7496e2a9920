"""What a controller, its workers and its dispatcher tell one another: as values, and as channels carry them.

A worker may be another installation of this product: the version of all this (`MESSAGES`) is told before all
else, and one with another is sent no command. Whatever a channel brings is looked at in `decode`, and nowhere
else.
"""

# No postponed annotations: `codec` reads what comes by the types that stand here.

import json
import reprlib
from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.engine import MESSAGES
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.model.codec import STRICT, Bounds, Mismatch, OneOf, from_json, loads, to_json
from codex_orchestrator.model.exec_events import ExecChunk, ExecEvent
from codex_orchestrator.model.scheduler import LossCause
from codex_orchestrator.rules.stage import StageOutcome, StageRequest

SAME_VERSION = "Install the same version of codex-orchestrator on both sides."

# No process of ours has a lower one, and signals to 0 or 1 would reach others.
ProcessId = Annotated[int, Bounds(ge=2)]
AnyExecEvent = Annotated[ExecEvent, OneOf("type")]


# ------------------------------------------------------------------ from whatever runs commands


@dataclass(frozen=True)
class Said:
    """An event of a command."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    nodeid: str
    event: AnyExecEvent
    type: Literal["said"] = "said"


@dataclass(frozen=True)
class Late:
    """An event of what a command has left running."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    nodeid: str
    event: AnyExecEvent
    type: Literal["late"] = "late"


@dataclass(frozen=True)
class Watching:
    """A command has a process group."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    nodeid: str
    group: ProcessId
    type: Literal["watching"] = "watching"


@dataclass(frozen=True)
class Failed:
    """An attempt has failed, and another is about to be made."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    nodeid: str
    outcome: StageOutcome
    type: Literal["failed"] = "failed"


@dataclass(frozen=True)
class Ended:
    """A command has ended for good."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    nodeid: str
    outcome: StageOutcome
    type: Literal["ended"] = "ended"


@dataclass(frozen=True)
class Lost:
    """Whatever ran a command is gone; an engine says so, as no worker can.

    Attributes:
        nodeid: The stage's.
        cause: What became of it, as a sentence without its stop.
        reason: ``missed-heartbeat`` where silence is all that is known, or ``auto``.
    """

    nodeid: str
    cause: str
    reason: LossCause = "auto"


OfCommands = Said | Late | Watching | Failed | Ended | Lost
"""What a `Dispatcher` hears, whatever engine it comes from."""


# ------------------------------------------------------------------ from a worker to its controller


@dataclass(frozen=True)
class Hello:
    """The first message of a worker: who it is. That of a later version may say more, and is read.

    Attributes:
        messages: Its `MESSAGES`, or 0 where it has none.
        version: Of the product.
        pid: Its process id.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    messages: int
    version: str
    pid: ProcessId
    type: Literal["hello"] = "hello"


@dataclass(frozen=True)
class Alive:
    """A sign of life."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    type: Literal["alive"] = "alive"


@dataclass(frozen=True)
class WhichNested:
    """A question: the processes of runs that a command has started. `Nested` answers it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    nodeid: str
    type: Literal["which-nested"] = "which-nested"


@dataclass(frozen=True)
class Left:
    """A worker has ended what commands had left running: these, in words; empty where there was nothing."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    what: str
    type: Literal["left"] = "left"


@dataclass(frozen=True)
class Refused:
    """A worker has been sent what it does not understand."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    what: str
    type: Literal["refused"] = "refused"


# ------------------------------------------------------------------ from a controller to a worker


@dataclass(frozen=True)
class Welcome:
    """All that a worker has to know before its first command.

    Attributes:
        nodeids: The stages that it may be given, by node id.
        is_near: Whether its controller is on the same machine, and its parent.
        interval_seconds: How often to give a sign of life.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    nodeids: tuple[str, ...]
    is_near: bool
    interval_seconds: float
    type: Literal["welcome"] = "welcome"


@dataclass(frozen=True)
class Run:
    """A command to run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    nodeid: str
    request: StageRequest
    type: Literal["run"] = "run"


@dataclass(frozen=True)
class Cancel:
    """A signal for all that a worker runs, and who has asked for it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    number: Annotated[int, Bounds(ge=1, le=64)]
    by: str
    type: Literal["cancel"] = "cancel"


@dataclass(frozen=True)
class Nested:
    """The processes of runs that a command has started, by process id."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    pids: tuple[ProcessId, ...]
    type: Literal["nested"] = "nested"


FromWorker = Said | Late | Watching | Failed | Ended | Hello | Alive | WhichNested | Left | Refused
FromController = Welcome | Run | Cancel | Nested
Message = FromWorker | FromController

_KINDS: dict[str, type[Message]] = {
    kind.type: kind
    for kind in (
        *(Said, Late, Watching, Failed, Ended, Hello, Alive, WhichNested, Left, Refused),
        *(Welcome, Run, Cancel, Nested),
    )
}


class NotUnderstood(OrchestratorError):
    """A message came that is none of these."""

    def __init__(self, data: object) -> None:
        kind = data.get("type") if isinstance(data, dict) else None
        if isinstance(kind, str) and kind in _KINDS:
            what = f'a message "{kind}" that is not of its shape'
        elif isinstance(kind, str):
            what = f"a message of the unknown kind {reprlib.repr(kind)}"
        else:
            what = f"what is no message: {type(data).__name__}"
        super().__init__(what, hint=SAME_VERSION)


def encode(message: Message) -> dict[str, Any]:
    """A message as plain values, which any channel takes."""
    if isinstance(message, Run):
        # As text: an environment may hold bytes that are no text, which not every channel takes.
        return {
            "type": message.type,
            "nodeid": message.nodeid,
            "request": json.dumps(message.request.plain()),
        }
    if isinstance(message, Said) and isinstance(message.event, ExecChunk):
        # They are many, and have nothing in them that is not plain.
        return {"type": message.type, "nodeid": message.nodeid, "event": dict(vars(message.event))}
    plain: dict[str, Any] = to_json(message)
    return plain


def decode(data: object) -> Message:
    """The message that came as such values.

    Raises:
        NotUnderstood: It is none.
    """
    kind = data.get("type") if isinstance(data, dict) else None
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None or not isinstance(data, dict):
        raise NotUnderstood(data)
    try:
        if cls is Run:
            return _run(data)
        return from_json(cls, data, strict=cls is not Hello)
    except Mismatch:
        raise NotUnderstood(data) from None


def _run(data: dict[Any, Any]) -> Run:
    nodeid, text = data.get("nodeid"), data.get("request")
    if (
        data.keys() != {"type", "nodeid", "request"}
        or not isinstance(nodeid, str)
        or not isinstance(text, str)
    ):
        raise Mismatch
    try:
        values = loads(text, keep_halves=True)
    except ValueError:
        raise Mismatch from None
    return Run(nodeid, StageRequest.of(values))


def of_another_version(hello: Hello, version: str) -> str | None:
    """What is to be said of a worker that is not of this version of the product; None where it is."""
    if (hello.version, hello.messages) == (version, MESSAGES):
        return None
    return (
        f"has codex-orchestrator {hello.version}, with version {hello.messages} of the messages between "
        f"controller and workers; here these are {version} and {MESSAGES}."
    )
