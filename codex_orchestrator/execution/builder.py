"""CommandBuilder: a StageRequest into a StageOutcome, with events on the way.

Nothing here knows where events go: a sink takes them, be it the recorder's or a worker's channel.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.execution.executing import Executed, Executor, LocalExecutor
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.execution.late import LateOutput, Sink
from codex_orchestrator.execution.reading import Chunk, StreamCapture, StreamName
from codex_orchestrator.execution.signals import Cancellation, signal_name
from codex_orchestrator.execution.watch import Ending, Nested
from codex_orchestrator.model.exec_events import (
    CommandEnd,
    ExecBegin,
    ExecChunk,
    ExecEnd,
    ExecRetry,
    PrivacyDecided,
)
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.privacy.policy import SHADOW_REASON
from codex_orchestrator.rules.stage import StageOutcome, StageRequest, failure_words

if TYPE_CHECKING:
    from codex_orchestrator.execution.showing import Showing
    from codex_orchestrator.privacy.stream import Decision

# Told of an attempt that failed and is followed by another: the stage's id, and how it ended.
Failed = Callable[[str, StageOutcome], None]
# Waits for so many seconds; whether that was cut short, as the run is cancelled.
Pause = Callable[[float], bool]

_SIGNALLED = 128
_FIRST_DELAY_MS = 250


class CommandBuilder:
    """Runs a command as often as its stage allows; that the stage starts was recorded by whoever asks."""

    def __init__(
        self,
        sink: Sink,
        failed: Failed,
        clock: Clock,
        cancellation: Cancellation,
        guardian: Guardian,
        late: LateOutput,
        *,
        pause: Pause | None = None,
        nested: Nested = frozenset,
        executor: Executor | None = None,
    ) -> None:
        """Nothing is run yet.

        Args:
            sink: Takes the events.
            failed: Told of each attempt that is not the last.
            clock: Time.
            cancellation: Ends the command, and the pauses between its attempts.
            guardian: Told of the processes.
            late: Reads on where something that a stage left running keeps its pipes open.
            pause: How to wait between attempts, where it is not by waiting.
            nested: Tells of runs that stages have started; these take longer to end.
            executor: Executes the attempts, where this machine does not.
        """
        self._sink = sink
        self._failed = failed
        self._clock = clock
        self._cancellation = cancellation
        self._executor = executor or LocalExecutor(clock, cancellation, guardian, nested)
        self._late = late
        self._pause = pause or cancellation.wait

    def run(self, request: StageRequest) -> StageOutcome:
        """Run the command to its end, whatever that is; only the errors of who listens come out of here."""
        started = self._clock.monotonic()
        outcome = self._run_attempts(request)
        self._sink(
            CommandEnd(
                exit_code=outcome.exit_code,
                signal=outcome.signal,
                duration_ms=round((self._clock.monotonic() - started) * 1000),
                timestamp=self._now(),
                index=request.index,
            )
        )
        return outcome

    def _run_attempts(self, first: StageRequest) -> StageOutcome:
        """One attempt and, while it fails, those that may follow: the last one's outcome."""
        correlation_id = _new_id()
        guard = PrivacyGuard(first.privacy)
        # What is tried again is the same piece of work, so all attempts have one session.
        request = replace(first, session_id=first.session_id or correlation_id)
        outcome = self._attempt(request, correlation_id, guard)
        delay_ms = _FIRST_DELAY_MS
        while request.retries and outcome.status in ("failed", "timeout"):
            outcome = self._tell_of_failure(request, outcome, delay_ms)
            if self._pause(delay_ms / 1000):
                return self._cancelled(outcome)
            request = replace(request, attempt=request.attempt + 1, retries=request.retries - 1)
            outcome = replace(self._attempt(request, _new_id(), guard), retried=True)
            delay_ms *= 2
        return outcome

    def _attempt(self, request: StageRequest, correlation_id: str, guard: PrivacyGuard) -> StageOutcome:
        return _Attempt(
            request,
            correlation_id,
            guard,
            self._sink,
            self._clock,
            self._cancellation,
            self._executor,
            self._late,
        ).run()

    def _tell_of_failure(self, request: StageRequest, outcome: StageOutcome, delay_ms: int) -> StageOutcome:
        """Say that another attempt will follow; the outcome counts the event."""
        self._sink(
            ExecRetry(
                correlation_id=outcome.correlation_id or "",
                attempt=outcome.attempt,
                delay_ms=delay_ms,
                error=outcome.cause or failure_words(outcome),
                timestamp=self._now(),
                index=request.index,
            )
        )
        outcome = replace(outcome, frames=outcome.frames + 1)
        self._failed(request.stage_id, outcome)
        return outcome

    def _cancelled(self, outcome: StageOutcome) -> StageOutcome:
        """The last attempt failed, but what kept the stage from passing is the cancellation."""
        return replace(
            outcome,
            status="cancelled",
            cancelled_by=self._cancellation.by,
            timeout_seconds=None,
        )

    def _now(self) -> str:
        return timestamp(self._clock.now())


