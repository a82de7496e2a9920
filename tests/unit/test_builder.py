"""The attempts of one command: how many, how far apart, and what is told of each."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from codex_orchestrator.clock import FakeClock, SystemClock
from codex_orchestrator.execution.builder import CommandBuilder
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.execution.late import LateOutput
from codex_orchestrator.execution.leftovers import find_left, signal_left
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.model.exec_events import CommandEnd, ExecBegin, ExecChunk, ExecEnd, ExecRetry
from codex_orchestrator.rules.stage import StageRequest

# Counts its runs in a file: "$n" is the number of this one.
COUNT = "n=$(($(cat n 2>/dev/null || echo 0) + 1)); echo $n > n; "


class Listener:
    """Runs commands, and keeps all that the builder tells; pauses take no time."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.cancellation = Cancellation()
        self.events = []
        self.failures = []
        self.pauses = []
        self.clock = FakeClock()
        # What a person does in a pause, by the pause's number from 1.
        self.in_pause = {}
        # What there is to see when an attempt has failed.
        self.look = lambda: None
        self.seen = []

    def run(self, command, *, clock=None, **keywords):
        late = LateOutput(self.events.append, clock or self.clock)
        builder = CommandBuilder(
            self.events.append,
            self._failed,
            clock or self.clock,
            self.cancellation,
            Guardian(),
            late,
            pause=self._pause,
        )
        request = StageRequest(
            index=1,
            stage_id="s",
            command=command,
            cwd=keywords.pop("cwd", str(self.folder)),
            environ={"PATH": os.environ["PATH"], **keywords.pop("environ", {})},
            timeout_seconds=keywords.pop("timeout_seconds", None),
            stream_bytes=65_536,
            **keywords,
        )
        try:
            return builder.run(request)
        finally:
            late.finish()

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def _pause(self, seconds):
        self.pauses.append(seconds)
        self.clock.advance(seconds)
        self.in_pause.get(len(self.pauses), lambda: None)()
        return self.cancellation.requested

    def _failed(self, stage_id, outcome):
        self.failures.append((stage_id, outcome))
        self.seen.append(self.look())


@pytest.fixture
def listener(tmp_path):
    listener = Listener(tmp_path)
    yield listener
    listener.cancellation.close()


@pytest.mark.parametrize(
    ("passes_at", "retries", "attempts", "status", "pauses"),
    [
        (1, 0, 1, "succeeded", []),
        (1, 3, 1, "succeeded", []),
        (2, 0, 1, "failed", []),
        (2, 1, 2, "succeeded", [0.25]),
        (3, 1, 2, "failed", [0.25]),
        (6, 5, 6, "succeeded", [0.25, 0.5, 1, 2, 4]),
        (9, 3, 4, "failed", [0.25, 0.5, 1]),
    ],
)
def test_a_command_is_tried_again_until_it_passes(listener, passes_at, retries, attempts, status, pauses):
    outcome = listener.run(f"{COUNT} test $n -ge {passes_at}", retries=retries)
    assert (outcome.status, outcome.attempt, outcome.retried) == (status, attempts, attempts > 1)
    assert listener.pauses == pauses
    assert [event.delay_ms for event in listener.of(ExecRetry)] == [pause * 1000 for pause in pauses]
    assert (listener.folder / "n").read_text() == f"{attempts}\n"
    numbers = list(range(1, attempts + 1))
    for kind in (ExecBegin, ExecEnd):
        assert [event.attempt for event in listener.of(kind)] == numbers
    # The stage ends once, after them all.
    assert type(listener.events[-1]) is CommandEnd
    assert len(listener.of(CommandEnd)) == 1
    assert listener.of(CommandEnd)[0].duration_ms == sum(pauses) * 1000


def test_each_attempt_is_told_of_by_itself(listener):
    outcome = listener.run(f"{COUNT} echo out $n; echo err >&2; exit $((n % 3))", retries=2, attempt=5)
    assert outcome.exit_code == 0
    begun = listener.of(ExecBegin)
    assert [event.attempt for event in begun] == [5, 6, 7]
    ids = [event.correlation_id for event in begun]
    assert len(set(ids)) == 3
    assert {event.session_id for event in begun} == {ids[0]}
    told = zip(ids[:-1], listener.failures, listener.of(ExecRetry), strict=True)
    for correlation_id, (stage_id, failed), retry in told:
        assert (stage_id, failed.status, failed.correlation_id) == ("s", "failed", correlation_id)
        assert failed.attempt == retry.attempt
        assert failed.stdout == f"out {failed.attempt - 4}\n"
        assert retry.correlation_id == correlation_id
        assert (retry.error, retry.sandbox_state) == (f"Exited with code {failed.exit_code}", "none")
    assert [failed.exit_code for _, failed in listener.failures] == [1, 2]
    outcomes = [*(failed for _, failed in listener.failures), outcome]
    for correlation_id, ended in zip(ids, outcomes, strict=True):
        own = [event for event in listener.events if getattr(event, "correlation_id", "") == correlation_id]
        assert ended.frames == len(own)
    chunks = [event for event in listener.of(ExecChunk) if event.correlation_id == ids[2]]
    assert [chunk.sequence for chunk in chunks] == list(range(1, len(chunks) + 1))


