"""The plugin of a worker's pytest: runs commands that the controller sends, and says what happens to them.

It makes no reports and writes no files: both are the controller's, so that a worker needs no disk
in common with it (docs/explanation/architecture.md, "Stages at once").
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from codex_orchestrator import __version__
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.engine import MESSAGES
from codex_orchestrator.engine.messages import (
    Alive,
    Cancel,
    Ended,
    Failed,
    FromWorker,
    Hello,
    Late,
    Left,
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
)
from codex_orchestrator.execution import signals
from codex_orchestrator.execution.builder import CommandBuilder
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.execution.late import LateOutput
from codex_orchestrator.execution.leftovers import end_left, named
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.rules.stage import StageRequest
from pytest_codex.distribution import handed_over
from pytest_codex.nodes import Slot
from pytest_codex.plugins_for_tests import PathlessCollection

# The last item: a worker runs one only when it has been told of the next.
NOTHING = "codex-orchestrator::nothing"
_ANSWER_SECONDS = 1.0


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Be a worker: this module is loaded nowhere else."""
    given = handed_over(config)
    config.pluginmanager.register(Worker(given["channel"], given["welcome"]), "codex-worker")


class Worker(PathlessCollection):
    """Runs commands in a worker."""

    def __init__(self, channel: Any, welcome: object) -> None:
        """Tell the controller who this is, and listen to it.

        Args:
            channel: To and from the controller.
            welcome: Its `Welcome`, as it came.

        Raises:
            NotUnderstood: It is none.
        """
        self._channel = channel
        # First: a controller of another version must get as far as to hear which this is.
        self._say(Hello(MESSAGES, __version__, os.getpid()))
        self._welcome = self._understood(welcome)
        self._clock = SystemClock()
        self._cancellation = Cancellation()
        self._requests: SimpleQueue[StageRequest] = SimpleQueue()
        self._nested: SimpleQueue[tuple[int, ...]] = SimpleQueue()
        self._slots: list[pytest.Item] = []
        self._over = threading.Event()
        self._late: list[LateOutput] = []
        self._guard, self._nodeid = PrivacyGuard(), ""
        self._channel.setcallback(self._hear, endmarker=None)

    # Collection: a place for each stage that the controller names, whatever options leave out.

    def collected(self, session: pytest.Session) -> list[pytest.Item | pytest.Collector]:
        """The places."""
        self._slots = [
            Slot.from_parent(session, name=nodeid.rpartition("::")[2], nodeid=nodeid)
            for nodeid in self._welcome.nodeids
        ]
        return list(self._slots)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """Take back what options have left out and plugins have reordered."""
        yield
        items[:] = self._slots

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Add the item that stands for no next one, now that xdist has told of the others."""
        session.items.append(Slot.from_parent(session, name=NOTHING, nodeid=NOTHING))

    # The loop, which is xdist's.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Watch over what commands start, for as long as there may be any."""
        self._guardian = _TellingGuardian(lambda group: self._say(Watching(self._nodeid, group)))
        self._guardian.start("")
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            # What a terminal sends, it sends to workers too; the answer is the controller's to give.
            with signals.caught(lambda _number: None, signal.SIGHUP, signal.SIGINT):
                return (yield)
        finally:
            self._over.set()
            if not self._welcome.is_near:
                # The controller ends what stages have left on its own machine.
                left = end_left("", self._guardian.groups, clock=self._clock)
                self._say(Left(named(left, self._guard.line)))
            for late in self._late:
                late.finish()
            self._guardian.dismiss()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool:
        """Run the command that was sent for an item; there is nothing to report here."""
        if item.nodeid != NOTHING:
            self._run(item.nodeid, self._requests.get())
        return True

    def _run(self, nodeid: str, request: StageRequest) -> None:
        self._nodeid, self._guard = nodeid, PrivacyGuard(request.privacy)
        branch = self._cancellation.branch()
        late = LateOutput(lambda event: self._say(Late(nodeid, event)), self._clock)
        builder = CommandBuilder(
            lambda event: self._say(Said(nodeid, event)),
            lambda _stage_id, outcome: self._say(Failed(nodeid, outcome)),
            self._clock,
            branch,
            self._guardian,
            late,
            nested=self._ask_for_nested,
        )
        try:
            outcome = builder.run(request)
        finally:
            self._cancellation.prune(branch)
        self._say(Ended(nodeid, outcome))
        late.read_on(request.index)
        self._late.append(late)

    # The channel; what it brings comes in a thread of its own.

    def _hear(self, data: object) -> None:
        if data is None:
            self._cancellation.request(signal.SIGTERM, "the end of the controller")
            return
        try:
            message = decode(data)
        except NotUnderstood as error:
            # Raised here it would reach nobody; the controller ends the session, and this process with it.
            self._say(Refused(error.message))
            return
        match message:
            case Run(_nodeid, request):
                self._requests.put(request)
            case Cancel(number, by):
                self._cancellation.request(number, by)
            case Nested(pids):
                self._nested.put(pids)
            case _:
                self._say(Refused(f'a message "{message.type}", which is not for workers'))

    def _understood(self, welcome: object) -> Welcome:
        message = decode(welcome)
        if not isinstance(message, Welcome):
            raise NotUnderstood(welcome)
        return message

    def _say(self, message: FromWorker) -> None:
        # A controller that is gone has ended the channel, which ends the command.
        with suppress(OSError):
            self._channel.send(encode(message))

    def _ask_for_nested(self) -> tuple[int, ...]:
        """The processes of runs that the stage has started; their records are with the controller."""
        self._say(WhichNested(self._nodeid))
        with suppress(Empty):
            return self._nested.get(timeout=_ANSWER_SECONDS)
        return ()

    def _beat(self) -> None:
        while not self._over.wait(self._welcome.interval_seconds):
            self._say(Alive())


class _TellingGuardian(Guardian):
    """Tells the controller of process groups too, which outlives this process."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._tell_controller = tell

    def watch(self, group: int) -> None:
        super().watch(group)
        self._tell_controller(group)
