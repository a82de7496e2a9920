"""What the evidence says of workers: what they were given, and what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.engine.jobs import Job
from codex_orchestrator.model.events import Event, SchedulerStarted, StageAssigned, StageReleased
from codex_orchestrator.model.scheduler import AttemptOutcome, Checkpoint


class Assignments:
    """Records which worker has which command; of commands that run in this process, nothing."""

    def __init__(self, record: Callable[[Job, Event], None], clock: Clock) -> None:
        """Nothing is recorded yet.

        Args:
            record: Takes an event into the run of a job.
            clock: Time.
        """
        self._record = record
        self._clock = clock
        self._begun: set[str] = set()
        # By node id, when its worker was given it; by worker, all such moments.
        self._since: dict[str, str] = {}
        self._moments: defaultdict[str, set[str]] = defaultdict(set)

    def assigned(self, job: Job, workers: int) -> None:
        """A command was given to a worker; ``workers`` is how many there are."""
        if job.place.instance_id is None:
            return
        if job.run.nodeid not in self._begun:
            self._begun.add(job.run.nodeid)
            started = SchedulerStarted(min_instances=1, max_instances=workers, timestamp=self._now())
            self._record(job, started)
        since = self._since[job.nodeid] = self._moment(job.place.instance_id)
        assigned = StageAssigned(
            stage_id=job.request.stage_id,
            instance_id=job.place.instance_id,
            timestamp=since,
            index=job.request.index,
        )
        self._record(job, assigned)

    def released(self, job: Job, outcome: AttemptOutcome, checkpoint: Checkpoint | None = None) -> None:
        """A worker has a command no more."""
        if job.place.instance_id is None:
            return
        released = StageReleased(
            stage_id=job.request.stage_id,
            instance_id=job.place.instance_id,
            outcome=outcome,
            assigned_at=self._since.pop(job.nodeid, None),
            checkpoint=checkpoint,
            timestamp=self._now(),
            index=job.request.index,
        )
        self._record(job, released)

    def _moment(self, worker: str) -> str:
        """Now, or as soon after as the worker was given nothing else: moments tell its commands apart."""
        moment, known = self._clock.now(), self._moments[worker]
        while timestamp(moment) in known:
            moment += 0.001
        known.add(timestamp(moment))
        return timestamp(moment)

    def _now(self) -> str:
        return timestamp(self._clock.now())
