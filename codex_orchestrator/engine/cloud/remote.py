"""One attempt on a worker, as the orchestrator has it: where a process would be, there are frames.

A thread of the engine waits here as it would for a process; the frames come in the thread of Dask's client.
"""

from __future__ import annotations

import json
import selectors
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

from codex_orchestrator.clock import Clock
from codex_orchestrator.engine.cloud import frames
from codex_orchestrator.engine.cloud.arrivals import Arrivals
from codex_orchestrator.engine.cloud.frames import Frame
from codex_orchestrator.environment import PREFIX
from codex_orchestrator.execution.executing import Executed, ExecutionLost
from codex_orchestrator.execution.reading import Capture, Output, StreamName
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.execution.watch import Ending
from codex_orchestrator.model.scheduler import LossCause
from codex_orchestrator.rules.stage import StageRequest

# A worker that says nothing for so long after it was to end a command is given up.
_PATIENCE_SECONDS = 4.0
_STREAMS: dict[int, StreamName] = {frames.STDOUT: "stdout", frames.STDERR: "stderr"}

State = Literal["waits", "claimed", "runs", "over"]


class Worker(Protocol):
    """The worker that an attempt runs on, as far as the attempt needs to know."""

    name: str
    heard: float

    def tell(self, line: bytes) -> None:
        """Have its runner told something; called in any thread."""
        ...

    def ask(self, what: str, value: object, data: bytes = b"") -> Iterator[tuple[Any, bytes]]:
        """Ask about its copy of the work tree."""
        ...


