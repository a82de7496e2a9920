"""The scheduler that xdist asks for: stages by their graph, whatever ``--dist`` says.

xdist starts workers, replaces dead ones and tells of both; where each stage runs is the dispatcher's to
say. A worker runs an item only when it has been told of the next, so each stage is sent together with
an item that stands for none, and that nobody waits for.
"""

from __future__ import annotations

import shlex
import sys
import threading
from _thread import interrupt_main
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from codex_orchestrator import __version__
from codex_orchestrator.engine.messages import SAME_VERSION, Hello, encode, of_another_version
from codex_orchestrator.engine.workers import WorkerEngine
from codex_orchestrator.model.scheduler import POLICY
from codex_orchestrator.text import printable
from pytest_codex.distribution import PLUGIN, hand_over, require_of_node
from pytest_codex.plugins_for_tests import VARIABLES, WORKER

if TYPE_CHECKING:
    from codex_orchestrator.engine.dispatcher import Dispatcher
    from pytest_codex.controller import Controller

_TICK_SECONDS = 0.1
# As long as a command may take to end that has runs of its own to end.
_PATIENCE_SECONDS = 20.0
_NO_ITEM = -1
# For the worker's process, before xdist has pytest started there.
_MAKE_READY = """\
import os
for name in channel.receive():
    os.environ.pop(name, None)
try:
    from codex_orchestrator import __version__, engine
except ImportError:
    channel.send(None)  # xdist is yet to tell this process where it is.
else:
    channel.send((getattr(engine, "MESSAGES", 0), __version__, os.getpid()))
"""


def _failures_to_start() -> tuple[type[Exception], ...]:
    """What comes out of xdist where it cannot start a worker."""
    import execnet

    return OSError, EOFError, execnet.HostNotFound, execnet.RemoteError


class _Line:
    """The way to a worker of xdist's (`engine.workers.Line`)."""

    def __init__(self, node: Any, places: Mapping[str, int]) -> None:
        """Args: the worker as xdist has it, and the places of stages in its list."""
        require_of_node(node)
        self.node = node
        self.channel = node.gateway.newchannel()
        self._places = places

    @property
    def name(self) -> str:
        """As xdist calls it."""
        return str(self.node.gateway.id)

    @property
    def is_near(self) -> bool:
        """Whether it is a child of this process."""
        return bool(self.node.gateway.spec.popen)

    @property
    def is_leaving(self) -> bool:
        """Whether xdist has told it to end, or found it dead."""
        return bool(self.node.shutting_down)

    def send(self, message: dict[str, Any]) -> None:
        """Send it plain values."""
        self.channel.send(message)

    def begin(self, nodeid: str) -> None:
        """Have it run an item, by sending it another that stands for none."""
        self.node.send_runtest_some([self._places[nodeid], len(self._places)])

    def wake(self) -> None:
        """Have xdist's loop, which waits for events and nothing else, call `mark_test_complete`."""
        self.node.notify_inproc(
            "runtest_protocol_complete", node=self.node, item_index=_NO_ITEM, duration=0.0
        )

    def end(self) -> None:
        """End its process."""
        self.node.gateway.exit()


