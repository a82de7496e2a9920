"""Commands on workers: what is sent to them, what they say, and which of them are lost.

Who starts workers, and how words reach them, is a `Line`'s to know. Workers speak in threads of their own;
all they say is heard on the main thread, in `WorkerEngine.listen`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import Full, Queue
from signal import SIGKILL
from typing import Any, Protocol

from codex_orchestrator import __version__
from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution.leftovers import end_left
from codex_orchestrator.execution.process import signal_if
from codex_orchestrator.model.scheduler import POLICY, RecoveryPolicy
from codex_orchestrator.rules.stage import StageRequest

from .dispatcher import Dispatcher
from .halt import Halt
from .jobs import Place
from .messages import (
    SAME_VERSION,
    Alive,
    Cancel,
    Ended,
    Failed,
    FromController,
    Hello,
    Late,
    Left,
    Lost,
    Message,
    Nested,
    NotUnderstood,
    Refused,
    Run,
    Said,
    Watching,
    Welcome,
    WhichNested,
    decode,
    encode,
    of_another_version,
)
from .runs import PipelineRun

# A worker that is further ahead waits, and so does the command whose output it reads.
_MESSAGES_WAITING = 64
_POLL_SECONDS = 0.5


class Line(Protocol):
    """The way to a worker, of whatever has started it."""

    @property
    def name(self) -> str:
        """The worker's, for people and manifests."""
        ...

    @property
    def is_near(self) -> bool:
        """Whether it is a child of this process."""
        ...

    @property
    def is_leaving(self) -> bool:
        """Whether it is about to end, so that it had better get no further command."""
        ...

    @property
    def node(self) -> Any:
        """The worker as reports name it."""
        ...

    def send(self, message: dict[str, Any]) -> None:
        """Send plain values; raises ``OSError`` where the worker is gone."""
        ...

    def begin(self, nodeid: str) -> None:
        """Have the worker turn to a stage, whose `Run` it has been sent; raises as `send`."""
        ...

    def wake(self) -> None:
        """Have the main thread call `WorkerEngine.listen` soon; called in any thread."""
        ...

    def end(self) -> None:
        """End a worker that is no child of this process; raises as `send`."""
        ...


