"""Waits for one process: reads its pipes, ends it when its time is up or the run is cancelled.

The end of the process, not the end of its output, ends the stage: a descendant that keeps a pipe
open is waited for a bounded time, and what it writes afterwards is for whoever has the reader.
"""

from __future__ import annotations

import selectors
import signal
from collections.abc import Callable, Collection

from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.execution.process import StageProcess
from codex_orchestrator.execution.reading import OutputReader
from codex_orchestrator.execution.signals import Cancellation, Escalation

DRAIN_SECONDS = 0.25
GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 3_600.0
# How often a stage with runs of its own in it gets the grace once more.
_EXTENSIONS = 2

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
        reader: OutputReader,
        *,
        clock: Clock,
        cancellation: Cancellation,
        timeout_seconds: float | None,
        grace_seconds: float = GRACE_SECONDS,
        nested: Nested = frozenset,
    ) -> None:
        self._nested = nested
        self._process = process
        self._reader = reader
        self._clock = clock
        self._cancellation = cancellation
        self._escalation = Escalation(grace_seconds, extensions=_EXTENSIONS)
        self._deadline = None if timeout_seconds is None else clock.monotonic() + timeout_seconds
        self._requests_seen = 0
        self._timed_out = False
        self._selector = selectors.DefaultSelector()

    def wait(self) -> Ending:
        """Wait for the end; the process is reaped afterwards, and the reader is open where others write."""
        try:
            self._register()
            while (status := self._process.exit_status()) is None:
                self._step(self._timeout())
                self._escalate()
            self._drain()
            self._reader.stop_waiting()
        except BaseException:
            # Nobody will wait for this process any more, so it must not outlive us.
            self._process.kill()
            self._reader.close()
            raise
        finally:
            self._selector.close()
            self._process.close()
        return Ending(status, self._timed_out, self._requests_seen > 0)

    def _register(self) -> None:
        self._reader.wait_with(self._selector)
        if self._process.pidfd is not None:
            # Its end is looked for after each wait.
            self._selector.register(self._process.pidfd, selectors.EVENT_READ, lambda: None)
        self._selector.register(self._cancellation, selectors.EVENT_READ, self._cancellation.drain)

    def _step(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            key.data()
        self._reader.expire()

    def _timeout(self) -> float | None:
        """How long the loop may sleep: an hour at most, as selectors refuse what is far away."""
        moments = (self._deadline, self._escalation.due, self._reader.due)
        limits = [moment for moment in moments if moment is not None]
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
        # A run in there may be about to do to its own stage what is done to it here, and to close itself.
        if self._escalation.is_over(now) and self._escalation.kills(now, needs_longer=bool(self._nested())):
            self._process.signal_group(signal.SIGKILL)

    def _end(self, number: int, now: float) -> None:
        self._process.signal_group(number)
        self._escalation.begin(now)

    def _drain(self) -> None:
        """Read what is there, and for a bounded time what descendants still write."""
        if self._process.pidfd is not None:
            # It stays readable from now on and would keep every wait from waiting.
            self._selector.unregister(self._process.pidfd)
        until = self._clock.monotonic() + DRAIN_SECONDS
        self._reader.catch_up()
        while self._reader.is_open and (left := until - self._clock.monotonic()) > 0:
            self._step(min(left, _POLL_SECONDS))
        self._reader.catch_up()