class StageScheduling:
    """A plugin, and the scheduler of xdist's protocol."""

    def __init__(self, controller: Controller) -> None:
        """No worker is there yet."""
        self._controller = controller
        nodeids = list(controller.work.waits)
        self._places = {nodeid: place for place, nodeid in enumerate(nodeids)}
        self._engine = WorkerEngine(nodeids, controller.clock, controller.halt)
        self._session: pytest.Session
        self._nodes: list[Any] = []
        self._lines: dict[Any, _Line] = {}
        # Whether xdist may be about to start a worker in the place of one that died.
        self._replacing = False

    # Hooks.

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Iterable[Any]) -> None:
        """Keep the folder that is worked in off the path that workers of this machine import by.

        Where the user names an interpreter, that is taken as it is.
        """
        for spec in specs:
            if spec.popen and not spec.python:
                spec.python = f"{shlex.quote(sys.executable)} -P"

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        """A worker's process is there, which has the environment of this one.

        Raises:
            pytest.UsageError: It is of another version than this one.
        """
        channel = gateway.remote_exec(_MAKE_READY)
        channel.send(VARIABLES)
        told = channel.receive()
        channel.waitclose()
        other = of_another_version(Hello(*told), __version__) if told is not None else None
        if other is not None:
            raise pytest.UsageError(printable(f"Worker {gateway.id} {other} {SAME_VERSION}"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """A worker is there, and xdist is about to start pytest in it."""
        self._replacing = False
        line = self._lines[node] = _Line(node, self._places)
        hand_over(node, {"channel": line.channel, "welcome": encode(self._engine.expect(line))})
        line.channel.setcallback(partial(self._engine.receive, line))

    @pytest.hookimpl(optionalhook=True, wrapper=True)
    def pytest_testnodedown(self, node: Any, error: object) -> Generator[None, object, object]:
        """A worker has ended, or died."""
        self._replacing = error is not None
        if error is None:
            # Its process can end while records are written, instead of after that.
            node.gateway.exit()
        # Other plugins are not in workers, and find nothing of theirs: as where a worker has died.
        brought = vars(node).pop("workeroutput", None)
        try:
            return (yield)
        finally:
            if brought is not None:
                node.workeroutput = brought

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> Generator[None]:
        """Around xdist's starting of workers, which waits for a host for as long as that may take.

        Raises:
            pytest.UsageError: One cannot be started.
        """
        config = session.config
        # What xdist starts workers with.
        config.invocation_params = replace(config.invocation_params, args=(*WORKER, f"-p{PLUGIN}"))
        limit = POLICY.missing_heartbeat_timeout_seconds
        too_long = threading.Timer(limit, interrupt_main)
        too_long.daemon = True
        too_long.start()
        try:
            yield
        except _failures_to_start() as error:
            raise pytest.UsageError(_why("started", error)) from error
        except KeyboardInterrupt:
            if too_long.is_alive():
                raise
            raise pytest.UsageError(f"A worker did not start within {limit} s: look at --tx.") from None
        finally:
            too_long.cancel()

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_make_scheduler(self) -> StageScheduling:
        """Before any that ``--dist`` names."""
        return self

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Around xdist's loop: what it leaves undone is said."""
        self._session = session
        dispatcher = self._engine.dispatcher = self._controller.dispatcher(session, self._engine)
        over = threading.Event()
        threading.Thread(target=self._tick, args=(over,), daemon=True).start()
        try:
            dispatcher.advance()
            result = yield
        except BaseException as error:
            if not (self._replacing and isinstance(error, _failures_to_start())):
                dispatcher.abandon(error)
                self._end_running(dispatcher)
                raise
            session.shouldfail = _why("replaced", error)
            dispatcher.advance()
            self._end_running(dispatcher)
            self._controller.name_undone(dispatcher.left, "a worker could not be replaced")
            raise session.Failed(session.shouldfail) from error
        finally:
            over.set()
            self._engine.close()
        dispatcher.give_up("No worker was left to try it again on")
        self._controller.end_early(session)
        self._controller.name_undone(dispatcher.left, "no worker was left")
        return result

    def _end_running(self, dispatcher: Dispatcher) -> None:
        """Hear how what runs on the workers that are left ends: xdist's loop is over before its time."""
        clock = self._controller.clock
        deadline = clock.monotonic() + _PATIENCE_SECONDS
        while dispatcher.running and clock.monotonic() < deadline:
            clock.sleep(_TICK_SECONDS)
            self._engine.listen()
        for nodeid in dispatcher.running:
            dispatcher.lost(nodeid, "Nothing was heard of its end")

    # xdist's protocol.

    @property
    def nodes(self) -> list[Any]:
        """The workers that are up."""
        return self._nodes

    @property
    def collection_is_completed(self) -> bool:
        """Stages begin with the first worker that is ready, and do not wait for the others."""
        return True

    @property
    def tests_finished(self) -> bool:
        """Whether workers can be sent home."""
        return self._engine.dispatcher.finished

    @property
    def has_pending(self) -> bool:
        """Whether stages are left."""
        return not self._engine.dispatcher.finished

    def add_node(self, node: Any) -> None:
        """A worker is up."""
        self._nodes.append(node)

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """A worker has its list, and can be given commands."""
        if list(collection) != list(self._places):
            raise RuntimeError(f"worker {node.gateway.id} has other stages than were sent to it")
        # xdist has counted what the worker has, not what was selected here.
        self._session.testscollected = len(self._session.items)
        self._engine.admit(self._lines[node])

    def schedule(self) -> None:
        """Begin what can begin."""
        self._engine.listen()
        self._engine.dispatcher.advance()

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:  # noqa: ARG002
        """Look at what workers have said: that is why this was called, by xdist or by `_Line.wake`."""
        self._replacing = False
        self._engine.check()
        self._engine.dispatcher.advance()

    def mark_test_pending(self, item: str) -> None:
        """Nothing to do: whether a stage is tried again is the dispatcher's to say."""

    def remove_pending_tests_from_node(self, node: Any, indices: Sequence[int]) -> None:
        """Nothing to do: nothing is ever pending on a worker."""

    def remove_node(self, node: Any) -> None:
        """A worker has ended or died.

        Raises:
            KeyError: It was never up.
        """
        self._engine.dismiss(self._lines[node])
        if node not in self._nodes:
            raise KeyError(node)
        self._nodes.remove(node)

    def _tick(self, over: threading.Event) -> None:
        """Have signals and silence noticed while no worker says anything."""
        while not over.wait(_TICK_SECONDS):
            for line in self._engine.lines[:1]:
                line.wake()


def _why(what: str, error: BaseException) -> str:
    return printable(f"A worker cannot be {what}: {type(error).__name__}: {error}")
