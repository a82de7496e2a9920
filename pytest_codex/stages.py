"""What a stage's item asks for: to be run here, or to take up how it was run elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from codex_orchestrator.clock import Clock
from codex_orchestrator.engine.halt import Halt
from codex_orchestrator.engine.manager import TaskManager
from codex_orchestrator.engine.runs import PipelineRun, SessionRuns
from codex_orchestrator.errors import OrchestratorError, StorageError
from codex_orchestrator.execution.builder import CommandBuilder
from codex_orchestrator.model.definitions import CommandStage, ManualStage, SubpipelineStage
from codex_orchestrator.model.events import Event
from codex_orchestrator.model.manifest import CommandEntry, Manifest
from codex_orchestrator.rules.stage import StageOutcome
from codex_orchestrator.rules.verdict import execution_error
from codex_orchestrator.text import gist, one_line
from pytest_codex.leaving import LEAVING
from pytest_codex.nodes import FailureReport, StageFailed, StageItem
from pytest_codex.plugins_for_tests import run_by_pytest_alone

if TYPE_CHECKING:
    from codex_orchestrator.engine.jobs import Executed
    from codex_orchestrator.rules.approvals import Answer, Ask


class Stages:
    """Runs stages, and keeps their reports and entries in step."""

    def __init__(self, runs: SessionRuns, clock: Clock, halt: Halt, ask: Ask | None) -> None:
        """Nothing is run yet.

        Args:
            runs: The session's runs.
            clock: Time.
            halt: Ends the session early.
            ask: Asks a person to decide on a manual stage; None where nobody is to be asked.
        """
        self.runs = runs
        self._clock = clock
        self._halt = halt
        self._ask = ask
        self._executed: dict[str, Executed] = {}
        self._unopened: dict[str, OrchestratorError] = {}
        self._refused: set[str] = set()

    # What items ask.

    def prepare_stage(self, item: StageItem) -> None:
        """Skip a stage that another holds up; one that fails by a refusal does so in its call."""
        run = self.runs.of(item.nodeid)
        if item.nodeid in self._executed or self.runs.is_done(run, item.name):
            return
        if self._untold_refusal(run) is None:
            self._heed_obstacle(item, run)

    def run_stage(self, item: StageItem) -> None:
        """Run a stage, or take up how it ran, and record how it ended."""
        run = self.runs.of(item.nodeid)
        executed = self._executed.get(item.nodeid)
        if executed is not None and run.manager is not None:
            executed.taken_up = True
            self._conclude(item, run.manager, executed.outcome)
            return
        if self.runs.is_done(run, item.name):
            return
        if self._halt.requested:
            pytest.skip("the run is cancelled")
        self._heed_obstacle(item, run)
        manager = self._manager_of(run, item)
        self._halt.go_if_asked()
        # Once more, now that its run is open: that may have been refused.
        self._heed_obstacle(item, run)
        if self.runs.is_done(run, item.name):
            return
        stage = run.planned.shown.stage(item.name)
        if isinstance(stage, CommandStage) and stage.skip:
            with self._halt.recording():
                entry = _leave_out(manager, stage.id, stage.skip)
            pytest.skip(f"not run: {gist(entry.summary or '')}")
        if isinstance(stage, ManualStage):
            self._decide(item, manager, stage)
        else:
            self._execute(item, manager, run)

    # What the dispatcher asks.

    def is_for_an_engine(self, item: pytest.Item) -> bool:
        """Whether a stage has a command to run; what need not run, or is decided on, is done with here."""
        run = self.runs.of(item.nodeid)
        stage = run.planned.pipeline.stage(item.name)
        if not isinstance(stage, CommandStage) or stage.skip or self.runs.is_done(run, item.name):
            return False
        with self._halt.recording():
            if self.runs.obstacle(run, item.name) is not None:
                return False
        try:
            self.runs.enter(run)
        except OrchestratorError as error:
            self._unopened[item.nodeid] = error  # The item's own protocol deals with it.
            return False
        self._halt.go_if_asked()
        with self._halt.recording():
            return not self.runs.is_done(run, item.name) and self.runs.obstacle(run, item.name) is None

    def take_up(self, item: pytest.Item, executed: Executed) -> None:
        """Have an item go through pytest's protocol with what came of its command."""
        self._executed[item.nodeid] = executed
        try:
            self.report(item)
        finally:
            del self._executed[item.nodeid]
        manager = self.runs.of(item.nodeid).manager
        if not executed.taken_up and manager is not None:
            # Somebody's hook kept the item from its call, but the command has run.
            with self._halt.recording():
                manager.complete(item.name, executed.outcome)

    def write_down(self, item: StageItem, outcome: StageOutcome, broken_by: BaseException) -> None:
        """Record how a command ended after something has broken the session: nobody's hooks are called."""
        manager = self.runs.of(item.nodeid).manager
        if manager is None:
            raise RuntimeError(f"{item.nodeid}: its run is not open")
        with self._halt.recording():
            if outcome.status != "cancelled" or isinstance(broken_by, LEAVING):
                manager.complete(item.name, outcome)
                return
            raised = f"{type(broken_by).__name__}: {broken_by}".splitlines()[0].rstrip(": ")
            cause = f"Ended with the session, by {raised}"
            manager.end_stage(item.name, execution_error(manager.guard.scrub(cause)), outcome)

    def report(self, item: pytest.Item) -> None:
        """Have an item go through its protocol as in pytest's own loop, wrappers of plugins around it."""
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

    def run_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Run an item once, by pytest's own protocol: plugins that repeat tests are left out."""
        run_by_pytest_alone(item, nextitem)
        with self._halt.recording():
            self.runs.finish_item(item.nodeid, self._halt.by)

    def keep_in_step(self, item: StageItem, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        """Make report and entry say the same, whoever made the stage fail."""
        run, entry = self.runs.of(item.nodeid), self.entry(item)
        executed = self._executed.get(item.nodeid)
        if report.failed and run.manager is not None and entry is not None and entry.status != "failed":
            with self._halt.recording():
                if executed is not None and not executed.taken_up:
                    # Somebody's hook has failed in the place of its call, but the command has run.
                    executed.taken_up = True
                    entry = run.manager.complete(item.name, executed.outcome)
                if entry.status not in ("pending", "failed") or not _is_held_up(run, item.name):
                    run.manager.fail(item.name, _one_line(report, call))
        guard = run.prepared.options.guard
        if report.failed and guard.enforces and not isinstance(report.longrepr, FailureReport):
            # What hooks of plugins raise has been through no guard.
            report.longrepr = guard.scrub(report.longreprtext)
            report.sections = [(name, guard.scrub(text)) for name, text in report.sections]
        if report.skipped and isinstance(report.longrepr, tuple):
            report.longrepr = (item.nodeid, None, report.longrepr[2])  # type: ignore[assignment]
        if executed is not None and executed.node is not None:
            # In all phases: by it and the node id, JUnit tells test cases apart.
            report.node = executed.node  # type: ignore[attr-defined]
        if executed is not None and report.when == "call":
            report.start, report.duration = executed.started, executed.duration
            report.stop = executed.started + executed.duration

    def entry(self, item: pytest.Item) -> CommandEntry | None:
        """The manifest's entry of an item, or None where its run is not open."""
        manager = self.runs.of(item.nodeid).manager
        return manager.entry(item.name) if manager else None

    # How.

    def _execute(self, item: StageItem, manager: TaskManager, run: PipelineRun) -> None:
        cancellation = self._halt.cancellation
        if cancellation is None:
            raise RuntimeError(f"{item.nodeid}: the session is over")

        def record(event: Event) -> None:
            with self._halt.recording():
                manager.record(event)

        builder = CommandBuilder(
            record,
            manager.fail_attempt,
            self._clock,
            cancellation,
            run.guardian,
            manager.late,
            nested=manager.nested,
        )
        with self._halt.recording():
            request = manager.start(item.name)
            self._halt.running = True
            try:
                outcome = builder.run(request)
            finally:
                self._halt.running = False
        self._conclude(item, manager, outcome)

    def _conclude(self, item: StageItem, manager: TaskManager, outcome: StageOutcome) -> None:
        with self._halt.recording():
            entry = manager.complete(item.name, outcome)
        for stream in ("stdout", "stderr") if entry.status == "succeeded" else ():
            if text := getattr(outcome, stream):
                item.add_report_section("call", stream, "\n".join(map(one_line, text.split("\n"))))
        item.user_properties.extend(_properties(entry))
        if entry.status == "failed":
            self._skip_if_optional(item, entry)
            raise _failed(entry, outcome)
        if entry.status == "skipped":
            pytest.skip(f"allowed failure: {gist(entry.summary or '')}")

    def _skip_if_optional(self, item: StageItem, entry: CommandEntry) -> None:
        """A failure that the run of the pipeline does not fail by must not make the session fail."""
        if self.runs.of(item.nodeid).is_optional and not self._halt.requested:
            pytest.skip(f"failed, in an optional sub-pipeline: {gist(entry.summary or '')}")

    def _decide(self, item: StageItem, manager: TaskManager, stage: ManualStage) -> None:
        from codex_orchestrator.engine.gates import decide

        halt, ask = self._halt, self._ask

        def answer(manifest: Manifest, asked: ManualStage) -> Answer | None:
            # A signal must end the question, which otherwise waits for its answer.
            halt.asking = True
            try:
                return ask(manifest, asked) if ask and not halt.requested else None
            except KeyboardInterrupt:
                return None
            finally:
                halt.asking = False

        with halt.recording():
            entry = decide(manager, stage, self._clock, answer)
        if entry.status == "failed":
            self._skip_if_optional(item, entry)
            raise StageFailed(entry.title, entry.summary or "rejected", ())
        if halt.requested:
            pytest.skip("the run is cancelled")
        if entry.status == "pending":
            root = self.runs.of(item.nodeid).lineage[0].manager or manager
            from codex_orchestrator.views.failure import decision_help

            details = decision_help(stage, manager.layout.run_id, resumed=root.layout.run_id)
            raise StageFailed(entry.title, "waits for approval", details, waits=True)

    def _heed_obstacle(self, item: StageItem, run: PipelineRun) -> None:
        """Skip a stage that cannot run; of a run that was refused, the first one fails instead."""
        if self.runs.is_done(run, item.name):
            return
        with self._halt.recording():
            obstacle = self.runs.obstacle(run, item.name)
        if obstacle is None:
            return
        refusal = self._untold_refusal(run)
        if refusal is not None:
            nodeid, why = refusal
            self._refused.add(nodeid)
            raise StageFailed(item.name, f"{nodeid} was refused by the control plane", (why,))
        pytest.skip(f"blocked: {obstacle.stage_id} {obstacle.what}")

    def _untold_refusal(self, run: PipelineRun) -> tuple[str, str] | None:
        """Which run the control plane has refused, and why, where a stage has yet to fail by that."""
        for refused in run.lineage if not run.is_optional else ():
            request = refused.manager.manifest.control_plane if refused.manager is not None else None
            if request is not None and request.refuses and refused.nodeid not in self._refused:
                return refused.nodeid, request.summary
        return None

    def _manager_of(self, run: PipelineRun, item: StageItem) -> TaskManager:
        """The manager of a run, which is opened where it was not yet."""
        try:
            if item.nodeid in self._unopened:
                raise self._unopened.pop(item.nodeid)
            return self.runs.enter(run)
        except StorageError as error:
            self._halt.stop(error)
        except OrchestratorError as error:
            parent = run.parent.manager if run.parent else None
            if parent is None:
                self._halt.stop(error)
            with self._halt.recording():
                entry = _fail_child(parent, run.stage, error.message)
            raise StageFailed(entry.title, entry.summary or error.message, ()) from error


# Imported where they are needed: most runs only have commands, and most of these succeed.


def _leave_out(manager: TaskManager, stage_id: str, why: str) -> CommandEntry:
    from codex_orchestrator.engine.gates import leave_out

    return leave_out(manager, stage_id, why)


def _fail_child(parent: TaskManager, stage: SubpipelineStage, why: str) -> CommandEntry:
    from codex_orchestrator.engine.gates import fail_child

    return fail_child(parent, stage, why)


def _failed(entry: CommandEntry, outcome: StageOutcome) -> StageFailed:
    from codex_orchestrator.views.failure import failure_cause, failure_details

    return StageFailed(entry.title, failure_cause(entry, outcome), failure_details(entry, outcome))


def _is_held_up(run: PipelineRun, stage_id: str) -> bool:
    """Whether a stage that did not run is one that has to wait, or to follow another."""
    manager = run.manager
    return manager is not None and (manager.waits(stage_id) or manager.obstacle(stage_id) is not None)


def _one_line(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    error = call.excinfo.value if call.excinfo else report.longreprtext
    return f"{report.when}: {type(error).__name__}: {error}" if call.excinfo else f"{report.when}: {error}"


def _properties(entry: CommandEntry) -> list[tuple[str, object]]:
    """Plain values for JUnit and for other plugins."""
    named = {"command": entry.command, "exit_code": entry.exit_code, "log_path": entry.log_path}
    return [(name, value) for name, value in named.items() if value is not None]
