"""A cluster made ready for a session's stages, or a refusal: before anything of a run is written."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from codex_orchestrator.clock import Clock
from codex_orchestrator.engine.cloud import facts, shared
from codex_orchestrator.engine.cloud.cluster import Cluster
from codex_orchestrator.engine.cloud.connection import Connection
from codex_orchestrator.engine.cloud.facts import WorkerFacts
from codex_orchestrator.engine.cloud.local import LocalCluster
from codex_orchestrator.engine.cloud.settings import ClusterSettings
from codex_orchestrator.engine.cloud.travelling import TravellingTree
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.model.definitions import CloudSettings
from codex_orchestrator.workspace.sender import RETURNED, Sender

_LOOK_SECONDS = 0.1


class OpenCluster:
    """A cluster whose workers can run what they will be given.

    Attributes:
        cluster: What attempts are given to.
        tree: Brings the work tree to workers; None where they see it.
        counts_resources: Whether what stages need is looked for on workers: not on a cluster of this machine.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        needs: Sequence[Mapping[str, float]],
        environment: Environment,
        *,
        clock: Clock,
        tell: Callable[[str], None],
        resumed: str | None = None,
    ) -> None:
        """Connect, or start it.

        Args:
            settings: Which cluster, and how.
            needs: What each stage needs of its worker.
            environment: Where the run is.
            clock: Time.
            tell: Tells a person what should not have to be waited for.
            resumed: The run that is taken up again, or None: what was left of it on workers is ended.

        Raises:
            OrchestratorError: It cannot run these stages.
        """
        self._clock = clock
        self._tell = tell
        self._root = environment.root
        self._local: LocalCluster | None = None
        self.tree: TravellingTree | None = None
        address = settings.address
        self.counts_resources = bool(address)
        if not address:
            self._local = LocalCluster(settings.local_workers, environment.variables, clock)
            address = self._local.address
        seconds = settings.settings.connect_seconds
        try:
            self._connection = Connection(address, seconds=seconds)
        except BaseException:
            if self._local is not None:
                self._local.close()
            raise
        try:
            self._wait_for_workers(needs, seconds)
            self._require_compatible()
            self.tree = self._tree(settings.settings, environment)
            self.cluster = Cluster(
                self._connection,
                self._admit,
                loss_seconds=settings.settings.loss_seconds,
                clock=clock,
                tell=tell,
            )
            if resumed is not None:
                self.cluster.end(resumed)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """End what was started here; the connection was closed.

        Raises:
            StorageError: What came back cannot be removed.
        """
        self._connection.close()
        if self.tree is not None:
            self.tree.close()
        if self._local is not None:
            self._local.close()

    def _wait_for_workers(self, needs: Sequence[Mapping[str, float]], seconds: float) -> None:
        until, told = self._clock.monotonic() + seconds, None
        while True:
            workers = self._connection.look()
            wanted = needs if self.counts_resources else ({},)
            why = next((found for need in wanted if (found := facts.unmet(need, workers)) is not None), None)
            if why is None:
                return
            if self._clock.monotonic() >= until:
                raise OrchestratorError(
                    f"{why}: waited {seconds:g} s at {self._connection.address}.",
                    hint="Start workers (dask worker, with --resources where stages need some), "
                    "or raise cloud.connectSeconds.",
                )
            if why != told:
                self._tell(f"{why}: waiting for that, {seconds:g} s at most.")
                told = why
            self._clock.sleep(_LOOK_SECONDS)

    def _require_compatible(self) -> None:
        workers = {worker.address: worker.name for worker in self._connection.workers.values()}
        for address, probed in self._connection.evaluate(facts.PROBE, workers).items():
            why = facts.incompatible(probed)
            if why is not None:
                raise OrchestratorError(
                    f"Worker {workers[address]} cannot run stages: {why}.",
                    hint="Start workers with the Python that runs codex-orchestrator.",
                )

    def _tree(self, settings: CloudSettings, environment: Environment) -> TravellingTree | None:
        """How the work tree gets to workers; None where they see it."""
        workers = {worker.address: worker.name for worker in self._connection.workers.values()}
        blind: list[str] = []
        if settings.workspace != "snapshot":
            blind = shared.blind(self._root, workers, self._connection.evaluate)
        if blind and settings.workspace == "shared":
            raise OrchestratorError(
                f"Worker {workers[blind[0]]} does not see {self._root}, and cloud.workspace is shared.",
                hint="Put the repository where all workers see it under the same path, or let it travel.",
            )
        if not blind and settings.workspace != "snapshot":
            return None
        runs_dir = environment.runs_dir
        sender = Sender(
            self._root,
            runs_dir / RETURNED,
            secrets.token_hex(8),
            protected=(runs_dir, environment.out_dir),
        )
        sender.take(settings, environment.variables, runs_dir, self._clock)
        return TravellingTree(sender, self._root)

    async def _admit(self, worker: WorkerFacts) -> str | None:
        """Why a worker that is about to get its first stage may not have it."""
        probed = (await self._connection.evaluated(facts.PROBE, [worker.address]))[worker.address]
        why = facts.incompatible(probed)
        if why is not None or self.tree is not None:
            return why
        with shared.word_in(Path(self._root)) as (expression, word):
            answer = (await self._connection.evaluated(expression, [worker.address]))[worker.address]
        return None if answer == word else f"it does not see {self._root}"
