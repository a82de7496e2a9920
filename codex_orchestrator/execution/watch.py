"""Waits for one process: reads its pipes, ends it when its time is up or the run is cancelled.

The end of the process, not the end of its output, ends the stage: a descendant that keeps a pipe
open is drained for a bounded time and then left.
"""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Callable, Collection
from typing import Literal

from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass

from .cancellation import Cancellation
from .capture import Chunk, StreamCapture
from .process import StageProcess, pipe_bytes

DRAIN_SECONDS = 0.25
GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 3_600.0
# How often a stage with runs of its own in it gets the grace once more.
_EXTENSIONS = 2

StreamName = Literal["stdout", "stderr"]
Output = Callable[[StreamName, Chunk], None]
# The ids of processes that run runs which stages have started.
Nested = Callable[[], Collection[int]]


@dataclass(frozen=True)
class Ending:
    """How the process ended, and what made it."""

    exit_status: int
    timed_out: bool
    cancelled: bool


class ProcessWatch:
    """One process from its start to its end."""

    def __init__(
        self,
        process: StageProcess,
        captures: dict[StreamName, StreamCapture],
        output: Output,
        *,
        clock: Clock,
        cancellation: Cancellation,
        timeout_seconds: float | None,
        grace_seconds: float = GRACE_SECONDS,
        nested: Nested = frozenset,
    ) -> None:
        self._nested = nested
        self._extensions = _EXTENSIONS
        self._process = process
        self._captures = captures
        self._output = output
        self._clock = clock
        self._cancellation = cancellation
        self._grace = grace_seconds
        self._deadline = None if timeout_seconds is None else clock.monotonic() + timeout_seconds
        self._kill_at: float | None = None
        self._requests_seen = 0
        self._timed_out = False
        self._selector = selectors.DefaultSelector()
        self._open: set[StreamName] = set()

    def wait(self) -> Ending:
        """Wait for the end; the process is reaped and its pipes are closed afterwards."""
        try:
            self._register()
            while (status := self._process.exit_status()) is None:
                self._step(self._timeout())
                self._escalate()
            self._drain()
        except BaseException:
            # Nobody will wait for this process any more, so it must not outlive us.
            self._process.kill()
            raise
        finally:
            self._selector.close()
            self._process.close()
        return Ending(status, self._timed_out, self._requests_seen > 0)

    def _register(self) -> None:
        for name, descriptor in self._process.streams().items():
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ, name)
            self._open.add(name)  # type: ignore[arg-type]
        if self._process.pidfd is not None:
            self._selector.register(self._process.pidfd, selectors.EVENT_READ, "exit")
        self._selector.register(self._cancellation, selectors.EVENT_READ, "cancel")

    def _step(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            if key.data == "cancel":
                self._cancellation.drain()
            elif key.data in self._captures:
                self._read(key.fd, key.data)
        now = self._clock.monotonic()
        for name, capture in self._captures.items():
            if capture.due is not None and capture.due <= now:
                # Whoever takes the output may have kept us busy: what belongs to it may long be here.
                self._catch_up(name)
                for chunk in capture.expire(now):
                    self._output(name, chunk)

    def _catch_up(self, name: StreamName) -> None:
        """Read all that is in a pipe by now; what is written meanwhile need not be waited for."""
        if name not in self._open:
            return
        descriptor = self._process.streams()[name]
        left = pipe_bytes(descriptor)
        while left > 0 and (size := self._read(descriptor, name)):
            left -= size

    def _read(self, descriptor: int, name: StreamName) -> int:
        """Read once; how many bytes, 0 where there is nothing to read now or any more."""
        capture = self._captures[name]
        try:
            data = os.read(descriptor, capture.room)
        except BlockingIOError:
            return 0
        for chunk in capture.take(data, self._clock.monotonic()) if data else capture.end():
            self._output(name, chunk)
        if not data:
            self._selector.unregister(descriptor)
            self._open.discard(name)
        return len(data)

    def _timeout(self) -> float | None:
        """How long the loop may sleep: an hour at most, as selectors refuse what is far away."""
        held = (capture.due for capture in self._captures.values())
        limits = [moment for moment in (self._deadline, self._kill_at, *held) if moment is not None]
        wait = min(max(0.0, min(limits) - self._clock.monotonic()), _LONGEST_WAIT_SECONDS) if limits else None
        if self._process.pidfd is None:
            return _POLL_SECONDS if wait is None else min(wait, _POLL_SECONDS)
        return wait

    def _escalate(self) -> None:
        """TERM (or the signal that cancels), a grace period, then KILL; a second request kills at once."""
        now = self._clock.monotonic()
        number = self._cancellation.number
        if number is not None and self._cancellation.requests > self._requests_seen:
            first = self._requests_seen == 0
            self._requests_seen = self._cancellation.requests
            self._end(number if first else signal.SIGKILL, now)
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._timed_out = True
            self._end(signal.SIGTERM, now)
        if self._kill_at is not None and now >= self._kill_at:
            if self._extensions and self._nested():
                # It may be about to do to its own stage what is done to it here, and to close itself.
                self._extensions -= 1
                self._kill_at = now + self._grace
                return
            self._kill_at = None
            self._process.signal_group(signal.SIGKILL)

    def _end(self, number: int, now: float) -> None:
        self._process.signal_group(number)
        self._kill_at = now + self._grace

    def _drain(self) -> None:
        """Read what is there, and for a bounded time what descendants still write."""
        if self._process.pidfd is not None:
            # It stays readable from now on and would keep every wait from waiting.
            self._selector.unregister(self._process.pidfd)
        until = self._clock.monotonic() + DRAIN_SECONDS
        for name in list(self._open):
            # Bounded by bytes: a descendant may write faster than this reads.
            self._catch_up(name)
        while self._open and (left := until - self._clock.monotonic()) > 0:
            self._step(min(left, _POLL_SECONDS))
        for name in list(self._open):
            self._catch_up(name)
        for name in list(self._open):
            for chunk in self._captures[name].end():
                self._output(name, chunk)