class RemoteAttempt:
    """An attempt from its being handed to the cluster to the last word of what it left running.

    Attributes:
        number: Its number in the session.
        needs: How much it needs of what on its worker.
        worker: Where it runs, once that is known.
        since: When the cluster was given it, by the monotonic clock.
        avoided: Workers that have had it for long and did not ask about it, by their addresses.
        about: The ids of its run, and of those that it belongs to.
        line: What its runner is told to start it; empty where that is not yet.
    """

    def __init__(
        self,
        number: int,
        request: StageRequest,
        needs: Mapping[str, float],
        cancellation: Cancellation,
        clock: Clock,
        *,
        goes_at_once: bool = True,
    ) -> None:
        """It waits for a worker.

        Args:
            number: Its number in the session.
            request: What to run.
            needs: How much it needs of what on its worker.
            cancellation: Ends it.
            clock: Time.
            goes_at_once: Whether its worker runs the command at once, and does not wait for `go`.
        """
        self.number = number
        self.needs = needs
        self.worker: Worker | None = None
        self.since = 0.0
        self.avoided: set[str] = set()
        self.about = " ".join(request.environ.get(f"{PREFIX}{name}", "") for name in ("RUN_ID", "LINEAGE"))
        self.line = self._line(request) if goes_at_once else b""
        self._cancellation = cancellation
        self._clock = clock
        self._lock = threading.Lock()
        self._state: State = "waits"
        self._lost: ExecutionLost | None = None
        self._arrivals = Arrivals()
        self._selector: selectors.BaseSelector | None = None
        self._captures: Mapping[StreamName, Capture] = {}
        self._output: Output = _nowhere
        self._open: set[StreamName] = set()
        self._end: dict[str, Any] | None = None

    # From the client's thread.

    def claim(self) -> bool:
        """Whether whoever asks is to make it: that is answered with yes once."""
        with self._lock:
            if self._state != "waits":
                return False
            self._state = "claimed"
            return True

    @property
    def waits(self) -> bool:
        """Whether it has no worker yet."""
        return self._state == "waits"

    @property
    def room(self) -> int:
        """How many bytes may come for it."""
        return self._arrivals.room

    @property
    def is_open(self) -> bool:
        """Whether anything may still come."""
        return (
            not self._arrivals.is_closed and self._state != "over" and (self._end is None or bool(self._open))
        )

    def begin(self, worker: Worker) -> None:
        """It has been started."""
        with self._lock:
            if self._state == "claimed":
                self.worker, self._state = worker, "runs"
        self._arrivals.wake()

    def take(self, frame: Frame) -> None:
        """Something is said about it."""
        self._arrivals.put(frame)

    def lose(self, cause: str, reason: LossCause = "auto") -> None:
        """Nobody will say any more how it ends."""
        with self._lock:
            self._lost, self._state = self._lost or ExecutionLost(cause, reason), "over"
        self._arrivals.wake()

    # From the thread that waits for it.

    def wait_for_worker(self) -> Worker:
        """Until it has been started; where.

        Raises:
            ExecutionLost: It was not.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._cancellation, selectors.EVENT_READ, self._cancellation.drain)
            selector.register(self._arrivals, selectors.EVENT_READ, self._arrivals.drain)
            while self._state in ("waits", "claimed"):
                # What a worker is about to start is ended there, by `run`.
                if self._cancellation.requested and self.claim():
                    self.lose("It was cancelled before a worker was free")
                for key, _ in selector.select():
                    key.data()
        if self.worker is None:
            self.close()
            raise self._lost or ExecutionLost("It was not started")
        return self.worker

    def go(self, request: StageRequest) -> None:
        """Have its worker run the command, in the end."""
        if self.worker is not None:
            self.worker.tell(self._line(request))

    def drop(self) -> None:
        """Have its worker be free for others: the command is not run."""
        if self.worker is not None:
            self.worker.tell(json.dumps({"drop": self.number}).encode() + b"\n")
        self.close()

    def run(self, captures: Mapping[StreamName, Capture], output: Output) -> Executed:
        """Wait for its end.

        Raises:
            ExecutionLost: Nobody will say how it ends.
        """
        self._captures, self._output, self._open = captures, output, set(captures)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._cancellation, selectors.EVENT_READ, self._cancellation.drain)
                self.wait_with(selector)
                self._wait(selector)
        except BaseException:
            self._tell_to_cancel(signal.SIGKILL)
            self.close()
            raise
        return self._executed()

    def _wait(self, selector: selectors.BaseSelector) -> None:
        requests, asked = 0, None
        while True:
            while requests < self._cancellation.requests:
                requests += 1
                asked = asked or self._clock.monotonic()
                self._tell_to_cancel(self._cancellation.number or signal.SIGTERM)
            self._take_up()
            if self._end is not None:
                return
            if self._lost is not None:
                raise self._lost
            if asked is not None and self._is_deaf(asked):
                raise ExecutionLost(f"Worker {self.worker.name if self.worker else ''} did not answer")
            for key, _ in selector.select(None if asked is None else 0.25):
                key.data()

    def _is_deaf(self, asked: float) -> bool:
        """Whether nothing was heard of the worker since it was to end the command."""
        heard = self.worker.heard if self.worker is not None else 0.0
        return heard < asked and self._clock.monotonic() - asked > _PATIENCE_SECONDS

    def _executed(self) -> Executed:
        end = self._end or {}
        self._selector = None
        if not end["is_open"]:
            self._end_streams()
        ending = Ending(end["exit_status"], timed_out=end["timed_out"], cancelled=end["cancelled"])
        left = self if self._open else None
        if left is None:
            self.close()
        return Executed(ending, end["duration_ms"], end["cause"], left)

    def _tell_to_cancel(self, number: int) -> None:
        if self.worker is not None:
            told = {"cancel": self.number, "signal": int(number), "by": self._cancellation.by}
            self.worker.tell(json.dumps(told).encode() + b"\n")

    # As `execution.reading.Reader`: what it left running may go on to write.

    @property
    def descriptors(self) -> list[int]:
        """What is waited on."""
        return [self._arrivals.fileno()]

    @property
    def due(self) -> float | None:
        """None: that time passes is said by the runner."""
        return None

    def wait_with(self, selector: selectors.BaseSelector) -> None:
        """Have a selector wait for frames."""
        selector.register(self._arrivals, selectors.EVENT_READ, self._take_up)
        self._selector = selector

    def expire(self) -> None:
        """Nothing is held back by the clock of this machine."""

    def end(self) -> None:
        """Take up what has come, let go what was held back, and close."""
        self._take_up()
        self._end_streams()
        self.close()

    def close(self) -> None:
        """Hear no more of it."""
        self._arrivals.close()

    # How.

    def _take_up(self) -> None:
        if self._arrivals.is_closed:
            return
        self._arrivals.drain()
        while (frame := self._arrivals.take()) is not None:
            self._hear(frame)
        if self._end is not None and (not self._open or self._state == "over"):
            # Whoever reads on what was left sees that there is no more.
            self._end_streams()
            if self._selector is not None:
                self._selector.unregister(self._arrivals)
                self._selector = None
            self.close()

    def _hear(self, frame: Frame) -> None:
        if frame.kind in _STREAMS:
            stream, (seconds, data) = _STREAMS[frame.kind], frame.output()
            capture = self._captures[stream]
            made = capture.take(data, seconds) if data else capture.expire(seconds)
            for chunk in made:
                self._output(stream, chunk)
        elif frame.kind == frames.LAST:
            self._end_stream(_STREAMS[frame.payload[0]])
        elif frame.kind == frames.END:
            self._end = frame.value()

    def _line(self, request: StageRequest) -> bytes:
        return json.dumps({"start": self.number, "request": request.plain()}).encode() + b"\n"

    def _end_streams(self) -> None:
        for stream in tuple(self._open):
            self._end_stream(stream)

    def _end_stream(self, stream: StreamName) -> None:
        if stream in self._open:
            self._open.remove(stream)
            for chunk in self._captures[stream].end():
                self._output(stream, chunk)


def _nowhere(_stream: StreamName, _chunk: object) -> None:
    """Nobody has asked for output yet."""
