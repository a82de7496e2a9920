"""The engine of xdist workers, among workers that say what a test has them say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from types import SimpleNamespace

import pytest

from codex_orchestrator import __version__
from codex_orchestrator.clock import FakeClock
from codex_orchestrator.engine.halt import Halt
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.model.exec_events import ExecChunk
from codex_orchestrator.model.scheduler import RecoveryPolicy
from codex_orchestrator.rules.stage import StageOutcome, StageRequest
from pytest_codex.leaving import leave
from pytest_codex.worker import INPUT
from pytest_codex.workers import WorkerEngine
from tests.support.builders import NOW
from tests.support.environment import needs_xdist

pytestmark = needs_xdist

POLICY = RecoveryPolicy(heartbeat_interval_seconds=2, missing_heartbeat_timeout_seconds=5, max_retries=3)
OUTCOME = StageOutcome(status="succeeded", exit_code=0)
CHUNK = ExecChunk(
    correlation_id="c", attempt=1, stream="stdout", sequence=1, bytes=3, data="hi\n", timestamp=NOW, index=1
)


def request(index: int) -> StageRequest:
    return StageRequest(index, f"s{index}", "true", "/", {"BYTES": "\udcff"}, None, 64)


class Worker:
    """What xdist and execnet have of a worker."""

    def __init__(self, name: str, *, near: bool = True) -> None:
        self.sent: list = []
        self.workerinput: dict = {}
        self.shutting_down = False
        self.exited = False
        channel = SimpleNamespace(send=self.sent.append, setcallback=self._listen)
        spec = SimpleNamespace(popen=near)
        self.gateway = SimpleNamespace(id=name, spec=spec, newchannel=lambda: channel, exit=self._exit)

    def _listen(self, callback) -> None:
        self.say = lambda *message: callback(message)

    def _exit(self) -> None:
        self.exited = True


class Heard:
    """Stands for the dispatcher, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []

    def mark_of(self, nodeid: str) -> str:
        return f"CODEX_TEST_STAGE={nodeid}"

    def __getattr__(self, name):
        def call(*values, **named):
            self.told.append((name, *values, *named.values()))
            return {7}

        return call


class Engine:
    """An engine with its workers."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.halt = Halt(leave)
        self.cancellation = self.halt.cancellation = Cancellation()
        self.woken: list = []
        self.asked: list = []
        self.engine = WorkerEngine(
            ["p::s1", "p::s2"],
            self.clock,
            self.halt,
            wake=self.woken.append,
            send=lambda node, nodeid: self.asked.append((node.gateway.id, nodeid)),
            policy=POLICY,
        )
        self.heard = self.engine.dispatcher = Heard()

    def worker(self, name: str = "gw0", *, pid: int = 1, **keywords) -> Worker:
        """One that is up."""
        worker = Worker(name, **keywords)
        self.engine.expect(worker)
        worker.say("hello", pid, __version__)
        self.engine.listen()
        self.engine.admit(worker)
        return worker

    def passes(self, seconds: int) -> None:
        """Time passes while the engine looks, more often than a worker should be heard of."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.engine.check()


@pytest.fixture
def engine():
    made = Engine()
    yield made
    made.engine.close()
    made.cancellation.close()


def test_a_worker_gets_the_list_of_stages_and_a_channel(engine):
    worker, far = engine.worker(), engine.worker("gw1", near=False)
    for each, near in ((worker, True), (far, False)):
        given = each.workerinput[INPUT]
        assert (given["nodeids"], given["is_near"]) == (["p::s1", "p::s2"], near)
        assert given["interval"] == POLICY.heartbeat_interval_seconds
    assert engine.engine.nodes == [worker, far]
    assert engine.engine.size == 2


def test_each_worker_gets_one_command_at_a_time(engine):
    first, second = engine.worker("gw0"), engine.worker("gw1")
    places = [engine.engine.start(f"p::s{n}", request(n), None) for n in (1, 2)]
    assert [place.instance_id for place in places] == ["gw0", "gw1"]
    assert engine.asked == [("gw0", "p::s1"), ("gw1", "p::s2")]
    assert not engine.engine.free()
    (word, text) = first.sent[0]
    assert word == "run"
    assert StageRequest.of(json.loads(text)) == request(1)
    second.say("ended", vars(OUTCOME))
    engine.engine.listen()
    assert engine.heard.told == [("ended", "p::s2", OUTCOME)]
    assert engine.engine.free()


def test_one_that_is_not_ready_or_goes_home_gets_none(engine):
    worker = Worker("gw0")
    engine.engine.expect(worker)
    assert not engine.engine.free()
    engine.engine.admit(worker)
    worker.shutting_down = True
    assert not engine.engine.free()


def test_one_that_dies_between_being_found_free_and_being_given_a_command_loses_it(engine):
    dying, other = engine.worker("gw0"), engine.worker("gw1")
    assert engine.engine.free()
    dying.shutting_down = True
    assert engine.engine.start("p::s1", request(1), None).instance_id == "gw1"
    other.say("ended", vars(OUTCOME))
    engine.engine.dismiss(other)
    engine.heard.told.clear()
    assert engine.engine.start("p::s2", request(2), None).instance_id == "gw0"
    engine.engine.dismiss(dying)
    assert engine.heard.told == [("lost", "p::s2", "Worker gw0 died", "auto"), ("advance",)]


