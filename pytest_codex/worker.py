"""The xdist worker: runs commands that the controller sends, and says what happens to them.

It makes no reports and writes no files: both are the controller's, so that a worker needs no disk
in common with it (docs/explanation/architecture.md, "Stages at once").
"""

from __future__ import annotations

import json
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
from codex_orchestrator.execution import signals
from codex_orchestrator.execution.builder import CommandBuilder
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.execution.late import LateOutput
from codex_orchestrator.execution.leftovers import end_left, named
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.rules.stage import StageRequest
from pytest_codex.nodes import Slot
from pytest_codex.plugins_for_tests import PathlessCollection

# Where xdist hands the controller's channel to the worker.
INPUT = "codex_orchestrator"
# The last item: a worker runs one only when it has been told of the next.
NOTHING = "codex-orchestrator::nothing"
_ANSWER_SECONDS = 1.0


class Worker(PathlessCollection):
    """The plugin that runs commands in an xdist worker."""

    def __init__(self, config: pytest.Config) -> None:
        """Tell the controller who this is, and listen to it."""
        given = config.workerinput[INPUT]  # type: ignore[attr-defined]
        self._channel, self._nodeids = given["channel"], given["nodeids"]
        self._is_near, self._interval = given["is_near"], given["interval"]
        self._clock = SystemClock()
        self._cancellation = Cancellation()
        self._requests: SimpleQueue[StageRequest] = SimpleQueue()
        self._nested: SimpleQueue[list[int]] = SimpleQueue()
        self._slots: list[pytest.Item] = []
        self._over = threading.Event()
        self._late: list[LateOutput] = []
        self._guard = PrivacyGuard()
        self._say("hello", os.getpid(), __version__)
        self._channel.setcallback(self._hear, endmarker=None)

    # Collection: a place for each stage that the controller names, whatever options leave out.

    def collected(self, session: pytest.Session) -> list[pytest.Item | pytest.Collector]:
        """The places."""
        self._slots = [
            Slot.from_parent(session, name=nodeid.rpartition("::")[2], nodeid=nodeid)
            for nodeid in self._nodeids
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
        self._guardian = _TellingGuardian(lambda group: self._say("watching", group))
        self._guardian.start("")
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            # What a terminal sends, it sends to workers too; the answer is the controller's to give.
            with signals.caught(lambda _number: None, signal.SIGHUP, signal.SIGINT):
                return (yield)
        finally:
            self._over.set()
            if not self._is_near:
                # The controller ends what stages have left on its own machine.
                self._say(
                    "left", named(end_left("", self._guardian.groups, clock=self._clock), self._guard.line)
                )
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
        self._guard = PrivacyGuard(request.privacy)
        branch = self._cancellation.branch()
        late = LateOutput(lambda event: self._say("late", nodeid, vars(event)), self._clock)
        builder = CommandBuilder(
            lambda event: self._say("said", vars(event)),
            lambda _stage_id, outcome: self._say("failed", vars(outcome)),
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
        self._say("ended", vars(outcome))
        late.read_on(request.index)
        self._late.append(late)

    # The channel; what it brings comes in a thread of its own.

    def _hear(self, message: tuple[str, Any] | None) -> None:
        if message is None:
            self._cancellation.request(signal.SIGTERM, "the end of the controller")
            return
        word, value = message
        if word == "run":
            self._requests.put(StageRequest.of(json.loads(value)))
        elif word == "cancel":
            self._cancellation.request(*value)
        elif word == "nested":
            self._nested.put(value)

    def _say(self, word: str, *values: object) -> None:
        # A controller that is gone has ended the channel, which ends the command.
        with suppress(OSError):
            self._channel.send((word, *values))

    def _ask_for_nested(self) -> list[int]:
        """The processes of runs that the stage has started; their records are with the controller."""
        self._say("nested")
        with suppress(Empty):
            return self._nested.get(timeout=_ANSWER_SECONDS)
        return []

    def _beat(self) -> None:
        while not self._over.wait(self._interval):
            self._say("alive")


class _TellingGuardian(Guardian):
    """Tells the controller of process groups too, which outlives this process."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._tell_controller = tell

    def watch(self, group: int) -> None:
        super().watch(group)
        self._tell_controller(group)
