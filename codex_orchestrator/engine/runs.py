"""The runs of a session: those of the pipelines asked for, and those of the pipelines that stages run.

A stage's own run is opened when the first of its stages is about to run, and closed after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from codex_orchestrator.clock import Clock
from codex_orchestrator.definitions.planner import Planned
from codex_orchestrator.engine.lifecycle import LiveRun, open_run
from codex_orchestrator.engine.manager import Obstacle, TaskManager
from codex_orchestrator.engine.preparation import Prepared
from codex_orchestrator.engine.source import SourceLook, SourceRecord
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.model.definitions import SubpipelineStage
from codex_orchestrator.model.events import Event
from codex_orchestrator.model.manifest import TERMINAL, Manifest
from codex_orchestrator.rules.layout import RunLayout, TaskLayout

ObserveRun = Callable[[str, Manifest, Event, Manifest], object]


class PipelineRun:
    """A pipeline of the session and, once it is opened, its run.

    Attributes:
        prepared: What was asked for, and led here.
        planned: The pipeline.
        nodeid: Its collector's.
        parent: The run one of whose stages this is, or None.
        stage_id: That stage's id; empty where there is no parent.
        manager: The run, once it is open.
        guardian: What ends its processes if this one dies.
        left: How many of its items have not ended yet.
        warnings: What its summary has to say of how the session went.
    """

    def __init__(
        self,
        prepared: Prepared,
        planned: Planned,
        nodeid: str,
        parent: PipelineRun | None = None,
        stage_id: str = "",
    ) -> None:
        self.prepared = prepared
        self.planned = planned
        self.nodeid = nodeid
        self.parent = parent
        self.stage_id = stage_id
        self.children = [
            PipelineRun(prepared, child, f"{nodeid}::{name}", self, name)
            for name, child in planned.children.items()
        ]
        self.manager: TaskManager | None = None
        self.guardian = Guardian()
        self.left = 0
        self.warnings: list[str] = []
        self.closed = False
        self._selected: set[str] = set()

    def __iter__(self) -> Iterator[PipelineRun]:
        """This run and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child

    @property
    def lineage(self) -> list[PipelineRun]:
        """The runs from the session's first down to this one."""
        return [*(self.parent.lineage if self.parent else []), self]

    @property
    def selected(self) -> frozenset[str]:
        """The ids of its stages that this session means to run."""
        return frozenset(self._selected)

    def expect(self, stage_id: str) -> None:
        """One more item is to come: a stage of this run, or below one."""
        self._selected.add(stage_id)
        self.left += 1
        if self.parent is not None:
            self.parent.expect(self.stage_id)

    @property
    def is_optional(self) -> bool:
        """Whether this run, or one above it, may fail without its parent failing."""
        return any(run.stage.optional for run in self.lineage[1:])

    @property
    def stage(self) -> SubpipelineStage:
        """The parent's stage that this run is."""
        stage = self.parent.planned.pipeline.stage(self.stage_id) if self.parent else None
        if not isinstance(stage, SubpipelineStage):
            raise TypeError(f"{self.nodeid} is no stage's run")
        return stage