@dataclass
class WorkerState:
    """A worker as the controller knows it.

    Attributes:
        line: To it.
        heard: When it was last heard of, by the monotonic clock.
        pid: Its process id, once it has told.
        ready: Whether its pytest is up.
        running: The node id of the stage that it runs, or None.
        group: The process group of that stage's command, or None.
        silent: Whether it is being ended for its silence.
        refused: Whether it says what nobody here understands, and is not listened to.
    """

    line: Line
    heard: float
    pid: int | None = None
    ready: bool = False
    running: str | None = None
    group: int | None = None
    silent: bool = False
    refused: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether it can be given commands, and has said that it is of the same version."""
        return self.ready and self.pid is not None and not self.refused

    def send(self, message: FromController) -> None:
        """Send it a message, which is lost where it has died: who has started it says so."""
        with suppress(OSError):
            self.line.send(encode(message))


class WorkerEngine:
    """Runs one command at a time on each worker.

    Attributes:
        dispatcher: What hears of commands.
        size: How many workers there have been at once, at most.
    """

    def __init__(
        self, nodeids: Sequence[str], clock: Clock, halt: Halt, *, policy: RecoveryPolicy = POLICY
    ) -> None:
        """No worker is there yet.

        Args:
            nodeids: Of all stages, in the order that workers have them in.
            clock: Time.
            halt: Says when to cancel.
            policy: When a worker counts as lost.
        """
        self.dispatcher: Dispatcher
        self.size = 0
        self._nodeids = tuple(nodeids)
        self._known = frozenset(nodeids)
        self._clock = clock
        self._halt = halt
        self._limit = policy.missing_heartbeat_timeout_seconds
        self._interval = policy.heartbeat_interval_seconds
        self._looked = clock.monotonic()
        self._workers: dict[Line, WorkerState] = {}
        self._said: Queue[tuple[Line, object]] = Queue(_MESSAGES_WAITING)
        self._woken = threading.Event()
        self._over = threading.Event()
        self._cancellations = 0

    # Workers come and go.

    def expect(self, line: Line) -> Welcome:
        """A worker is being started; the answer is what it has to be told for that."""
        self._workers[line] = WorkerState(line, self._clock.monotonic())
        return Welcome(self._nodeids, line.is_near, self._interval)

    def admit(self, line: Line) -> None:
        """A worker can be given commands."""
        self._workers[line].ready = True
        self.size = max(self.size, len(self._workers))

    @property
    def lines(self) -> list[Line]:
        """Those to the workers that have not ended."""
        return list(self._workers)

    def dismiss(self, line: Line) -> None:
        """A worker has ended, or died; in the latter case its command is lost."""
        self.listen()
        state = self._workers.pop(line, None)
        if state is None or state.running is None:
            return
        if line.is_near:
            # Before it is tried again, what the lost attempt has started must be gone; the worker may have
            # died before it could tell of that.
            groups = set() if state.group is None else {state.group}
            end_left(self.dispatcher.mark_of(state.running), groups, clock=self._clock)
        silence = f"Worker {line.name} gave no sign of life for {self._limit} s"
        cause = silence if state.silent else f"Worker {line.name} died"
        self.dispatcher.hear(Lost(state.running, cause, "missed-heartbeat" if state.silent else "auto"))
        self.dispatcher.advance()

    # The engine.

    def free(self) -> bool:
        """Whether a worker has nothing to do."""
        return any(not state.line.is_leaving for state in self._idle())

    def start(self, nodeid: str, request: StageRequest, run: PipelineRun) -> Place:  # noqa: ARG002
        """Send a command to the worker that has been there longest."""
        # One may have died since it was found free: it gets the command, and is about to lose it.
        state = min(self._idle(), key=lambda idle: idle.line.is_leaving, default=None)
        if state is None:
            raise RuntimeError(f"{nodeid}: no worker is free")
        state.running, state.group = nodeid, None
        state.send(Run(nodeid, request))
        with suppress(OSError):
            state.line.begin(nodeid)
        return Place(state.line.name, state.line.node)

    def cancel(self, number: int, by: str) -> None:
        """End all commands with a signal."""
        for state in self._workers.values():
            state.send(Cancel(int(number), by))

    def _idle(self) -> list[WorkerState]:
        """The workers with nothing to do, of which some may be about to end."""
        return [state for state in self._workers.values() if state.is_usable and state.running is None]

    # What workers say.

    def receive(self, line: Line, data: object) -> None:
        """Take a worker's words, in the thread that reads from it: never raises, nor waits at the end."""
        while not self._over.is_set():
            with suppress(Full):
                self._said.put((line, data), timeout=_POLL_SECONDS)
                break
        if not self._woken.is_set():
            self._woken.set()
            line.wake()

    def listen(self) -> None:
        """Take up what workers have said so far; they may say more, faster than it is taken up."""
        self._woken.clear()
        for _ in range(self._said.qsize()):
            line, data = self._said.get_nowait()
            state = self._workers.get(line)
            if state is None or state.refused:
                continue
            state.heard = self._clock.monotonic()
            try:
                self._hear(state, decode(data))
            except NotUnderstood as error:
                self._refuse(state, f"Worker {line.name} said {error.message}.")

    def _hear(self, state: WorkerState, message: Message) -> None:
        match message:
            case Hello():
                self._greet(state, message)
            case Alive():
                pass
            case Refused(what):
                self._refuse(state, f"Worker {state.line.name} was sent {what}.")
            case Late(nodeid):
                if nodeid in self._known:
                    self.dispatcher.hear(message)
            case Left(what):
                if what:
                    self.dispatcher.warn(f"Ended what stages left running on {state.line.name}: {what}.")
            case Said() | Watching() | Failed() | Ended() | WhichNested():
                # Nothing else than what it was given is its to tell of.
                if message.nodeid == state.running:
                    self._hear_of_command(state, message)
            case _:
                what = f'a message "{message.type}", which is not for controllers'
                self._refuse(state, f"Worker {state.line.name} said {what}.")

    def _hear_of_command(
        self, state: WorkerState, message: Said | Watching | Failed | Ended | WhichNested
    ) -> None:
        if isinstance(message, WhichNested):
            state.send(Nested(tuple(sorted(self.dispatcher.nested(message.nodeid)))))
            return
        if isinstance(message, Watching):
            if not state.line.is_near:
                return
            state.group = message.group
        elif isinstance(message, Ended):
            state.running, state.group = None, None
        self.dispatcher.hear(message)

    def _greet(self, state: WorkerState, hello: Hello) -> None:
        state.pid = hello.pid
        other = of_another_version(hello, __version__)
        if other is not None:
            self._refuse(state, f"Worker {state.line.name} {other}")

    def _refuse(self, state: WorkerState, why: str) -> None:
        """End the session for a worker that cannot be talked with, and listen to it no longer."""
        state.refused = True
        self._stop(why, SAME_VERSION)

    def _stop(self, message: str, hint: str | None) -> None:
        self._halt.stop(OrchestratorError(message, hint=hint))

    # The watch.

    def check(self) -> None:
        """Pass a cancellation on, and give up workers that have been silent for too long."""
        self.listen()
        cancellation = self._halt.cancellation
        while (
            cancellation is not None and cancellation.number and self._cancellations < cancellation.requests
        ):
            self._cancellations += 1
            self.cancel(cancellation.number, cancellation.by)
        now, before = self._clock.monotonic(), self._looked
        self._looked = now
        for state in list(self._workers.values()):
            if now - before > self._interval:
                # Nobody has listened meanwhile: this process was stopped, say, as a shell does it.
                state.heard = now
            silence = now - state.heard
            if silence > self._limit and not state.silent:
                self._end(state)
            elif silence > 2 * self._limit:
                self._stop(
                    f"Worker {state.line.name} gave no sign of life for {silence:.0f} s and cannot be ended.",
                    "End it by hand, and resume the run.",
                )

    def _end(self, state: WorkerState) -> None:
        """End a silent worker, whose death is then told by who has started it."""
        state.silent = True
        if state.line.is_near and state.pid is not None:
            signal_if(state.pid, SIGKILL, lambda: True)
            return
        with suppress(OSError):
            state.line.end()

    def close(self) -> None:
        """Hear nothing any more, so that nobody waits for being heard."""
        self._over.set()
