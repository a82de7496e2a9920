"""The engine of workers, among workers that say what a test has them say."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace

import pytest

from codex_orchestrator import __version__
from codex_orchestrator.clock import FakeClock
from codex_orchestrator.engine import MESSAGES
from codex_orchestrator.engine.halt import Halt
from codex_orchestrator.engine.messages import (
    Alive,
    Cancel,
    Ended,
    Failed,
    Hello,
    Late,
    Left,
    Lost,
    Nested,
    Refused,
    Run,
    Said,
    Watching,
    WhichNested,
    decode,
    encode,
)
from codex_orchestrator.engine.workers import WorkerEngine
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.model.exec_events import ExecChunk
from codex_orchestrator.model.scheduler import RecoveryPolicy
from codex_orchestrator.rules.stage import StageOutcome, StageRequest
from pytest_codex.leaving import leave
from tests.support.builders import NOW

POLICY = RecoveryPolicy(heartbeat_interval_seconds=2, missing_heartbeat_timeout_seconds=5, max_retries=3)
OUTCOME = StageOutcome(status="succeeded", exit_code=0)
CHUNK = ExecChunk(
    correlation_id="c", attempt=1, stream="stdout", sequence=1, bytes=3, data="hi\n", timestamp=NOW, index=1
)


def request(index: int) -> StageRequest:
    return StageRequest(index, f"s{index}", "true", "/", {"BYTES": "\udcff"}, None, 64)


class Worker:
    """A worker at the other end of a line."""

    def __init__(self, engine: Engine, name: str, *, near: bool = True) -> None:
        self.engine = engine
        self.name, self.is_near, self.node = name, near, object()
        self.sent: list = []
        self.is_leaving = self.is_gone = self.exited = False

    def send(self, message: dict) -> None:
        if self.is_gone:
            raise OSError("cannot send (already closed?)")
        self.sent.append(decode(message))

    def begin(self, nodeid: str) -> None:
        self.engine.asked.append((self.name, nodeid))

    def wake(self) -> None:
        self.engine.woken.append(self)

    def end(self) -> None:
        self.exited = True

    def say(self, message) -> None:
        self.say_plainly(encode(message))

    def say_plainly(self, data: object) -> None:
        self.engine.engine.receive(self, data)


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
        self.engine = WorkerEngine(["p::s1", "p::s2"], self.clock, self.halt, policy=POLICY)
        self.heard = self.engine.dispatcher = Heard()

    def worker(self, name: str = "gw0", *, pid: int = 2**30, **keywords) -> Worker:
        """One that is up."""
        worker = Worker(self, name, **keywords)
        self.engine.expect(worker)
        worker.say(Hello(MESSAGES, __version__, pid))
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


def test_a_worker_is_told_of_the_stages_and_how_often_to_give_a_sign_of_life(engine):
    for near in (True, False):
        welcome = engine.engine.expect(Worker(engine, "gw0", near=near))
        assert (welcome.nodeids, welcome.is_near) == (("p::s1", "p::s2"), near)
        assert welcome.interval_seconds == POLICY.heartbeat_interval_seconds
        assert decode(encode(welcome)) == welcome


def test_each_worker_gets_one_command_at_a_time(engine):
    first, second = engine.worker("gw0"), engine.worker("gw1")
    places = [engine.engine.start(f"p::s{n}", request(n), None) for n in (1, 2)]
    assert [place.instance_id for place in places] == ["gw0", "gw1"]
    assert engine.asked == [("gw0", "p::s1"), ("gw1", "p::s2")]
    assert not engine.engine.free("work::any")
    assert first.sent == [Run("p::s1", request(1))]
    second.say(Ended("p::s2", OUTCOME))
    engine.engine.listen()
    assert engine.heard.told == [("hear", Ended("p::s2", OUTCOME))]
    assert engine.engine.free("work::any")


def test_one_that_is_not_ready_or_goes_home_gets_none(engine):
    worker = Worker(engine, "gw0")
    engine.engine.expect(worker)
    engine.engine.admit(worker)
    assert not engine.engine.free("work::any")
    worker.say(Hello(MESSAGES, __version__, 2**30))
    engine.engine.listen()
    assert engine.engine.free("work::any")
    worker.is_leaving = True
    assert not engine.engine.free("work::any")


def test_one_that_dies_between_being_found_free_and_being_given_a_command_loses_it(engine):
    dying, other = engine.worker("gw0"), engine.worker("gw1")
    assert engine.engine.free("work::any")
    dying.is_leaving = True
    assert engine.engine.start("p::s1", request(1), None).instance_id == "gw1"
    other.say(Ended("p::s1", OUTCOME))
    engine.engine.dismiss(other)
    engine.heard.told.clear()
    assert engine.engine.start("p::s2", request(2), None).instance_id == "gw0"
    engine.engine.dismiss(dying)
    assert engine.heard.told == [("hear", Lost("p::s2", "Worker gw0 died")), ("advance",)]


def test_what_a_worker_says_is_heard_in_its_order_when_the_main_thread_listens(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    engine.woken.clear()
    worker.say(Watching("p::s1", 99_999_999))
    worker.say(Said("p::s1", CHUNK))
    worker.say(Failed("p::s1", OUTCOME))
    worker.say(WhichNested("p::s1"))
    # Nobody is woken twice for what one look takes up.
    assert engine.woken == [worker]
    assert engine.heard.told == []
    engine.engine.listen()
    assert engine.heard.told == [
        ("hear", Watching("p::s1", 99_999_999)),
        ("hear", Said("p::s1", CHUNK)),
        ("hear", Failed("p::s1", OUTCOME)),
        ("nested", "p::s1"),
    ]
    assert worker.sent[-1] == Nested((7,))
    worker.say(Said("p::s1", CHUNK))
    assert engine.woken == [worker, worker]


def test_one_that_has_died_since_it_asked_gets_no_answer(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    worker.say(WhichNested("p::s1"))
    worker.is_gone = True
    engine.engine.listen()
    assert engine.heard.told == [("nested", "p::s1")]


def test_listening_ends_though_a_worker_goes_on_talking(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    engine.heard.hear = lambda _message: worker.say(Said("p::s1", CHUNK))
    worker.say(Said("p::s1", CHUNK))
    engine.woken.clear()
    engine.engine.listen()
    assert engine.woken == [worker]


def test_a_group_on_another_machine_is_nobodys_here(engine):
    worker = engine.worker(near=False)
    engine.engine.start("p::s1", request(1), None)
    worker.say(Watching("p::s1", 99_999_999))
    engine.engine.listen()
    assert engine.heard.told == []


def test_a_dead_worker_loses_its_command_after_all_that_it_has_said(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    worker.say(Said("p::s1", CHUNK))
    engine.engine.dismiss(worker)
    assert engine.heard.told == [
        ("hear", Said("p::s1", CHUNK)),
        ("hear", Lost("p::s1", "Worker gw0 died")),
        ("advance",),
    ]
    assert engine.engine.lines == []
    worker.say(Ended("p::s1", OUTCOME))
    engine.engine.listen()
    assert engine.heard.told[-1] == ("advance",)


def test_one_that_dies_with_nothing_to_do_loses_nothing(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    worker.say(Ended("p::s1", OUTCOME))
    engine.engine.dismiss(worker)
    engine.engine.dismiss(worker)
    assert engine.heard.told == [("hear", Ended("p::s1", OUTCOME))]


def test_what_a_dead_worker_has_left_is_ended_before_anybody_hears_of_its_death(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as left:
        worker.say(Watching("p::s1", left.pid))
        engine.heard.hear = lambda _message: engine.heard.told.append(("gone", left.poll()))
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
        other.say(Alive())
        engine.passes(2)
        assert process.poll() is None
        engine.passes(1)
        assert process.wait() == -signal.SIGKILL
    # Killed, it is for xdist to find it dead.
    assert engine.heard.told == []
    engine.engine.dismiss(silent)
    cause = "Worker gw0 gave no sign of life for 5 s"
    assert engine.heard.told == [("hear", Lost("p::s1", cause, "missed-heartbeat")), ("advance",)]
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
        assert worker.sent == [Cancel(2, "SIGINT")]
    engine.halt.cancellation.request(signal.SIGINT)
    engine.engine.check()
    for worker in workers:
        assert worker.sent == [Cancel(2, "SIGINT")] * 2


HELLO = Hello(MESSAGES, __version__, 2**30)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (replace(HELLO, version="0.0.1"), rf"has codex-orchestrator 0\.0\.1, with version {MESSAGES} of the"),
        (replace(HELLO, messages=MESSAGES + 1), f"has .*, with version {MESSAGES + 1} of the messages"),
        (Refused('a message "run" that is not of its shape'), 'was sent a message "run" that is not'),
        (Run("p::s1", request(1)), 'said a message "run", which is not for controllers'),
    ],
)
def test_a_worker_of_another_version_ends_the_session_and_gets_no_command(engine, said, why):
    worker = Worker(engine, "gw0")
    engine.engine.expect(worker)
    engine.engine.admit(worker)
    worker.say(said)
    worker.say(HELLO)
    with pytest.raises(pytest.exit.Exception, match=rf"(?s)Worker gw0 {why}.*Install the same version"):
        engine.engine.listen()
    engine.engine.listen()
    assert not engine.engine.free("work::any")
    assert engine.heard.told == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"type": "later"}, "a message of the unknown kind 'later'"),
        (
            {"type": "watching", "nodeid": "p::s1", "group": 1},
            'a message "watching" that is not of its shape',
        ),
        (("said", {"type": "exec:chunk"}), "what is no message: tuple"),
    ],
)
def test_what_is_no_message_ends_the_session_once(engine, data, why):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    worker.say_plainly(data)
    worker.say_plainly(data)
    with pytest.raises(pytest.exit.Exception, match=f"Worker gw0 said {why}"):
        engine.engine.listen()
    engine.engine.listen()
    assert engine.heard.told == []


def test_a_worker_tells_of_the_command_that_it_was_given_and_of_no_other(engine):
    worker = engine.worker()
    engine.engine.start("p::s1", request(1), None)
    for message in (
        Said("p::s2", CHUNK),
        Ended("p::s2", OUTCOME),
        WhichNested("p::s2"),
        Late("elsewhere::s1", CHUNK),
    ):
        worker.say(message)
    engine.engine.listen()
    assert engine.heard.told == []
    worker.say(Late("p::s2", CHUNK))
    worker.say(Left(""))
    worker.say(Left("sleep (7)"))
    engine.engine.listen()
    assert engine.heard.told == [
        ("hear", Late("p::s2", CHUNK)),
        ("warn", "Ended what stages left running on gw0: sleep (7)."),
    ]


def test_a_worker_that_is_told_of_too_late_waits_no_longer_than_the_session(engine):
    worker = engine.worker()
    engine.engine.close()
    for _ in range(1_000):
        worker.say(Alive())