class _Attempt:
    """One attempt: begin, chunks, end."""

    def __init__(
        self,
        request: StageRequest,
        correlation_id: str,
        guard: PrivacyGuard,
        sink: Sink,
        clock: Clock,
        cancellation: Cancellation,
        executor: Executor,
        late: LateOutput,
    ) -> None:
        self._request = request
        self._sink = sink
        self._clock = clock
        self._cancellation = cancellation
        self._executor = executor
        self._late = late
        self._correlation_id = correlation_id
        self._sequence = 0
        self._guard = guard
        self._captures: dict[StreamName, StreamCapture] = {
            "stdout": StreamCapture(request.stream_bytes, guard.stream),
            "stderr": StreamCapture(request.stream_bytes, guard.stream),
        }

    def run(self) -> StageOutcome:
        # Before anything can have begun: a cluster starts a command while it is asked to prepare it.
        showing = self._showing()
        execution = self._executor.prepare(self._request)
        self._begin()
        executed = execution.run(
            self._captures if showing is None else showing.watching(self._captures), self._chunk
        )
        missing = showing.missing() if showing is not None and _succeeded(executed) else None
        if missing is not None:
            executed = self._without_left(executed)
        outcome = self._outcome(executed, missing)
        self._end(outcome)
        if executed.left is not None:
            # The numbers of its chunks go on.
            self._sink = self._late.sink
            self._late.leave(self._request.index, self._request.stage_id, executed.left)
        return outcome

    def _showing(self) -> Showing | None:
        if self._request.expected is None:
            return None
        # Few stages expect anything.
        from codex_orchestrator.execution.showing import Showing

        return Showing(self._request.expected, self._clock.now())

    def _without_left(self, executed: Executed) -> Executed:
        """What has failed after all leaves nothing to an attempt that follows."""
        if not self._request.retries or executed.end_left is None:
            return executed
        executed.end_left()
        return replace(executed, left=None)

    def _begin(self) -> None:
        command, decisions = self._guard.inspect(self._request.command)
        self._sink(
            ExecBegin(
                correlation_id=self._correlation_id,
                attempt=self._request.attempt,
                command=command,
                cwd=self._guard.scrub(self._request.cwd.encode("utf-8", "replace").decode()),
                session_id=self._request.session_id or self._correlation_id,
                persisted=self._request.persisted,
                timestamp=self._now(),
                index=self._request.index,
            )
        )
        self._decided(decisions)

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
        self._decided(self._captures[stream].take_decisions())

    def _decided(self, decisions: list[Decision]) -> None:
        """Tell of what the guard has found in the last part of the output, once by each rule."""
        if not decisions:
            return
        enforced, now = self._guard.enforces, self._now()
        for decision in dict.fromkeys(decisions):
            self._sink(
                PrivacyDecided(
                    correlation_id=self._correlation_id,
                    sequence=self._sequence,
                    action=decision.action if enforced else "allow",
                    rule=decision.rule,
                    reason=decision.reason if enforced else SHADOW_REASON,
                    timestamp=now,
                    index=self._request.index,
                )
            )

    def _end(self, outcome: StageOutcome) -> None:
        for capture in self._captures.values():
            self._decided(capture.take_decisions())
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

    def _outcome(self, executed: Executed, missing: str | None) -> StageOutcome:
        stdout, stderr = self._captures["stdout"], self._captures["stderr"]
        ending, status = executed.ending, executed.ending.exit_status
        return StageOutcome(
            status=_meaning(ending) if missing is None else "failed",
            exit_code=status if status >= 0 else _SIGNALLED - status,
            signal=signal_name(-status) if status < 0 else None,
            duration_ms=executed.duration_ms,
            stdout=stdout.tail(),
            stderr=stderr.tail(),
            stdout_truncated=stdout.truncated,
            stderr_truncated=stderr.truncated,
            cause=executed.cause and self._guard.scrub(executed.cause),
            missing=missing and self._guard.line(missing),
            cancelled_by=self._cancellation.by if ending.cancelled else None,
            timeout_seconds=self._request.timeout_seconds if ending.timed_out else None,
            correlation_id=self._correlation_id,
            frames=self._sequence + 2,
            attempt=self._request.attempt,
        )

    def _now(self) -> str:
        return timestamp(self._clock.now())


def _new_id() -> str:
    return os.urandom(16).hex()


def _succeeded(executed: Executed) -> bool:
    return _meaning(executed.ending) == "succeeded" and executed.cause is None


def _meaning(ending: Ending) -> Literal["succeeded", "failed", "timeout", "cancelled"]:
    if ending.cancelled:
        return "cancelled"
    if ending.timed_out:
        return "timeout"
    return "failed" if ending.exit_status else "succeeded"