def test_a_session_of_its_own_name_goes_through_all_attempts(listener):
    listener.run("exit 1", retries=1, session_id="mine", persisted=True)
    assert [(event.session_id, event.persisted) for event in listener.of(ExecBegin)] == [("mine", True)] * 2


@pytest.mark.parametrize(
    ("command", "keywords", "status", "error"),
    [
        ("exit 3", {}, "failed", "Exited with code 3"),
        ("echo said >&2; kill -KILL $$", {}, "failed", "Terminated with signal SIGKILL"),
        ("exec sleep 60", {"timeout_seconds": 0.05}, "timeout", "Timed out after 0.05 s"),
        ("true", {"cwd": "/nowhere/at/all"}, "failed", "No such file or directory: /nowhere/at/all"),
        ("true", {"environ": {"A": "a\0b"}}, "failed", "embedded null byte"),
    ],
)
def test_whatever_failed_is_tried_again(listener, command, keywords, status, error):
    outcome = listener.run(command, retries=1, clock=SystemClock(), **keywords)
    assert (outcome.status, outcome.attempt) == (status, 2)
    assert [failed.status for _, failed in listener.failures] == [status]
    assert [event.error for event in listener.of(ExecRetry)] == [error]


def test_a_cancelled_attempt_is_the_last(listener):
    listener.cancellation.request(signal.SIGTERM)
    outcome = listener.run("exec sleep 60", retries=3)
    assert (outcome.status, outcome.cancelled_by, outcome.attempt) == ("cancelled", "SIGTERM", 1)
    assert (listener.pauses, listener.failures, listener.of(ExecRetry)) == ([], [], [])


@pytest.mark.parametrize("command", ["echo said; exit 3", "echo said; exec sleep 60"])
def test_a_pause_that_is_cut_short_ends_the_stage(listener, command):
    listener.in_pause[2] = lambda: listener.cancellation.request(signal.SIGINT)
    outcome = listener.run(command, retries=5, clock=SystemClock(), timeout_seconds=2.0)
    assert (outcome.status, outcome.cancelled_by, outcome.attempt) == ("cancelled", "SIGINT", 2)
    # What the command did last is kept; what it was ended for is not why the stage ends.
    last = listener.failures[-1][1]
    assert (outcome.exit_code, outcome.signal, outcome.stdout) == (last.exit_code, last.signal, "said\n")
    assert outcome.timeout_seconds is None
    assert (len(listener.of(ExecBegin)), listener.pauses) == (2, [0.25, 0.5])
    end = listener.events[-1]
    assert (type(end), end.exit_code) == (CommandEnd, last.exit_code)


BACKGROUND = "sh -c 'trap \"\" TERM; echo up > up; exec sleep 600' & until [ -e up ]; do :; done; "


@pytest.mark.parametrize(
    ("command", "timeout_seconds", "status"),
    [(f"{BACKGROUND} exit 1", None, "failed"), (f"{BACKGROUND} exec sleep 60", 1.0, "timeout")],
)
@pytest.mark.parametrize("session", ["", "setsid "])
def test_what_an_attempt_left_running_is_gone_before_the_next(
    listener, command, timeout_seconds, status, session
):
    name = f"CODEX_TEST_MARK={listener.folder}"
    listener.look = lambda: find_left(name)
    outcome = listener.run(
        f"rm -f up; {session}{command}",
        mark=name,
        retries=1,
        clock=SystemClock(),
        timeout_seconds=timeout_seconds,
        environ=dict([name.split("=")]),
    )
    left = find_left(name)
    signal_left(left, signal.SIGKILL)
    assert (outcome.status, outcome.attempt, listener.seen) == (status, 2, [[]])
    # The last one's may serve later stages, unless its time was up.
    assert len(left) == (status == "failed")


def test_waiting_ends_at_once_when_someone_asks():
    cancellation = Cancellation()
    assert cancellation.wait(0) is False
    assert cancellation.wait(0.001) is False
    asks = threading.Thread(target=cancellation.request, args=(signal.SIGINT,))
    asks.start()
    assert cancellation.wait(86_400) is True
    asks.join()
    assert cancellation.wait(86_400) is True
    cancellation.drain()
    assert cancellation.wait(86_400) is True
    cancellation.close()
