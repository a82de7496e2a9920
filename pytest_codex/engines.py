"""Which engine runs a session's commands; each is imported only where it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pytest

from codex_orchestrator.engine.preparation import Prepared, cluster_of
from codex_orchestrator.errors import OrchestratorError, UsageError
from codex_orchestrator.execution import limits
from pytest_codex.messages import tell

if TYPE_CHECKING:
    from codex_orchestrator.engine.cloud.opening import OpenCluster
    from codex_orchestrator.engine.protocol import DrivenEngine
    from codex_orchestrator.execution.signals import Cancellation
    from pytest_codex.controller import Controller

# Each takes a thread and a few descriptors.
_MOST_JOBS = 256


def jobs_of(asked: str | None) -> int:
    """How many stages to run at once: a number, ``auto`` for one per processor, 1 where nobody asked.

    Raises:
        UsageError: It is neither.
    """
    if asked is None:
        return 1
    if asked == "auto":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores, limits.most_commands(), _MOST_JOBS)
    if not (asked.isascii() and asked.isdecimal() and 0 < int(asked) <= _MOST_JOBS):
        raise UsageError(f'"{asked}" is not a number of jobs.', hint=f"Pass 1 to {_MOST_JOBS}, or auto.")
    return int(asked)


def require_room(prepared: Sequence[Prepared], *, jobs: int, workers: int = 0) -> None:
    """Have as many files allowed as so many stages at once need.

    Raises:
        UsageError: That is more than this process may have.
    """
    trees = [each.planned for each in prepared]
    commands = 0 if workers else min(jobs, sum(tree.stages for tree in trees))
    least = limits.needed(commands=commands, runs=max(tree.levels for tree in trees), workers=workers)
    # Runs are open from their first stage to their last, and others may come in between.
    most = limits.needed(commands=commands, runs=sum(tree.runs for tree in trees), workers=workers)
    allowed = limits.make_room(most)
    if allowed < least:
        what = f"{workers} workers" if workers else f"{commands} stages at once"
        raise UsageError(
            f"{what} may need {least} open files, and {allowed} are allowed here.",
            hint="Ask for fewer, or raise the limit (ulimit -n).",
        )


def engine_plugin(controller: Controller, *, jobs: int, distributed: bool = False) -> object | None:
    """The plugin that runs stages at once, or None where pytest's own loop runs one after the other.

    Raises:
        UsageError: A cluster and xdist's workers are asked for.
    """
    on_cluster = any(cluster_of(each) is not None for each in controller.prepared)
    if distributed and on_cluster:
        raise UsageError(
            "Stages on a cluster do not go together with pytest-xdist's workers.",
            hint="Leave out -n and --tx: --codex-jobs runs other stages at once; "
            "or pass --codex-execution-mode mcp.",
        )
    if distributed:
        from pytest_codex.scheduling import StageScheduling

        return StageScheduling(controller)
    if on_cluster:
        return ClusterLoop(controller, jobs)
    if jobs > 1:
        from codex_orchestrator.engine.threads import ThreadEngine

        return EngineLoop(controller, partial(ThreadEngine, jobs, controller.clock))
    return None


def _tell(message: str) -> None:
    tell(f"codex-orchestrator: {message}")


class EngineLoop:
    """The plugin whose loop has an engine run several stages at once."""

    def __init__(self, controller: Controller, made: Callable[[Cancellation], DrivenEngine]) -> None:
        """Nothing runs yet.

        Args:
            controller: The session's.
            made: Makes the engine, given what cancels its commands.
        """
        self._controller = controller
        self._made = made

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """In the place of pytest's, where there is something to run."""
        cancellation = self._controller.halt.cancellation
        if cancellation is None:
            return None
        engine = self._made(cancellation)
        engine.drive(self._controller.dispatcher(session, engine))
        self._controller.end_early(session)
        return True


class ClusterLoop(EngineLoop):
    """The same with a cluster, which is made ready when it is known which stages will run."""

    def __init__(self, controller: Controller, jobs: int) -> None:
        """Nothing is connected yet.

        Args:
            controller: The session's.
            jobs: How many stages that do not run on the cluster to run at once.
        """
        super().__init__(controller, self._engine)
        self._jobs = jobs
        self._opened: OpenCluster | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Connect, before any run is opened."""
        settings = next(filter(None, map(cluster_of, self._controller.prepared)), None)
        chosen = {item.nodeid for item in session.items}
        self._stages = {
            nodeid: stage
            for each in self._controller.prepared
            for nodeid, stage in each.planned.cloud_stages()
            if nodeid in chosen
        }
        if settings is None or not self._stages or session.config.getoption("collectonly"):
            return
        from codex_orchestrator.engine.cloud.opening import OpenCluster

        self._settings, resumed = settings, self._controller.prepared[0].resume
        try:
            self._opened = OpenCluster(
                settings,
                [stage.resources or {} for stage in self._stages.values()],
                self._controller.prepared[0].environment,
                clock=self._controller.clock,
                tell=_tell,
                resumed=resumed.run_id if resumed is not None else None,
            )
            require_room(self._controller.prepared, jobs=self._jobs + self._opened.cluster.size)
        except OrchestratorError as error:
            self._controller.halt.stop(error)

    def pytest_unconfigure(self) -> None:
        """End what was started for the session."""
        if self._opened is not None:
            self._opened.end()

    def _engine(self, cancellation: Cancellation) -> DrivenEngine:
        opened = self._opened
        if opened is None:
            from codex_orchestrator.engine.threads import ThreadEngine

            return ThreadEngine(self._jobs, self._controller.clock, cancellation)
        from codex_orchestrator.engine.cloud.engine import DaskEngine

        return DaskEngine(
            self._jobs,
            opened.cluster,
            self._controller.clock,
            cancellation,
            stages=self._stages,
            tree=opened.tree,
            variables=self._settings.settings.environment,
            counts_resources=opened.counts_resources,
            line=self._controller.prepared[0].options.guard.line,
        )
