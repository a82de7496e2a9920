"""The process beside a Dask worker that executes commands, and ends them when nobody asks for them any more.

It is started from the code that has travelled with the run, with the standard library alone. Its input tells
it what to do, a JSON value per line; its output has frames (`frames`). It holds a lease: without a word from
the orchestrator for so long, or when the worker dies, which closes its input, it kills what it has started.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from codex_orchestrator.clock import Clock, SystemClock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.engine.cloud import frames
from codex_orchestrator.engine.cloud.tree_at_worker import TreeAtWorker
from codex_orchestrator.environment import PREFIX, inheritable
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution import signals
from codex_orchestrator.execution.executing import LocalExecutor
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.execution.late import LateOutput
from codex_orchestrator.execution.leftovers import LeftProcess, end_left, kill_left
from codex_orchestrator.execution.reading import StreamName
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.rules.stage import StageRequest

_READ_BYTES = 65_536
# Above the time for which the privacy guard holds back what could be the beginning of a secret.
_SILENCE_SECONDS = 0.11
_KINDS: dict[StreamName, int] = {"stdout": frames.STDOUT, "stderr": frames.STDERR}


@dataclass(frozen=True)
class RawChunk:
    """What was read, and when by the monotonic clock; the last one of a stream has nothing."""

    seconds: float
    data: bytes
    is_last: bool = False


class RawCapture:
    """A stream as it is, for whoever decodes it elsewhere; that a silence follows is told too."""

    room = _READ_BYTES

    def __init__(self) -> None:
        self.due: float | None = None

    def take(self, data: bytes, now: float) -> Iterator[RawChunk]:
        """Pass it on."""
        self.due = now + _SILENCE_SECONDS
        yield RawChunk(now, data)

    def expire(self, now: float) -> Iterator[RawChunk]:
        """Tell of the time."""
        self.due = None
        yield RawChunk(now, b"")

    def end(self) -> Iterator[RawChunk]:
        """Tell of the end."""
        self.due = None
        yield RawChunk(0.0, b"", is_last=True)


class Runner:
    """Executes what it is told, each command in a thread of its own."""

    def __init__(
        self, source: int, target: int, lease_seconds: float, tree: TreeAtWorker, clock: Clock
    ) -> None:
        """Nothing is executed yet.

        Args:
            source: The descriptor that it is told by.
            target: The descriptor that it tells by.
            lease_seconds: For how long it goes on without a word.
            tree: The copy of the work tree.
            clock: Time.
        """
        self._source = source
        self._target = target
        self._lease = lease_seconds
        self._clock = clock
        self._guardian = Guardian()
        self._late = LateOutput(lambda _event: None, clock)
        self._writing = threading.Lock()
        self._cancelling = threading.Lock()
        self._cancellations: dict[int, Cancellation] = {}
        self._threads: list[threading.Thread] = []
        self._marks: set[str] = set()
        self._tree = tree

    def serve(self) -> None:
        """Do what it is told until that is to finish; it does not return where its lease ends before."""
        self._guardian.start("")
        for told, data in self._told():
            if "start" in told:
                self._start(told["start"], StageRequest.of(told["request"]))
            elif "cancel" in told:
                self._cancel(told["cancel"], told["signal"], told["by"])
            elif "ask" in told:
                asking = threading.Thread(target=self._answer, args=(told, data), daemon=True)
                asking.start()
            elif "drop" in told:
                self._write(frames.plain(told["drop"], frames.END, None))
            elif "finish" in told:
                break
        self._finish()

    def _told(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """What it is told, and the bytes that go with it."""
        buffer, input_ = b"", self._input()
        while True:
            while b"\n" not in buffer:
                buffer += next(input_)
            line, _, buffer = buffer.partition(b"\n")
            told = json.loads(line)
            parts, size = [buffer], told.get("bytes", 0) - len(buffer)
            while size > 0:
                parts.append(next(input_))
                size -= len(parts[-1])
            buffer = b"".join(parts)
            data, buffer = buffer[: told.get("bytes", 0)], buffer[told.get("bytes", 0) :]
            yield told, data

    def _input(self) -> Iterator[bytes]:
        """What is read; between two words no more than the lease may pass."""
        heard = self._clock.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._source, selectors.EVENT_READ)
            while True:
                left = heard + self._lease - self._clock.monotonic()
                if left <= 0:
                    self._kill()
                if not selector.select(left):
                    continue
                data = os.read(self._source, _READ_BYTES)
                if not data:
                    self._kill()
                heard = self._clock.monotonic()
                yield data

    def _start(self, number: int, request: StageRequest) -> None:
        # Others may have the same mark: whoever takes the run up again, on this machine too.
        owner = f"{PREFIX}OWNER_PID"
        self._marks.add(f"{request.mark}\0{owner}={request.environ.get(owner, '')}")
        # The worker's own variables lie below those that came with the request.
        request = replace(request, environ={**inheritable(os.environ), **request.environ})
        cancellation = Cancellation()
        with self._cancelling:
            self._cancellations[number] = cancellation
        thread = threading.Thread(target=self._run, args=(number, request, cancellation), daemon=True)
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()

    def _answer(self, told: dict[str, Any], data: bytes) -> None:
        """Answer a question about the copy of the work tree; an error is an answer too."""
        try:
            for value, answer in self._tree.answer(told["what"], told["value"], data):
                said = frames.packed({"value": value, "more": True}, answer)
                self._write(frames.encoded(told["ask"], frames.ANSWER, said))
            last: dict[str, Any] = {"more": False}
        except OrchestratorError as error:
            last = {"more": False, "error": error.message}
        self._write(frames.encoded(told["ask"], frames.ANSWER, frames.packed(last)))

    def _cancel(self, number: int, with_signal: int, by: str) -> None:
        with self._cancelling:
            if number in self._cancellations:
                self._cancellations[number].request(with_signal, by)

    def _run(self, number: int, request: StageRequest, cancellation: Cancellation) -> None:
        executor = LocalExecutor(self._clock, cancellation, self._guardian)

        def output(stream: StreamName, chunk: RawChunk) -> None:
            kind = _KINDS[stream]
            if chunk.is_last:
                self._write(frames.encoded(number, frames.LAST, bytes([kind])))
            else:
                self._write(frames.output(number, kind, chunk.seconds, chunk.data))

        executed = executor.prepare(request).run({"stdout": RawCapture(), "stderr": RawCapture()}, output)
        ending = executed.ending
        end = {
            "exit_status": ending.exit_status,
            "timed_out": ending.timed_out,
            "cancelled": ending.cancelled,
            "duration_ms": executed.duration_ms,
            "cause": executed.cause,
            "is_open": executed.left is not None,
        }
        with self._cancelling:
            self._cancellations.pop(number).close()
        self._write(frames.plain(number, frames.END, end))
        if executed.left is not None:
            self._late.leave(number, request.stage_id, executed.left)
            self._late.read_on(number)

    def _write(self, frame: bytes) -> None:
        """Wait until it is taken: so does the command whose output it is."""
        view = memoryview(frame)
        with self._writing:
            while view:
                view = view[os.write(self._target, view) :]

    def _finish(self) -> None:
        """End what commands have left running, and say what that was."""
        left: list[LeftProcess] = []
        for mark in self._marks:
            left += end_left(mark, self._guardian.groups, clock=self._clock)
        for thread in self._threads:
            thread.join()
        self._late.finish()
        with suppress(OrchestratorError):
            # What is left of it is removed by the next run.
            self._tree.remove()
        self._guardian.dismiss()
        found = {each.pid: each.command for each in left}
        self._write(frames.plain(0, frames.LEFT, [[pid, command] for pid, command in found.items()]))

    def _kill(self) -> NoReturn:
        """Nobody asks any more: nothing that was started may go on."""
        groups = set(self._guardian.groups)
        for group in groups:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        for mark in self._marks:
            kill_left(mark, groups, clock=self._clock)
        os._exit(0)


def main() -> None:
    """Serve the worker that has started this process."""
    # What is printed by mistake must not come among the frames.
    target = os.dup(1)
    os.dup2(2, 1)
    # Not ignored: commands would inherit that. The end of the input is what ends this process.
    with signals.caught(lambda _number: None, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        _, _, lease, depot, key = sys.argv
        Runner(0, target, float(lease), TreeAtWorker(Path(depot), key), SystemClock()).serve()
