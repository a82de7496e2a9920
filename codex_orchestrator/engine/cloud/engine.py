"""The engine of sessions in which stages run on a Dask cluster, beside others in this process.

A thread waits for each command, as where all of them run here (`engine.threads`); what is executed elsewhere
is the attempt alone, so that events, retries and outcomes come from the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from queue import Full

from codex_orchestrator.clock import Clock
from codex_orchestrator.engine.cloud.cluster import Cluster
from codex_orchestrator.engine.cloud.remote import RemoteAttempt, Worker
from codex_orchestrator.engine.cloud.travelling import LookingExecutor, Refused, TravellingTree, WithOutputs
from codex_orchestrator.engine.dispatcher import Dispatcher
from codex_orchestrator.engine.jobs import Place
from codex_orchestrator.engine.messages import Placed
from codex_orchestrator.engine.runs import PipelineRun
from codex_orchestrator.engine.threads import MoreRoom, ThreadEngine
from codex_orchestrator.environment import stage_names
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution.executing import Execution, ExecutionLost, Executor, LocalExecutor
from codex_orchestrator.execution.leftovers import LeftProcess, named
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.privacy.policy import PrivacyPolicy
from codex_orchestrator.rules.stage import StageRequest

_MOST_AT_ONCE = 256


class ClusterExecutor:
    """Executes the attempts of one command on the cluster."""

    def __init__(
        self,
        cluster: Cluster,
        stage: CommandStage,
        cancellation: Cancellation,
        clock: Clock,
        *,
        tree: TravellingTree | None,
        needs: Mapping[str, float],
        variables: Collection[str],
        placed: Callable[[str], None],
    ) -> None:
        """Nothing is executed yet.

        Args:
            cluster: The cluster.
            stage: Whose command it is.
            cancellation: Ends the command.
            clock: Time.
            tree: Brings the work tree there; None where workers see it.
            needs: How much it needs of what on its worker.
            variables: The names of the variables that go with it; others are the worker's own.
            placed: Told where it runs.
        """
        self._cluster = cluster
        self._stage = stage
        self._cancellation = cancellation
        self._clock = clock
        self._tree = tree
        self._needs = needs
        self._variables = variables
        self._placed = placed

    def prepare(self, request: StageRequest) -> Execution:
        """Wait for a worker that starts it.

        Raises:
            ExecutionLost: None has.
        """
        environ = {name: request.environ[name] for name in self._variables if name in request.environ}
        # What must not come out of it, and what must, is looked for here: no worker has to be told of it.
        sent = replace(request, environ=environ, privacy=PrivacyPolicy(), expected=None)
        attempt = RemoteAttempt(
            self._cluster.number(),
            sent,
            self._needs,
            self._cancellation,
            self._clock,
            goes_at_once=self._tree is None,
        )
        self._cluster.submit(attempt)
        try:
            worker = attempt.wait_for_worker()
        except ExecutionLost:
            self._cluster.forget(attempt)
            raise
        self._placed(worker.name)
        return attempt if self._tree is None else self._with_tree(self._tree, attempt, worker, sent)

    def _with_tree(
        self, tree: TravellingTree, attempt: RemoteAttempt, worker: Worker, request: StageRequest
    ) -> Execution:
        try:
            root = tree.bring(worker, self._stage, lambda: self._cancellation.requested)
        except OrchestratorError as error:
            attempt.drop()
            return Refused(error.message)
        except BaseException:
            attempt.drop()
            raise
        if root is None:
            attempt.drop()
            raise ExecutionLost("It was cancelled before it began")
        attempt.go(tree.there(request, root))
        outputs = self._stage.outputs
        return WithOutputs(attempt, lambda: tree.take_back(worker, outputs)) if outputs else attempt


class DaskEngine(ThreadEngine):
    """Runs cloud stages on a cluster, and up to so many others at once here."""

    def __init__(
        self,
        jobs: int,
        cluster: Cluster,
        clock: Clock,
        cancellation: Cancellation,
        *,
        stages: Mapping[str, CommandStage],
        tree: TravellingTree | None,
        variables: Collection[str],
        counts_resources: bool,
        line: Callable[[str], str],
    ) -> None:
        """Nothing runs yet.

        Args:
            jobs: How many commands to run here at once.
            cluster: Where the others run; it is open.
            clock: Time.
            cancellation: Ends them all.
            stages: What runs on the cluster, by node id.
            tree: Brings the work tree to workers; None where they see it.
            variables: The names of variables of this process that go with each command.
            counts_resources: Whether what stages need is looked for on workers.
            line: Makes a command line one that may be shown.
        """
        super().__init__(jobs, clock, cancellation)
        self._jobs = jobs
        self._cluster = cluster
        self._stages = stages
        self._tree = tree
        self._variables = frozenset(variables)
        self._counts_resources = counts_resources
        self._line = line
        self._there = 0
        cluster.grown = self._grown

    @property
    def size(self) -> int:
        """How many commands run at once, here and there."""
        return self._jobs + self._room

    @size.setter
    def size(self, value: int) -> None:
        self._jobs = value

    @property
    def _room(self) -> int:
        """How many commands the cluster is given at once: one at least, so that it hears of what waits."""
        return max(1, min(self._cluster.size, _MOST_AT_ONCE))

    def free(self, nodeid: str) -> bool:
        """Whether a command may be started where it belongs."""
        if nodeid in self._stages:
            return self._there < self._room
        return len(self._threads) - self._there < self._jobs

    def start(self, nodeid: str, request: StageRequest, run: PipelineRun) -> Place:
        """Run a command in a thread of its own, or wait there for its end on the cluster."""
        self._there += nodeid in self._stages
        return super().start(nodeid, request, run)

    def _forget(self, nodeid: str) -> None:
        super()._forget(nodeid)
        self._there -= nodeid in self._stages

    def _grown(self) -> bool:
        try:
            self._said.put_nowait(MoreRoom())
        except Full:
            return False
        return True

    def executor(self, nodeid: str, run: PipelineRun, cancellation: Cancellation) -> Executor | None:
        """The cluster for cloud stages; for others, what tells the tree of what they make."""
        stage = self._stages.get(nodeid)
        if stage is None:
            return self._looking(nodeid, run, cancellation)
        needs = (stage.resources or {}) if self._counts_resources else {}
        return ClusterExecutor(
            self._cluster,
            stage,
            cancellation,
            self._clock,
            tree=self._tree,
            needs=dict(needs),
            variables=self._variables | (stage.env or {}).keys() | stage_names(),
            placed=lambda worker: self._said.put(Placed(nodeid, worker)),
        )

    def _looking(self, nodeid: str, run: PipelineRun, cancellation: Cancellation) -> Executor | None:
        stage = run.planned.pipeline.stage(nodeid.rpartition("::")[2])
        outputs = stage.outputs if isinstance(stage, CommandStage) else None
        if self._tree is None or not outputs or run.manager is None:
            return None
        here = LocalExecutor(self._clock, cancellation, run.guardian, run.manager.nested)
        return LookingExecutor(here, self._tree, outputs)

    def drive(self, dispatcher: Dispatcher) -> None:
        """Run everything, and end what was left running on workers."""
        try:
            super().drive(dispatcher)
        finally:
            for worker, left in self._cluster.close().items():
                found = [LeftProcess(pid, command) for pid, command in left]
                dispatcher.warn(f"Ended what stages left running on {worker}: {named(found, self._line)}.")