class SessionRuns:
    """Opens and closes the runs of a session as its items need them.

    Attributes:
        roots: The runs of the pipelines that were asked for.
    """

    def __init__(
        self, prepared: Sequence[Prepared], clock: Clock, notify: Callable[[str], None], observe: ObserveRun
    ) -> None:
        """Nothing is opened yet.

        Args:
            prepared: What will run.
            clock: Time.
            notify: Told at once of what a person should not have to wait for.
            observe: Told of each event, with the node id of its run first.
        """
        self._clock = clock
        self._notify = notify
        self._observe = observe
        self.roots = [PipelineRun(each, each.planned, each.pipeline.id) for each in prepared]
        self._skipped: set[tuple[str, str]] = set()
        self._by_node = {run.nodeid: run for run in self}
        self._look = prepared[0].look

    def __iter__(self) -> Iterator[PipelineRun]:
        """All runs, parents first."""
        for root in self.roots:
            yield from root

    def of(self, nodeid: str) -> PipelineRun:
        """The run that a stage belongs to."""
        return self._by_node[nodeid.rpartition("::")[0]]

    def expect(self, nodeids: Iterable[str]) -> None:
        """Say which items will come."""
        for nodeid in nodeids:
            self.of(nodeid).expect(nodeid.rpartition("::")[2])

    def obstacle(self, run: PipelineRun, stage_id: str) -> Obstacle | None:
        """What keeps a stage from running, in its own run or in one above; noted where it was found."""
        names = [*(below.stage_id for below in run.lineage[1:]), stage_id]
        for above, name in zip(run.lineage, names, strict=True):
            if above.manager is None:
                return None
            obstacle = above.manager.obstacle(name)
            if obstacle is not None:
                if (above.nodeid, name) not in self._skipped:
                    self._skipped.add((above.nodeid, name))  # Said once, for all stages below it.
                    above.manager.skip(name, obstacle.stage_id)
                named = "::".join(filter(None, (above.nodeid, obstacle.stage_id)))
                return Obstacle(named, obstacle.what)
            if above is not run and above.manager.entry(name).status == "failed":
                return Obstacle(f"{above.nodeid}::{name}", "failed")
        return None

    def is_done(self, run: PipelineRun, stage_id: str) -> bool:
        """Whether a stage had succeeded before this session, by itself or with the run that it belongs to."""
        names = [*(below.stage_id for below in run.lineage[1:]), stage_id]
        return any(
            above.manager is not None
            and (above.manager.live.done or above.manager.entry(name).status == "succeeded")
            for above, name in zip(run.lineage, names, strict=True)
        )

    def enter(self, run: PipelineRun) -> TaskManager:
        """The run's manager, with the run opened where it was not yet, and those above it.

        Raises:
            OrchestratorError: It cannot be opened.
        """
        if run.manager is not None:
            return run.manager
        parent = self.enter(run.parent) if run.parent is not None else None
        self._look = self._look or SourceLook(run.prepared.environment)
        live = self._live_run(run, parent)
        manager = TaskManager(
            run.prepared.environment,
            run.planned.pipeline,
            run.planned.plan,
            live,
            limits=run.prepared.definitions.configuration.limits,
            requirements=run.planned.requirements,
            selected=run.selected,
            clock=self._clock,
            source=SourceRecord(live.layout, self._look, self._clock, resumed=live.starts > 1),
        )
        run.manager = manager
        run.guardian.start(manager.mark, manager.layout.folder)
        if parent is not None:
            from codex_orchestrator.engine import gates

            gates.note_child(parent, manager, self._clock, stage_id=run.stage_id)
        return manager

    def open(self) -> None:
        """Open the runs of the pipelines that were asked for; those of stages follow when they begin.

        Raises:
            OrchestratorError: One cannot be opened.
        """
        for root in self.roots:
            if root.left:
                self.enter(root)

    def finish_item(self, nodeid: str, cancelled_by: str | None) -> None:
        """An item has ended: close each run of which it was the last, but for a session's only one.

        That one is closed at the session's end, when no signal can come between.

        Args:
            nodeid: The item's.
            cancelled_by: The signal that has cancelled the session, or None.

        Raises:
            StorageError: The evidence cannot be written.
        """
        own = self.of(nodeid)
        if own.manager is not None:
            own.manager.late.read_on(own.manager.entry(nodeid.rpartition("::")[2]).index)
        for run in reversed(own.lineage):
            run.left -= 1
            if run.left == 0 and (run.parent is not None or len(self.roots) > 1):
                self._close(run, cancelled_by)

    def close(self, cancelled_by: str | None) -> None:
        """Close whatever is open, the innermost first.

        Args:
            cancelled_by: The signal that cancelled the session, or None.

        Raises:
            StorageError: The evidence cannot be written.
        """
        for run in reversed(list(self)):
            self._close(run, cancelled_by)

    def _close(self, run: PipelineRun, cancelled_by: str | None) -> None:
        if run.manager is None or run.closed:
            return
        run.closed = True
        run.guardian.forget_empty()
        try:
            manifest = run.manager.close(
                cancelled_by=cancelled_by,
                groups=run.guardian.groups,
                warnings=[*run.guardian.warnings, *run.warnings],
            )
        finally:
            run.guardian.dismiss()
        key = run.prepared.options.signing_key
        if key is not None and manifest.status in TERMINAL:
            from codex_orchestrator.engine.signing import sign_or_tell

            sign_or_tell(run.manager.layout, key, self._clock, self._notify)
        parent = run.parent.manager if run.parent is not None else None
        if parent is not None:
            from codex_orchestrator.engine import gates

            # In this order: what a stage that has succeeded says of its run is never looked at again.
            gates.note_child(parent, run.manager, self._clock)
            gates.complete_child(parent, run.stage, manifest)

    def _live_run(self, run: PipelineRun, parent: TaskManager | None) -> LiveRun:
        prepared, pipeline, target = run.prepared, run.planned.pipeline, run.planned.plan.targetId
        resume, options = prepared.resume, prepared.options
        observe = partial(self._observe, run.nodeid)
        task = TaskLayout(prepared.environment, options.task_id)
        if parent is not None:
            from codex_orchestrator.engine.resuming import child_of

            known = child_of(task, parent.entry(run.stage_id), pipeline.id)
        else:
            known = task.run(resume.run_id) if resume else None
        announce = None
        if parent is not None:
            options = replace(options, parent_run_id=parent.layout.run_id, parent=None)
            announce = partial(self._announce, parent, run)
        if known is not None:
            from codex_orchestrator.engine.resuming import Resume, resume_run

            request = resume.for_run(known.run_id) if resume else Resume(known.run_id)
            return resume_run(
                known,
                run.planned,
                request,
                options,
                target=target,
                clock=self._clock,
                notify=self._notify,
                observe=observe,
            )
        return open_run(
            prepared.environment,
            pipeline,
            options,
            target=target,
            clock=self._clock,
            notify=self._notify,
            observe=observe,
            announce=announce,
        )

    def _announce(self, parent: TaskManager, run: PipelineRun, layout: RunLayout) -> None:
        from codex_orchestrator.engine import gates

        gates.announce_child(parent, layout, run.planned.pipeline.id, run.stage_id, self._clock)
