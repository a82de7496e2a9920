"""Stages at once: hands commands to an engine as they may run, and takes up what it says of them.

All of it on the main thread, whatever the engine is (docs/explanation/architecture.md, "Stages at once").
"""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import replace

from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.definitions.schedule import ReadyQueue
from codex_orchestrator.model.events import Event
from codex_orchestrator.model.exec_events import ExecEvent
from codex_orchestrator.model.scheduler import Checkpoint, LossCause
from codex_orchestrator.rules.stage import END_OF_SESSION, LOSS_OF_EVIDENCE, StageOutcome

from .assignments import Assignments
from .halt import Halt
from .jobs import Executed, Job
from .messages import Ended, Failed, Late, Lost, OfCommands, Said, Watching
from .protocol import Engine, SessionStages


class Dispatcher:
    """Gives an engine what the queue holds ready, and items their outcomes."""

    def __init__(
        self,
        stages: SessionStages,
        halt: Halt,
        queue: ReadyQueue,
        engine: Engine,
        clock: Clock,
    ) -> None:
        """Nothing has begun.

        Args:
            stages: The session's stages.
            halt: Ends the session early.
            queue: Which of them may run now.
            engine: What runs commands.
            clock: Time.
        """
        self._engine = engine
        self._stages = stages
        self._halt = halt
        self._queue = queue
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._has_command: dict[str, bool] = {}
        self._assignments = Assignments(self._record, clock)
        # By node id, what waits for another worker, before all that has not begun.
        self._again: deque[str] = deque()
        self._stopping = False
        self._breakdown: BaseException | None = None

    @property
    def running(self) -> list[str]:
        """The node ids of the commands that run."""
        return list(self._jobs)

    @property
    def left(self) -> list[str]:
        """The node ids of the items that have not begun."""
        return self._queue.left

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing will."""
        return not self._jobs and (self._stopping or not self._queue.left)

    def advance(self) -> None:
        """Begin whatever can begin."""
        self._heed_the_session()
        while self._again and not self._stopping and self._engine.free():
            self._hand_over(self._jobs[self._again.popleft()])
        while not self._stopping:
            nodeid = self._queue.take(self._has_room)
            if nodeid is None:
                break
            if self._needs_engine(nodeid) and self._stages.set_up(nodeid):
                self._start(nodeid)
            else:
                self._stages.report(nodeid)
                self._queue.end(nodeid)
            self._heed_the_session()

    # What an engine says: in a message, or by these methods, where both are in one process.

    def hear(self, message: OfCommands) -> None:
        """Take up what an engine says of a command."""
        match message:
            case Said(nodeid, event):
                self.said(nodeid, event)
            case Late(nodeid, event):
                self.late(nodeid, event)
            case Watching(nodeid, group):
                self.watching(nodeid, group)
            case Failed(nodeid, outcome):
                self.failed(nodeid, outcome)
            case Ended(nodeid, outcome):
                self.ended(nodeid, outcome)
            case Lost(nodeid, cause, reason):
                self.lost(nodeid, cause, reason=reason)

    def said(self, nodeid: str, event: Event) -> None:
        """Something happened to a command."""
        job = self._jobs.get(nodeid)
        if job is None:
            return  # Late words of a worker that was given up.
        job.note(event)
        self._record(job, event)

    def late(self, nodeid: str, event: ExecEvent) -> None:
        """Something that a command left running on a worker has written."""
        run = self._stages.run_of(nodeid)
        if run.manager is not None and not run.closed:
            with self._halt.recording():
                run.manager.late.sink(event)

    def failed(self, nodeid: str, outcome: StageOutcome) -> None:
        """An attempt has failed, and the engine is about to make another."""
        job = self._jobs.get(nodeid)
        if job is not None:
            with self._halt.recording():
                job.manager.fail_attempt(job.request.stage_id, outcome)

    def watching(self, nodeid: str, group: int) -> None:
        """A command on this machine has a process group."""
        job = self._jobs.get(nodeid)
        if job is not None:
            job.run.guardian.watch(group)

    def ended(self, nodeid: str, outcome: StageOutcome) -> None:
        """A command has ended for good."""
        job = self._jobs.get(nodeid)
        if job is None:
            return
        self._assignments.released(job, "completed")
        self._finish(job, outcome)
        self.advance()

    def mark_of(self, nodeid: str) -> str:
        """What the processes of a command have in their environment."""
        job = self._jobs[nodeid]
        return job.manager.mark_of(job.request.stage_id)

    def nested(self, nodeid: str) -> set[int]:
        """The processes of runs that a command has started."""
        job = self._jobs.get(nodeid)
        return job.manager.nested() if job is not None else set()

    def lost(self, nodeid: str, cause: str, *, reason: LossCause = "auto") -> None:
        """Whatever ran a command is gone, and nobody will say how the command ends.

        It may have had any effect, so it is tried again only where the stage allows for that, or where
        it is known that it never began.

        Args:
            nodeid: The item's.
            cause: What became of it, as a sentence without its stop.
            reason: ``missed-heartbeat`` where silence is all that is known, or ``auto``.
        """
        job = self._jobs[nodeid]
        job.run.guardian.forget_empty()
        cancelled_by = (self._halt.by or END_OF_SESSION) if self._halt.requested else None
        told = job.told_outcome(cancelled_by)
        if told is not None:
            self._assignments.released(job, "completed")
            self._finish(job, told)
            return
        stopping = self._stopping or cancelled_by is not None
        again = not stopping and job.may_be_tried_again
        outcome = job.lost_outcome(cause, cancelled_by, self._duration_ms(job))
        for event in job.missing_lines(outcome, self._now(), again=again):
            self.said(nodeid, event)
        if again and job.begun is not None:
            self.failed(nodeid, replace(outcome, frames=job.frames))
        action = "requeue" if again else "escalate"
        checkpoint = Checkpoint(reason=reason, action=action, detail=f"{job.request.stage_id}: {cause}")  # type: ignore[arg-type]
        self._assignments.released(job, "requeued" if again else "failed", checkpoint)
        if again:
            self._jobs[nodeid] = job.tried_again()
            self._again.append(nodeid)
        else:
            self._finish(job, replace(outcome, frames=job.frames))

    def give_up(self, cause: str) -> None:
        """No engine is left: end what waits to be tried again."""
        while self._again:
            job = self._jobs[self._again.popleft()]
            self._finish(job, job.lost_outcome(cause, self._halt.by, self._duration_ms(job)))

    def abandon(self, error: BaseException) -> None:
        """Something broke the session: end what runs; how that ends is written down, and no item goes on."""
        self._breakdown, self._stopping = error, True
        by = LOSS_OF_EVIDENCE if self._halt.error is not None else END_OF_SESSION
        self._engine.cancel(signal.SIGTERM, by)
        self.give_up("The session ended before it could be tried again")

    def warn(self, text: str) -> None:
        """Have the summaries of the session's runs say something."""
        self._stages.warn(text)

    # How.

    def _heed_the_session(self) -> None:
        """Where the session has seen enough (``-x``, a signal), end what runs, and begin no more."""
        why = self._stages.stop()
        if self._stopping or (why is None and not self._halt.requested):
            return
        self._stopping = True
        if why is not None and not self._halt.requested:
            self._engine.cancel(signal.SIGTERM, why)
        self.give_up("The session ended before it could be tried again")

    def _has_room(self, nodeid: str) -> bool:
        return not self._needs_engine(nodeid) or self._engine.free()

    def _needs_engine(self, nodeid: str) -> bool:
        """Asked of items whose needs have all ended, so the answer stays."""
        if nodeid not in self._has_command:
            self._has_command[nodeid] = self._stages.has_command(nodeid)
        return self._has_command[nodeid]

    def _start(self, nodeid: str) -> None:
        run = self._stages.run_of(nodeid)
        if run.manager is None:
            raise RuntimeError(f"{nodeid}: its run is not open")
        started, monotonic = self._clock.now(), self._clock.monotonic()
        with self._halt.recording():
            request = run.manager.start(nodeid.rpartition("::")[2])
        job = self._jobs[nodeid] = Job(nodeid, run, run.manager, request, started, monotonic)
        self._hand_over(job)

    def _hand_over(self, job: Job) -> None:
        self._halt.running = True
        job.place = self._engine.start(job.nodeid, job.request, job.run)
        self._assignments.assigned(job, self._engine.size)

    def _finish(self, job: Job, outcome: StageOutcome) -> None:
        del self._jobs[job.nodeid]
        self._halt.running = bool(self._jobs)
        job.run.guardian.forget_empty()
        outcome = replace(outcome, retried=outcome.retried or job.tried_before)
        if self._breakdown is None:
            executed = Executed(outcome, job.started, self._duration_ms(job) / 1000, job.place.node)
            self._stages.take_up(job.nodeid, executed)
        else:
            self._stages.write_down(job.nodeid, outcome, self._breakdown)
        self._queue.end(job.nodeid)

    def _duration_ms(self, job: Job) -> int:
        return round((self._clock.monotonic() - job.clock_started) * 1000)

    def _record(self, job: Job, event: Event) -> None:
        with self._halt.recording():
            job.manager.record(event)

    def _now(self) -> str:
        return timestamp(self._clock.now())
