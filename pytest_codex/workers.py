"""Commands on xdist workers: what is sent to them, what they say, and which of them are lost.

Workers speak in threads of their own; all they say is heard on the main thread, in `WorkerEngine.listen`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Full, Queue
from signal import SIGKILL
from typing import Any

from codex_orchestrator import __version__
from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.engine.dispatcher import Dispatcher
from codex_orchestrator.engine.halt import Halt
from codex_orchestrator.engine.jobs import Place
from codex_orchestrator.engine.runs import PipelineRun
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution.leftovers import end_left
from codex_orchestrator.execution.process import signal_if
from codex_orchestrator.model.exec_events import (
    CommandEnd,
    ExecBegin,
    ExecChunk,
    ExecEnd,
    ExecRetry,
    PrivacyDecided,
)
from codex_orchestrator.model.scheduler import POLICY, RecoveryPolicy
from codex_orchestrator.rules.stage import StageOutcome, StageRequest
from pytest_codex.worker import INPUT

# A worker that is further ahead waits, and so does the command whose output it reads.
_MESSAGES_WAITING = 64
_POLL_SECONDS = 0.5
_EVENTS: dict[str, Callable[..., Any]] = {
    kind.type: kind for kind in (ExecBegin, ExecChunk, ExecRetry, ExecEnd, CommandEnd, PrivacyDecided)
}


@dataclass
class WorkerState:
    """A worker as the controller knows it.

    Attributes:
        node: xdist's.
        channel: To and from our plugin in it.
        heard: When it was last heard of, by the monotonic clock.
        pid: Its process id, once it has told.
        ready: Whether it can be given commands.
        running: The node id of the stage that it runs, or None.
        group: The process group of that stage's command, or None.
        silent: Whether it is being ended for its silence.
    """

    node: Any
    channel: Any
    heard: float
    pid: int | None = None
    ready: bool = False
    running: str | None = None
    group: int | None = None
    silent: bool = False

    @property
    def name(self) -> str:
        """As xdist calls it."""
        return str(self.node.gateway.id)

    @property
    def is_near(self) -> bool:
        """Whether it is a child of this process."""
        return bool(self.node.gateway.spec.popen)


class WorkerEngine:
    """Runs one command at a time on each worker.

    Attributes:
        dispatcher: What hears of commands.
        wake: Called in any thread: has the main thread call `listen` soon.
        size: How many workers there have been at once, at most.
    """

    def __init__(
        self,
        nodeids: Sequence[str],
        clock: Clock,
        halt: Halt,
        *,
        wake: Callable[[Any], None],
        send: Callable[[Any, str], None],
        policy: RecoveryPolicy = POLICY,
    ) -> None:
        """No worker is there yet.

        Args:
            nodeids: Of all stages, in the order that workers have them in.
            clock: Time.
            halt: Says when to cancel.
            wake: Has the main thread call `listen`; called in any thread, with a worker of xdist's.
            send: Has a worker run the item of that node id.
            policy: When a worker counts as lost.
        """
        self.dispatcher: Dispatcher
        self.size = 0
        self._nodeids = list(nodeids)
        self._clock = clock
        self._halt = halt
        self._wake = wake
        self._send = send
        self._limit = policy.missing_heartbeat_timeout_seconds
        self._interval = policy.heartbeat_interval_seconds
        self._looked = clock.monotonic()
        self._workers: dict[Any, WorkerState] = {}
        self._said: Queue[tuple[Any, tuple[Any, ...]]] = Queue(_MESSAGES_WAITING)
        self._woken = threading.Event()
        self._over = threading.Event()
        self._cancellations = 0

    # Workers come and go.

    def expect(self, node: Any) -> None:
        """A worker is being started: give it the list of stages and a channel to here."""
        channel = node.gateway.newchannel()
        state = WorkerState(node, channel, self._clock.monotonic())
        self._workers[node] = state
        # By names: a worker of another version must get as far as to say which it is.
        node.workerinput[INPUT] = {
            "channel": channel,
            "nodeids": self._nodeids,
            "is_near": state.is_near,
            "interval": self._interval,
        }
        channel.setcallback(lambda message: self._receive(node, message))

    def admit(self, node: Any) -> None:
        """A worker can be given commands."""
        self._workers[node].ready = True
        self.size = max(self.size, len(self._workers))

    @property
    def nodes(self) -> list[Any]:
        """The workers that have not ended, as xdist has them."""
        return list(self._workers)

    def dismiss(self, node: Any) -> None:
        """A worker has ended, or died; in the latter case its command is lost."""
        self.listen()
        state = self._workers.pop(node, None)
        if state is None or state.running is None:
            return
        if state.is_near:
            # Before it is tried again, what the lost attempt has started must be gone; the worker may have
            # died before it could tell of that.
            groups = set() if state.group is None else {state.group}
            end_left(self.dispatcher.mark_of(state.running), groups, clock=self._clock)
        silence = f"Worker {state.name} gave no sign of life for {self._limit} s"
        cause = silence if state.silent else f"Worker {state.name} died"
        self.dispatcher.lost(state.running, cause, reason="missed-heartbeat" if state.silent else "auto")
        self.dispatcher.advance()

    # The engine.

    def free(self) -> bool:
        """Whether a worker has nothing to do."""
        return any(not state.node.shutting_down for state in self._idle())

    def start(self, nodeid: str, request: StageRequest, run: PipelineRun) -> Place:  # noqa: ARG002
        """Send a command to the worker that has been there longest."""
        # One may have died since it was found free: it gets the command, and is about to lose it.
        state = min(self._idle(), key=lambda idle: bool(idle.node.shutting_down), default=None)
        if state is None:
            raise RuntimeError(f"{nodeid}: no worker is free")
        state.running, state.group = nodeid, None
        # Where the worker dies meanwhile, it is xdist that says so.
        with suppress(OSError):
            # As text: an environment may hold bytes that are no text, which channels do not take.
            state.channel.send(("run", json.dumps(request.plain())))
            self._send(state.node, nodeid)
        return Place(state.name, state.node)

    def cancel(self, number: int, by: str) -> None:
        """End all commands with a signal."""
        for state in self._workers.values():
            with suppress(OSError):
                state.channel.send(("cancel", (int(number), by)))

    def _idle(self) -> list[WorkerState]:
        """The workers with nothing to do, of which some may be about to end."""
        return [state for state in self._workers.values() if state.ready and state.running is None]

    # What workers say.

    def _receive(self, node: Any, message: tuple[Any, ...]) -> None:
        """Runs in the thread that reads from the worker: must not raise, nor wait once all is over."""
        while not self._over.is_set():
            with suppress(Full):
                self._said.put((node, message), timeout=_POLL_SECONDS)
                break
        if not self._woken.is_set():
            self._woken.set()
            self._wake(node)

    def listen(self) -> None:
        """Take up what workers have said so far; they may say more, faster than it is taken up."""
        self._woken.clear()
        for _ in range(self._said.qsize()):
            node, (word, *values) = self._said.get_nowait()
            state = self._workers.get(node)
            if state is not None:
                state.heard = self._clock.monotonic()
                self._hear(state, word, values)

    def _hear(self, state: WorkerState, word: str, values: list[Any]) -> None:
        if word == "hello":
            self._greet(state, *values)
        elif word == "late":
            nodeid, event = values
            self.dispatcher.late(nodeid, _EVENTS[event["type"]](**event))
        elif word == "left" and values[0]:
            self.dispatcher.warn(f"Ended what stages left running on {state.name}: {values[0]}.")
        if state.running is None:
            return
        if word == "said":
            kind = _EVENTS[values[0]["type"]]
            self.dispatcher.said(state.running, kind(**values[0]))
        elif word == "failed":
            self.dispatcher.failed(state.running, StageOutcome(**values[0]))
        elif word == "watching" and state.is_near:
            state.group = values[0]
            self.dispatcher.watching(state.running, values[0])
        elif word == "nested":
            nested = sorted(self.dispatcher.nested(state.running))
            with suppress(OSError):  # It may have died since it asked.
                state.channel.send(("nested", nested))
        elif word == "ended":
            nodeid, state.running, state.group = state.running, None, None
            self.dispatcher.ended(nodeid, StageOutcome(**values[0]))

    def _greet(self, state: WorkerState, pid: int, version: str) -> None:
        state.pid = pid
        if version != __version__:
            self._halt.stop(
                OrchestratorError(
                    f"Worker {state.name} has codex-orchestrator {version}, and this is {__version__}.",
                    hint="Install the same version on both sides.",
                )
            )

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
                self._halt.stop(
                    OrchestratorError(
                        f"Worker {state.name} gave no sign of life for {silence:.0f} s and cannot be ended.",
                        hint="End it by hand, and resume the run.",
                    )
                )

    def _end(self, state: WorkerState) -> None:
        """End a silent worker, which xdist then finds dead."""
        state.silent = True
        if state.is_near and state.pid is not None:
            signal_if(state.pid, SIGKILL, lambda: True)
            return
        with suppress(OSError):
            state.node.gateway.exit()

    def close(self) -> None:
        """Hear nothing any more, so that nobody waits for being heard."""
        self._over.set()
