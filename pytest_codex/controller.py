"""Owns a session: pytest's hooks in, runs opened and closed around its stages."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING

import pytest

from codex_orchestrator.clock import SystemClock
from codex_orchestrator.definitions.graph import Work
from codex_orchestrator.engine.halt import Halt
from codex_orchestrator.engine.preparation import Prepared, modified
from codex_orchestrator.engine.runs import SessionRuns
from codex_orchestrator.execution import signals
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.model.manifest import Manifest
from pytest_codex.bus import EventBus, chunks_kept
from pytest_codex.leaving import leave
from pytest_codex.messages import tell
from pytest_codex.nodes import PipelineNode, StageItem
from pytest_codex.plugins_for_tests import PathlessCollection
from pytest_codex.stages import Stages

if TYPE_CHECKING:
    from codex_orchestrator.engine.dispatcher import Dispatcher
    from codex_orchestrator.engine.protocol import Engine
    from codex_orchestrator.rules.approvals import Ask


class Controller(PathlessCollection):
    """The plugin that runs pipelines in this session.

    Attributes:
        prepared: What will run.
        halt: What ended the session early.
        runs: The runs of the pipelines, and those of their sub-pipelines.
        stages: What items ask.
        work: All stages of the session, with what they wait for and need.
        clock: Time.
    """

    def __init__(self, prepared: Sequence[Prepared], ask: Ask | None = None) -> None:
        """Nothing is opened yet.

        Args:
            prepared: What will run.
            ask: Asks a person to decide on a manual stage; None where nobody is to be asked.
        """
        self.prepared = tuple(prepared)
        self.halt = Halt(leave)
        self.runs: SessionRuns
        self.stages: Stages
        self.work: Work
        self.clock = SystemClock()
        self._ask = ask

    @property
    def manifests(self) -> list[Manifest]:
        """The runs of the pipelines that were asked for as they are now, as far as they were opened."""
        roots = getattr(self, "runs", None)
        return [root.manager.manifest for root in roots.roots if root.manager] if roots else []

    def scrub(self, text: str) -> str:
        """A text without what the privacy guards of the runs find in it."""
        for run in getattr(self, "runs", ()):
            if run.manager is not None:
                text = run.manager.guard.scrub(text)
        return text

    def plan(self, config: pytest.Config) -> None:
        """Let plugins change what will run, now that they are all there, and get ready to tell them.

        Raises:
            UsageError: What they make of it cannot be run, or the environment asks for what cannot be.
        """
        kept = chunks_kept(self.prepared[0].environment)
        bus = EventBus(config, self.halt, guard=self.prepared[0].options.guard, chunks_kept=kept)
        self.prepared = tuple(modified(each, bus.modified) for each in self.prepared)
        self.runs = SessionRuns(self.prepared, self.clock, _notify, bus.observe)
        self.stages = Stages(self.runs, self.clock, self.halt, self._ask)
        self.work = reduce(or_, (each.planned.work() for each in self.prepared))

    # Collection: the stages are the session's only items.

    def collected(self, session: pytest.Session) -> list[pytest.Item | pytest.Collector]:
        """The pipelines."""
        return [
            PipelineNode.from_parent(
                session,
                name=each.pipeline.id,
                nodeid=each.pipeline.id,
                planned=each.planned,
                runner=self.stages,
            )
            for each in self.prepared
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Apply ``--only`` and ``--from``; order first, as ``--stepwise`` goes by places."""
        selected = {
            (each.pipeline.id, stage_id) for each in self.prepared for stage_id in each.planned.selected
        }
        left_out = [item for item in items if _first_stage(item) not in selected]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        items[:] = self._ordered(item for item in items if _first_stage(item) in selected)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Undo what plugins and options that reorder tests did."""
        session.items[:] = self._ordered(session.items)

    def _ordered(self, items: Iterable[pytest.Item]) -> list[pytest.Item]:
        order = {nodeid: place for place, nodeid in enumerate(self.work.order())}
        return sorted(items, key=lambda item: order[item.nodeid])

    # The run.

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Open the runs around the loop, whichever it is, and close them whatever ends it."""
        if session.config.getoption("collectonly") or not session.items:
            return (yield)
        cancellation = self.halt.cancellation = Cancellation()

        def signalled(number: int) -> None:
            self.halt.signalled(partial(setattr, session, "shouldstop"), number)

        with closing(cancellation), signals.caught(signalled, waker=cancellation.waker):
            try:
                with self.halt.recording():
                    self.runs.expect(item.nodeid for item in session.items)
                    self.runs.open()
                return (yield)
            finally:
                by = self.halt.conclude()
                with self.halt.recording():
                    self.runs.close(by)

    def dispatcher(self, session: pytest.Session, engine: Engine) -> Dispatcher:
        """What runs the session's items at once, on an engine."""
        from codex_orchestrator.definitions.schedule import ReadyQueue
        from codex_orchestrator.engine.dispatcher import Dispatcher
        from pytest_codex.item_stages import ItemStages

        # Nobody is kept waiting by a decision, unless a person has to be asked for it.
        late = self.work.late if self._ask else ()
        work = Work(self.work.waits, self.work.resources, late).only([i.nodeid for i in session.items])
        capacities = self.prepared[0].definitions.configuration.resources or {}
        stages = ItemStages(session, self.stages)
        return Dispatcher(stages, self.halt, ReadyQueue(work, capacities), engine, self.clock)

    def end_early(self, session: pytest.Session) -> None:
        """End the session as pytest's own loop would have.

        Raises:
            pytest.Session.Failed: It has seen enough failures.
            pytest.Session.Interrupted: Something has asked it to stop.
        """
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def name_undone(self, nodeids: Iterable[str], why: str) -> None:
        """Have the summaries of runs name the stages that were never run."""
        undone: dict[str, list[str]] = {}
        for nodeid in nodeids:
            above, _, name = nodeid.rpartition("::")
            undone.setdefault(above, []).append(name)
        for run in self.runs:
            if names := undone.get(run.nodeid):
                run.warnings.append(f"Not run, as {why}: {', '.join(names)}.")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """A run that did not succeed must not look green: not where no test failed, nor to other plugins."""
        self._tell_failure(session)
        try:
            return (yield)
        finally:
            self._tell_failure(session)

    def _tell_failure(self, session: pytest.Session) -> None:
        failed = any(manifest.status != "succeeded" for manifest in self.manifests)
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run a stage once, whatever plugins that repeat tests would make of it."""
        if not isinstance(item, StageItem):
            return None
        self.stages.run_protocol(item, nextitem)
        return True

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        """pytest-timeout is for tests; a stage has ``timeoutSeconds``."""
        return True if isinstance(item, StageItem) else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep report and entry in step."""
        report = yield
        if isinstance(item, StageItem):
            self.stages.keep_in_step(item, call, report)
        return report


def _first_stage(item: pytest.Item) -> tuple[str, str]:
    """The pipeline that was asked for, and the stage of it, which an item belongs to."""
    pipeline, stage_id = item.nodeid.split("::")[:2]
    return pipeline, stage_id


def _notify(message: str) -> None:
    # Where nobody listens any more, the run's summary still says it.
    tell(f"codex-orchestrator: {message}")
