"""CommandBuilder: a StageRequest into a StageOutcome, with events on the way.

Nothing here knows where events go: a sink takes them, be it the recorder's or a worker's channel.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.run.events import CommandEnd, CommandStart, Event, ExecBegin, ExecChunk, ExecEnd
from codex_orchestrator.run.stage import StageOutcome, StageRequest

from .cancellation import Cancellation
from .capture import Chunk, StreamCapture
from .guardian import Guardian
from .process import SpawnError, StageProcess, signal_name
from .watch import Ending, ProcessWatch, StreamName

Sink = Callable[[Event], None]

_SIGNALLED = 128


class CommandBuilder:
    """Runs commands one at a time."""

    def __init__(self, sink: Sink, clock: Clock, cancellation: Cancellation, guardian: Guardian) -> None:
        self._sink = sink
        self._clock = clock
        self._cancellation = cancellation
        self._guardian = guardian

    def run(self, request: StageRequest) -> StageOutcome:
        """Run the command to its end, whatever that is; only the sink's errors come out of here."""
        self._sink(CommandStart(command=request.command, timestamp=self._now(), index=request.index))
        outcome = _Attempt(request, self._sink, self._clock, self._cancellation, self._guardian).run()
        self._sink(
            CommandEnd(
                exit_code=outcome.exit_code,
                signal=outcome.signal,
                duration_ms=outcome.duration_ms,
                timestamp=self._now(),
                index=request.index,
            )
        )
        return outcome

    def _now(self) -> str:
        return timestamp(self._clock.now())


class _Attempt:
    """One attempt: begin, chunks, end."""

    def __init__(
        self,
        request: StageRequest,
        sink: Sink,
        clock: Clock,
        cancellation: Cancellation,
        guardian: Guardian,
    ) -> None:
        self._request = request
        self._sink = sink
        self._clock = clock
        self._cancellation = cancellation
        self._guardian = guardian
        self._correlation_id = os.urandom(16).hex()
        self._sequence = 0
        self._captures: dict[StreamName, StreamCapture] = {
            "stdout": StreamCapture(request.stream_bytes),
            "stderr": StreamCapture(request.stream_bytes),
        }

    def run(self) -> StageOutcome:
        self._begin()
        started = self._clock.monotonic()
        try:
            process = StageProcess(
                self._request.command, cwd=self._request.cwd, environ=self._request.environ
            )
        except SpawnError as error:
            ending = Ending(error.exit_code, timed_out=False, cancelled=False)
            outcome = self._outcome(ending, started, cause=error.cause)
        else:
            outcome = self._outcome(self._wait(process), started)
        self._end(outcome)
        return outcome

    def _wait(self, process: StageProcess) -> Ending:
        self._guardian.watch(process.pid)
        try:
            return ProcessWatch(
                process,
                self._captures,
                self._chunk,
                clock=self._clock,
                cancellation=self._cancellation,
                timeout_seconds=self._request.timeout_seconds,
            ).wait()
        finally:
            self._guardian.forget_empty()

    def _begin(self) -> None:
        self._sink(
            ExecBegin(
                correlation_id=self._correlation_id,
                attempt=self._request.attempt,
                command=self._request.command,
                cwd=self._request.cwd.encode("utf-8", "replace").decode(),
                session_id=self._request.session_id or self._correlation_id,
                persisted=self._request.persisted,
                timestamp=self._now(),
                index=self._request.index,
            )
        )

    def _chunk(self, stream: StreamName, chunk: Chunk) -> None:
        self._sequence += 1
        self._sink(
            ExecChunk(
                correlation_id=self._correlation_id,
                attempt=self._request.attempt,
                stream=stream,
                sequence=self._sequence,
                bytes=chunk.size,
                data=chunk.text,
                timestamp=self._now(),
                index=self._request.index,
            )
        )

    def _end(self, outcome: StageOutcome) -> None:
        self._sink(
            ExecEnd(
                correlation_id=self._correlation_id,
                attempt=self._request.attempt,
                exit_code=outcome.exit_code,
                signal=outcome.signal,
                duration_ms=outcome.duration_ms,
                status=outcome.status,
                timestamp=self._now(),
                index=self._request.index,
            )
        )

    def _outcome(self, ending: Ending, started: float, cause: str | None = None) -> StageOutcome:
        stdout, stderr = self._captures["stdout"], self._captures["stderr"]
        status = ending.exit_status
        return StageOutcome(
            status=_meaning(ending),
            exit_code=status if status >= 0 else _SIGNALLED - status,
            signal=signal_name(-status) if status < 0 else None,
            duration_ms=round((self._clock.monotonic() - started) * 1000),
            stdout=stdout.tail(),
            stderr=stderr.tail(),
            stdout_truncated=stdout.truncated,
            stderr_truncated=stderr.truncated,
            cause=cause,
            cancelled_by=self._cancellation.signal_name if ending.cancelled else None,
            timeout_seconds=self._request.timeout_seconds if ending.timed_out else None,
            correlation_id=self._correlation_id,
            frames=self._sequence + 2,
        )

    def _now(self) -> str:
        return timestamp(self._clock.now())


def _meaning(ending: Ending) -> Literal["succeeded", "failed", "timeout", "cancelled"]:
    if ending.cancelled:
        return "cancelled"
    if ending.timed_out:
        return "timeout"
    return "failed" if ending.exit_status else "succeeded"
