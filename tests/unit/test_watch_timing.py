"""A reader that is kept busy opens no guard: halves are told apart by when they were written."""

from __future__ import annotations

import os

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.execution.reading import OutputReader, StreamCapture
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.execution.watch import ProcessWatch
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.privacy.policy import PrivacyPolicy

VALUE = "kelp-Harbour/71-and-salt"
FIRST, SECOND = (
    b"-----BEGIN PRIVATE KEY-----\nMIIEpA",
    b"topsecret" + b"q" * 50 + b"\n-----END PRIVATE KEY-----\n",
)
HALVES = {
    "a private key": (FIRST, SECOND),
    "a key id": (b"id AKIAQWERTZ", b"2345UIOPAS x\n"),
    "a value": (VALUE[:9].encode(), VALUE[9:].encode() + b" x\n"),
    "a password": (b"password=hunter", b"fish99 x\n"),
}
SECRET_PARTS = (
    b"MIIE",
    b"topsecret",
    b"AKIA",
    b"UIOPAS",
    VALUE[:9].encode(),
    VALUE[9:].encode(),
    b"hunter",
    b"fish99",
)


class PausedProcess:
    """Pipes that the test writes to, one turn each time that somebody asks whether it has ended."""

    pidfd = None

    def __init__(self, turns) -> None:
        self.pipes = {name: os.pipe() for name in ("stdout", "stderr")}
        self._turns = list(turns)

    def take_pipes(self):
        return {name: os.fdopen(reader, "rb", buffering=0) for name, (reader, _) in self.pipes.items()}

    def write(self, name: str, data: bytes) -> None:
        os.write(self.pipes[name][1], data)

    def exit_status(self):
        if not self._turns:
            for _, writer in self.pipes.values():
                os.close(writer)
            return 0
        self._turns.pop(0)(self)
        return None

    def kill(self) -> None:
        raise AssertionError("nothing is to be killed")

    def close(self) -> None:
        """There is no descriptor of the process."""


class Run:
    """A watch over a paused process, and what it lets go of each stream."""

    def __init__(self, *turns) -> None:
        self.clock = FakeClock()
        self.process = PausedProcess(turns)
        self.passed = {"stdout": b"", "stderr": b""}
        # What happens while somebody who is slow takes output: by what is in that.
        self.while_busy = {}

    def output(self, name, chunk) -> None:
        self.passed[name] += chunk.text.encode()
        for word, happens in list(self.while_busy.items()):
            if word in chunk.text:
                del self.while_busy[word]
                happens()
                self.clock.advance(5)

    def finish(self) -> dict[str, bytes]:
        guard = PrivacyGuard(PrivacyPolicy("enforce", (), (VALUE,)))
        cancellation = Cancellation()
        try:
            captures = {name: StreamCapture(1_000, guard.stream) for name in self.passed}
            ProcessWatch(
                self.process,
                OutputReader(self.process.take_pipes(), captures, self.output, clock=self.clock),
                clock=self.clock,
                cancellation=cancellation,
                timeout_seconds=None,
            ).wait()
        finally:
            cancellation.close()
        return self.passed

    def assert_hidden(self, name: str) -> None:
        assert [part for part in SECRET_PARTS if part in self.passed[name]] == []
        assert b"[REDACTED]" in self.passed[name]


def nothing(process) -> None:
    """A turn in which the process does nothing."""


@pytest.mark.parametrize(("first", "second"), HALVES.values(), ids=HALVES)
def test_the_second_half_is_written_while_a_hook_takes_the_line_before(first, second):
    run = Run(lambda process: process.write("stdout", b"a line\n" + first), nothing)
    run.while_busy["a line"] = lambda: run.process.write("stdout", second)
    run.finish()
    run.assert_hidden("stdout")


@pytest.mark.parametrize(("first", "second"), HALVES.values(), ids=HALVES)
def test_both_halves_wait_while_somebody_takes_the_other_stream(first, second):
    """The terminal does not read: what is printed of one stream blocks, and the other waits in its pipe."""
    lines = (b"y" * 79 + b"\n") * 100

    def more(process) -> None:
        process.write("stderr", first)
        process.write("stdout", b"first\n" + lines)

    run = Run(more, lambda process: process.write("stdout", b"next\n" + lines), nothing)
    run.while_busy["next"] = lambda: run.process.write("stderr", second)
    run.finish()
    run.assert_hidden("stderr")
    assert run.passed["stdout"] == b"first\n" + lines + b"next\n" + lines


@pytest.mark.parametrize(("first", "second"), HALVES.values(), ids=HALVES)
def test_the_process_ends_while_the_reader_is_busy(first, second):
    run = Run(lambda process: process.write("stdout", b"a line\n" + first))
    run.while_busy["a line"] = lambda: run.process.write("stdout", second)
    run.finish()
    run.assert_hidden("stdout")


def test_nothing_is_lost_where_the_reader_is_busy_for_longer_than_it_waits_for_descendants():
    run = Run(lambda process: process.write("stdout", b"a line\n"))
    lines = b"".join(b"%d\n" % number for number in range(4_000))
    run.while_busy["a line"] = lambda: run.process.write("stdout", lines)
    assert run.finish()["stdout"] == b"a line\n" + lines


def test_what_is_held_comes_out_when_nothing_follows():
    run = Run(lambda process: process.write("stdout", b"password: "), nothing, nothing)
    seen = []
    run.process._turns[1] = lambda process: run.clock.advance(0.1)
    run.process._turns[2] = lambda process: seen.append(run.passed["stdout"])
    run.finish()
    assert seen == [b"password: "]