def test_what_a_worker_says_is_heard_in_its_order_when_the_main_thread_listens(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    engine.woken.clear()
    worker.say("watching", 99_999_999)
    worker.say("said", vars(CHUNK))
    worker.say("failed", vars(OUTCOME))
    worker.say("nested")
    # Nobody is woken twice for what one look takes up.
    assert engine.woken == [worker]
    assert engine.heard.told == []
    engine.engine.listen()
    assert engine.heard.told == [
        ("watching", "p::s1", 99_999_999),
        ("said", "p::s1", CHUNK),
        ("failed", "p::s1", OUTCOME),
        ("nested", "p::s1"),
    ]
    assert worker.sent[-1] == ("nested", [7])
    worker.say("said", vars(CHUNK))
    assert engine.woken == [worker, worker]


def test_one_that_has_died_since_it_asked_gets_no_answer(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    worker.say("nested")

    def closed(_message) -> None:
        raise OSError("cannot send (already closed?)")

    worker.workerinput[INPUT]["channel"].send = closed
    engine.engine.listen()
    assert engine.heard.told == [("nested", "p::s1")]


def test_listening_ends_though_a_worker_goes_on_talking(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    engine.heard.said = lambda _nodeid, _event: worker.say("said", vars(CHUNK))
    worker.say("said", vars(CHUNK))
    engine.woken.clear()
    engine.engine.listen()
    assert engine.woken == [worker]


def test_a_group_on_another_machine_is_nobodys_here(engine):
    worker = engine.worker(near=False)
    engine.engine.start("p::s1", request(1), None)
    worker.say("watching", 1)
    engine.engine.listen()
    assert engine.heard.told == []


def test_a_dead_worker_loses_its_command_after_all_that_it_has_said(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    worker.say("said", vars(CHUNK))
    engine.engine.dismiss(worker)
    assert engine.heard.told == [
        ("said", "p::s1", CHUNK),
        ("lost", "p::s1", "Worker gw0 died", "auto"),
        ("advance",),
    ]
    assert engine.engine.nodes == []
    worker.say("ended", vars(OUTCOME))
    engine.engine.listen()
    assert engine.heard.told[-1] == ("advance",)


def test_one_that_dies_with_nothing_to_do_loses_nothing(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    worker.say("ended", vars(OUTCOME))
    engine.engine.dismiss(worker)
    engine.engine.dismiss(worker)
    assert engine.heard.told == [("ended", "p::s1", OUTCOME)]


def test_what_a_dead_worker_has_left_is_ended_before_anybody_hears_of_its_death(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as left:
        worker.say("watching", left.pid)
        engine.heard.lost = lambda *_, **__: engine.heard.told.append(("gone", left.poll()))
        engine.engine.dismiss(worker)
    assert ("gone", -signal.SIGTERM) in engine.heard.told


def test_what_a_worker_could_not_tell_of_any_more_is_ended_too(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    environ = {**os.environ, "CODEX_TEST_STAGE": "p::s1"}
    others = {**os.environ, "CODEX_TEST_STAGE": "p::s2"}
    with (
        subprocess.Popen(["sleep", "600"], start_new_session=True, env=environ) as left,
        subprocess.Popen(["sleep", "600"], start_new_session=True, env=others) as other,
    ):
        engine.engine.dismiss(worker)
        assert left.poll() == -signal.SIGTERM
        assert other.poll() is None
        other.kill()


def test_a_silent_worker_is_killed_and_its_command_lost_for_that_reason(engine):
    with subprocess.Popen(["sleep", "600"]) as process:
        # As one that is stopped: it lives, and says nothing.
        process.send_signal(signal.SIGSTOP)
        silent, other = engine.worker("gw0", pid=process.pid), engine.worker("gw1", pid=2**30)
        for number in (1, 2):
            engine.engine.start(f"p::s{number}", request(number), None)
        engine.passes(3)
        other.say("alive")
        engine.passes(2)
        assert process.poll() is None
        engine.passes(1)
        assert process.wait() == -signal.SIGKILL
    # Killed, it is for xdist to find it dead.
    assert engine.heard.told == []
    engine.engine.dismiss(silent)
    cause = "Worker gw0 gave no sign of life for 5 s"
    assert engine.heard.told == [("lost", "p::s1", cause, "missed-heartbeat"), ("advance",)]
    assert not other.exited


def test_a_silent_worker_on_another_machine_is_told_to_end(engine):
    worker = engine.worker(near=False)
    engine.passes(6)
    assert worker.exited


def test_one_that_cannot_be_ended_ends_the_session_by_saying_what_it_waits_for(engine):
    engine.worker("gw3", near=False)
    engine.passes(10)
    with pytest.raises(pytest.exit.Exception, match="Worker gw3 gave no sign of life for 11 s"):
        engine.passes(1)
    assert isinstance(engine.halt.error, OrchestratorError)


def test_a_worker_is_not_silent_while_nobody_listens(engine):
    worker = engine.worker(near=False)
    engine.clock.advance(1_000)
    engine.engine.check()
    assert not worker.exited
    engine.passes(6)
    assert worker.exited


def test_a_cancellation_is_passed_on_as_often_as_it_was_asked_for(engine):
    workers = [engine.worker(name) for name in ("gw0", "gw1")]
    engine.engine.check()
    engine.halt.cancellation.request(signal.SIGINT)
    engine.engine.check()
    engine.engine.check()
    for worker in workers:
        assert worker.sent == [("cancel", (2, "SIGINT"))]
    engine.halt.cancellation.request(signal.SIGINT)
    engine.engine.check()
    for worker in workers:
        assert worker.sent == [("cancel", (2, "SIGINT"))] * 2


def test_a_worker_of_another_version_ends_the_session(engine):
    worker = Worker("gw0")
    engine.engine.expect(worker)
    worker.say("hello", 1, "0.0.1")
    with pytest.raises(pytest.exit.Exception, match="gw0 has codex-orchestrator 0"):
        engine.engine.listen()


def test_a_worker_that_is_told_of_too_late_waits_no_longer_than_the_session(engine):
    worker = engine.worker()
    engine.engine.close()
    for _ in range(1_000):
        worker.say("alive")
