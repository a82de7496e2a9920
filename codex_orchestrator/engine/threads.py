"""Stages at once in this process: a thread waits for each command, and the main thread hears of it."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from queue import Empty, Queue

from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.engine.dispatcher import Dispatcher
from codex_orchestrator.engine.jobs import Place
from codex_orchestrator.engine.messages import Ended, Failed, Said
from codex_orchestrator.engine.runs import PipelineRun
from codex_orchestrator.execution.builder import CommandBuilder
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.rules.stage import StageRequest

# Threads that are further ahead than this wait, and so do the commands whose output they read.
_MESSAGES_WAITING = 64
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class _Broken:
    """A thread could not have its command run to its end."""

    nodeid: str
    error: BaseException


class ThreadEngine:
    """Runs up to so many commands at once; what it says is heard in `drive`, on the main thread."""

    def __init__(self, size: int, clock: Clock, cancellation: Cancellation) -> None:
        """Nothing runs yet.

        Args:
            size: How many commands to run at once.
            clock: Time.
            cancellation: Ends them all.
        """
        self.size = size
        self._clock = clock
        self._cancellation = cancellation
        self._said: Queue[Said | Failed | Ended | _Broken] = Queue(_MESSAGES_WAITING)
        self._threads: dict[str, threading.Thread] = {}
        self._branches: dict[str, Cancellation] = {}

    def free(self) -> bool:
        """Whether a command may be started."""
        return len(self._threads) < self.size

    def start(self, nodeid: str, request: StageRequest, run: PipelineRun) -> Place:
        """Run a command in a thread of its own."""
        manager = run.manager
        if manager is None:
            raise RuntimeError(f"{nodeid}: its run is not open")
        branch = self._cancellation.branch()
        builder = CommandBuilder(
            lambda event: self._said.put(Said(nodeid, event)),
            lambda _stage_id, outcome: self._said.put(Failed(nodeid, outcome)),
            self._clock,
            branch,
            run.guardian,
            manager.late,
            nested=manager.nested,
        )
        thread = threading.Thread(target=self._run, args=(nodeid, builder, request), name=nodeid, daemon=True)
        self._branches[nodeid], self._threads[nodeid] = branch, thread
        thread.start()
        return Place()

    def cancel(self, number: int, by: str) -> None:
        """End all commands with a signal."""
        for branch in self._branches.values():
            branch.request(number, by)

    def drive(self, dispatcher: Dispatcher) -> None:
        """Run everything: hear what threads say until nothing runs and nothing will."""
        try:
            dispatcher.advance()
            while not dispatcher.finished:
                # In turns: a signal that comes just before a wait is heard no sooner than it is over.
                try:
                    message = self._said.get(timeout=_POLL_SECONDS)
                except Empty:
                    continue
                self._hear(message, dispatcher)
        except BaseException as error:
            dispatcher.abandon(error)
            while self._threads:
                self._hear(self._said.get(), dispatcher)
            raise
        finally:
            self._end_all()

    def _run(self, nodeid: str, builder: CommandBuilder, request: StageRequest) -> None:
        """What a thread does."""
        try:
            outcome = builder.run(request)
        except BaseException as error:  # noqa: BLE001 - raised again where somebody hears it
            self._said.put(_Broken(nodeid, error))
        else:
            self._said.put(Ended(nodeid, outcome))

    def _hear(self, message: Said | Failed | Ended | _Broken, dispatcher: Dispatcher) -> None:
        """Have the dispatcher know, which may start further commands: threads that are through come first."""
        if isinstance(message, Ended | _Broken):
            self._forget(message.nodeid)
        if isinstance(message, _Broken):
            raise message.error
        dispatcher.hear(message)

    def _forget(self, nodeid: str) -> None:
        self._threads.pop(nodeid).join()
        self._cancellation.prune(self._branches.pop(nodeid))

    def _end_all(self) -> None:
        """Whatever ended the loop, no command outlives it; nobody hears any more what they say."""
        self.cancel(signal.SIGTERM, "the end of the session")
        while any(thread.is_alive() for thread in self._threads.values()):
            with suppress(Empty):
                self._said.get(timeout=_POLL_SECONDS)
        for nodeid in list(self._threads):
            self._forget(nodeid)
