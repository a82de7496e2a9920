"""A command that an engine runs: what is known of it, and what becomes of it where nobody says any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.engine.manager import TaskManager
from codex_orchestrator.engine.runs import PipelineRun
from codex_orchestrator.model.events import Event
from codex_orchestrator.model.exec_events import CommandEnd, ExecBegin, ExecEnd, ExecRetry, PrivacyDecided
from codex_orchestrator.model.scheduler import POLICY
from codex_orchestrator.rules.stage import END_OF_SESSION, StageOutcome, StageRequest


@dataclass(frozen=True)
class Place:
    """Where a command runs.

    Attributes:
        instance_id: The worker's id, or None where it is this process.
        node: The worker as its engine knows it, or None.
    """

    instance_id: str | None = None
    node: Any = None


@dataclass
class Executed:
    """A command that was run elsewhere than in its item's call.

    Attributes:
        outcome: How it ended.
        started: When it began, in seconds since the epoch.
        duration: How long it took, in seconds.
        node: The worker that it ran on, as its engine knows it, or None.
        taken_up: Whether its item knows.
    """

    outcome: StageOutcome
    started: float
    duration: float
    node: Any = None
    taken_up: bool = False


@dataclass
class Job:
    """A command, from when it is to be run until its item knows how it ended.

    Attributes:
        nodeid: Its item's.
        run: The run that it belongs to.
        manager: That run's.
        request: What the engine is asked for.
        started: When it began, in seconds since the epoch.
        clock_started: The same by the monotonic clock.
        place: Where it runs.
        begun: The last attempt's beginning, as far as it was heard of.
        ended: The last attempt's end, likewise.
        frames: How many events were heard of the last attempt.
        losses: How many workers were lost with it.
        tried_before: Whether one of these had begun an attempt.
    """

    nodeid: str
    run: PipelineRun
    manager: TaskManager
    request: StageRequest
    started: float
    clock_started: float
    place: Place = Place()
    begun: ExecBegin | None = None
    ended: ExecEnd | None = None
    frames: int = 0
    losses: int = 0
    tried_before: bool = False

    def note(self, event: Event) -> None:
        """Remember what is needed to end it truthfully where its worker cannot."""
        if isinstance(event, ExecBegin):
            self.begun, self.ended, self.frames = event, None, 0
        if not isinstance(event, PrivacyDecided):
            self.frames += 1
        if isinstance(event, ExecEnd):
            self.ended = event

    @property
    def retries_left(self) -> int:
        """How many attempts may still follow the last one."""
        if self.begun is None:
            return self.request.retries
        return self.request.retries - (self.begun.attempt - self.request.attempt)

    @property
    def may_be_tried_again(self) -> bool:
        """Whether another worker may try it: what never began has had no effect, all else needs retries."""
        return self.losses < POLICY.max_retries and (self.begun is None or self.retries_left > 0)

    def told_outcome(self, cancelled_by: str | None) -> StageOutcome | None:
        """How it ended, where its worker died after the last attempt's end but before it could say more."""
        end = self.ended
        if end is None or (end.status in ("failed", "timeout") and self.retries_left):
            return None
        return StageOutcome(
            status=end.status,
            exit_code=end.exit_code,
            signal=end.signal,
            duration_ms=end.duration_ms,
            cancelled_by=cancelled_by or END_OF_SESSION if end.status == "cancelled" else None,
            timeout_seconds=self.request.timeout_seconds if end.status == "timeout" else None,
            correlation_id=end.correlation_id,
            frames=self.frames,
            attempt=end.attempt,
        )

    def lost_outcome(self, cause: str, cancelled_by: str | None, duration_ms: int) -> StageOutcome:
        """The outcome of an attempt that nobody knows the end of."""
        return StageOutcome(
            status="failed" if cancelled_by is None else "cancelled",
            exit_code=None,
            duration_ms=duration_ms,
            cause=cause,
            cancelled_by=cancelled_by,
            correlation_id=self.begun.correlation_id if self.begun else None,
            frames=self.frames,
            attempt=self.begun.attempt if self.begun else self.request.attempt,
        )

    def missing_lines(self, outcome: StageOutcome, now: str, *, again: bool) -> Iterator[Event]:
        """The events that end a lost attempt in the log, as its worker would have."""
        index, duration, begun = self.request.index, outcome.duration_ms, self.begun
        if begun is not None and self.ended is None:
            yield ExecEnd(
                correlation_id=begun.correlation_id,
                attempt=begun.attempt,
                exit_code=None,
                signal=None,
                duration_ms=duration,
                status=outcome.status,
                timestamp=now,
                index=index,
            )
        if begun is not None and again:
            yield ExecRetry(
                correlation_id=begun.correlation_id,
                attempt=begun.attempt,
                delay_ms=0,
                error=outcome.cause or "",
                timestamp=now,
                index=index,
            )
        if not again:
            yield CommandEnd(exit_code=None, signal=None, duration_ms=duration, timestamp=now, index=index)

    def tried_again(self) -> Job:
        """The same command, to be given to another worker; one that never began has used no attempt."""
        request = self.request
        if self.begun is not None:
            request = replace(
                request,
                attempt=self.begun.attempt + 1,
                retries=self.retries_left - 1,
                # What is tried again is the same piece of work.
                session_id=self.begun.session_id,
            )
        return replace(
            self,
            request=request,
            begun=None,
            ended=None,
            frames=0,
            losses=self.losses + 1,
            tried_before=self.tried_before or self.begun is not None,
        )
