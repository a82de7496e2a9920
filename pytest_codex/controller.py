"""Owns the run of a session: pytest's hooks in, events and a TaskManager out."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import pytest

from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import Busy, OrchestratorError, StorageError, UsageError
from codex_orchestrator.execution.builder import CommandBuilder
from codex_orchestrator.execution.cancellation import Cancellation
from codex_orchestrator.gates import decide, fail_child
from codex_orchestrator.manager import TaskManager
from codex_orchestrator.pipelines.model import ManualStage
from codex_orchestrator.preparation import Prepared
from codex_orchestrator.report.failure import decision_help, failure_cause, failure_details
from codex_orchestrator.run.approvals import Answer, Ask
from codex_orchestrator.run.shapes import CommandEntry, Manifest

from . import signals
from .nodes import PipelineNode, StageFailed, StageItem
from .others import run_by_pytest_alone
from .runs import PipelineRun, SessionRuns

# pytest's own code for what the user has to put right.
_USAGE = 4


class Controller:
    """The plugin that runs one pipeline in this process.

    Attributes:
        prepared: What will run.
        runs: The run of the pipeline, and those of its sub-pipelines.
        cancelled_by: The number of the signal that cancelled the run, or None.
        error: Why the evidence could not be written, or None.
    """

    def __init__(self, prepared: Prepared, ask: Ask | None = None) -> None:
        """Nothing is opened yet.

        Args:
            prepared: What will run.
            ask: Asks a person to decide on a manual stage; None where nobody is to be asked.
        """
        self.prepared = prepared
        self.cancelled_by: int | None = None
        self.error: OrchestratorError | None = None
        self._clock = SystemClock()
        self.runs = SessionRuns(prepared, self._clock, _notify)
        self._cancellation: Cancellation | None = None
        self._running = False
        self._ask = ask
        self._is_asking = False

    @property
    def manifest(self) -> Manifest | None:
        """The run as it is now, or None where none was opened."""
        manager = self.runs.root.manager
        return manager.manifest if manager else None

    def entry(self, item: pytest.Item) -> CommandEntry | None:
        """The manifest's entry of an item, or None where its run is not open."""
        manager = self.runs.of(item.nodeid).manager
        return manager.entry(item.name) if manager else None

    # Collection: the stages are the session's only items.

    def pytest_collection(self, session: pytest.Session) -> bool:
        """Collect without paths, so that the repo's tests are never looked at."""
        session.perform_collect(args=[])
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        """Answer for the session with the pipeline."""
        if not isinstance(collector, pytest.Session):
            return None
        planned = self.prepared.planned
        name = planned.pipeline.id
        node = PipelineNode.from_parent(collector, name=name, nodeid=name, planned=planned, runner=self)
        return pytest.CollectReport(collector.nodeid, "passed", None, [node])

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Apply ``--only`` and ``--from``; order first, as ``--stepwise`` goes by places."""
        selected = self.prepared.planned.selected
        left_out = [item for item in items if _first_stage(item) not in selected]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        items[:] = self._ordered(item for item in items if _first_stage(item) in selected)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Undo what plugins and options that reorder tests did."""
        session.items[:] = self._ordered(session.items)

    def _ordered(self, items: Iterable[pytest.Item]) -> list[pytest.Item]:
        order = {nodeid: place for place, nodeid in enumerate(self.prepared.planned.node_ids())}
        return sorted(items, key=lambda item: order[item.nodeid])

    # The run.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Open the run around the loop, and close it whatever ends the loop."""
        if session.config.getoption("collectonly") or not session.items:
            return (yield)
        self._cancellation = Cancellation()
        with signals.caught(lambda number: self._signalled(session, number)):
            try:
                self._open([item.nodeid for item in session.items])
                return (yield)
            finally:
                self._close()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A run that did not succeed must not look green, also where no test failed."""
        failed = self.manifest is not None and self.manifest.status != "succeeded"
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run a stage once, by pytest's own protocol: plugins that repeat tests are left out."""
        if not isinstance(item, StageItem):
            return None
        run_by_pytest_alone(item, nextitem)
        with self._recording():
            cancelled = self._cancellation.signal_name or None if self._cancellation else None
            self.runs.finish_item(item.nodeid, cancelled)
        return True

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        """pytest-timeout is for tests; a stage has ``timeoutSeconds``."""
        return True if isinstance(item, StageItem) else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep report and entry in step, whoever made the stage fail."""
        report = yield
        if not isinstance(item, StageItem):
            return report
        run, entry = self.runs.of(item.nodeid), self.entry(item)
        if report.failed and run.manager is not None and entry is not None and entry.status != "failed":
            with self._recording():
                if entry.status != "pending" or not self._is_held_up(run, item.name):
                    run.manager.fail(item.name, _one_line(report, call))
        if report.skipped and isinstance(report.longrepr, tuple):
            report.longrepr = (item.nodeid, None, report.longrepr[2])  # type: ignore[assignment]
        return report

    # What items ask.

    def prepare_stage(self, item: StageItem) -> None:
        """Skip a stage that another holds up."""
        run = self.runs.of(item.nodeid)
        if self.runs.is_done(run, item.name):
            return
        with self._recording():
            obstacle = self.runs.obstacle(run, item.name)
        if obstacle is not None:
            pytest.skip(f"blocked: {obstacle.stage_id} {obstacle.what}")

    def run_stage(self, item: StageItem) -> None:
        """Run a stage and record how it ended."""
        run = self.runs.of(item.nodeid)
        if self.runs.is_done(run, item.name):
            return
        cancellation = self._cancellation
        if cancellation is None or cancellation.requested:
            pytest.skip("the run is cancelled")
        manager = self._manager_of(run)
        if self.runs.is_done(run, item.name):
            return
        stage = run.planned.pipeline.stage(item.name)
        if isinstance(stage, ManualStage):
            self._decide(item, manager, stage, cancellation)
        else:
            builder = CommandBuilder(
                manager.record,
                manager.fail_attempt,
                self._clock,
                cancellation,
                run.guardian,
                nested=manager.nested,
            )
            self._execute(item, manager, builder)

    def _execute(self, item: StageItem, manager: TaskManager, builder: CommandBuilder) -> None:
        with self._recording():
            self._running = True
            try:
                outcome = builder.run(manager.request(item.name))
            finally:
                self._running = False
            entry = manager.complete(item.name, outcome)
        for stream in ("stdout", "stderr") if entry.status == "succeeded" else ():
            if text := getattr(outcome, stream):
                item.add_report_section("call", stream, text)
        item.user_properties.extend(_properties(entry))
        if entry.status == "failed":
            self._skip_if_optional(item, entry)
            raise StageFailed(entry.title, failure_cause(entry, outcome), failure_details(entry, outcome))
        if entry.status == "skipped":
            pytest.skip(f"allowed failure: {entry.summary}")

    def _skip_if_optional(self, item: StageItem, entry: CommandEntry) -> None:
        """A failure that the run of the pipeline does not fail by must not make the session fail."""
        cancelled = self._cancellation is not None and self._cancellation.requested
        if self.runs.of(item.nodeid).is_optional and not cancelled:
            pytest.skip(f"failed, in an optional sub-pipeline: {entry.summary}")

    def _decide(
        self, item: StageItem, manager: TaskManager, stage: ManualStage, cancellation: Cancellation
    ) -> None:
        ask = self._ask

        def answer(manifest: Manifest, asked: ManualStage) -> Answer | None:
            # A signal must end the question, which otherwise waits for its answer.
            self._is_asking = True
            try:
                return ask(manifest, asked) if ask and not cancellation.requested else None
            except KeyboardInterrupt:
                return None
            finally:
                self._is_asking = False

        with self._recording():
            entry = decide(manager, stage, self._clock, answer)
        if entry.status == "failed":
            self._skip_if_optional(item, entry)
            raise StageFailed(entry.title, entry.summary or "rejected", ())
        if cancellation.requested:
            pytest.skip("the run is cancelled")
        if entry.status == "pending":
            root = self.runs.root.manager or manager
            details = decision_help(stage, manager.layout.run_id, resumed=root.layout.run_id)
            raise StageFailed(entry.title, "waits for approval", details, waits=True)

    def _manager_of(self, run: PipelineRun) -> TaskManager:
        """The manager of a run, which is opened where it was not yet."""
        try:
            return self.runs.enter(run)
        except StorageError as error:
            self._stop(error)
        except OrchestratorError as error:
            parent = run.parent.manager if run.parent else None
            if parent is None:
                self._stop(error)
            with self._recording():
                entry = fail_child(parent, run.stage, error.message)
            raise StageFailed(entry.title, entry.summary or error.message, ()) from error

    def _is_held_up(self, run: PipelineRun, stage_id: str) -> bool:
        """Whether a stage that did not run is one that has to wait, or to follow another."""
        manager = run.manager
        return manager is not None and (manager.waits(stage_id) or manager.obstacle(stage_id) is not None)

    # Effects of the above.

    def _open(self, nodeids: list[str]) -> None:
        self.runs.expect(nodeids)
        with self._recording():
            self.runs.enter(self.runs.root)

    def _close(self) -> None:
        # From here on a signal changes nothing: the run ends anyway, and its records must be whole.
        cancellation, self._cancellation = self._cancellation, None
        cancelled = None
        if cancellation is not None:
            self.cancelled_by, cancelled = cancellation.number, cancellation.signal_name or None
            cancellation.close()
        with self._recording():
            self.runs.close(cancelled)

    def _signalled(self, session: pytest.Session, number: int) -> None:
        """End the stage, then the session."""
        cancellation = self._cancellation
        if cancellation is None:
            return
        cancellation.request(number)
        session.shouldstop = f"cancelled by {cancellation.signal_name}"
        # Between stages there is nothing of ours to end: someone's hook hangs, or a person is asked.
        if self._is_asking or (cancellation.requests > 1 and not self._running):
            raise KeyboardInterrupt

    def _stop(self, error: OrchestratorError) -> NoReturn:
        """Evidence cannot be written: going on would be running without a record."""
        self.error = error
        pytest.exit(str(error), returncode=_USAGE if isinstance(error, UsageError | Busy) else 1)

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Evidence that cannot be written ends the session."""
        try:
            yield
        except OrchestratorError as error:
            self._stop(error)


def _first_stage(item: pytest.Item) -> str:
    """The stage of the pipeline that was asked for which an item belongs to."""
    return item.nodeid.split("::")[1]


def _notify(message: str) -> None:
    # Where nobody listens any more, the run's summary still says it.
    with suppress(OSError):
        sys.stderr.write(f"codex-orchestrator: {message}\n")


def _one_line(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    error = call.excinfo.value if call.excinfo else report.longreprtext
    return f"{report.when}: {type(error).__name__}: {error}" if call.excinfo else f"{report.when}: {error}"


def _properties(entry: CommandEntry) -> list[tuple[str, object]]:
    """Plain values for JUnit and for other plugins."""
    named = {"command": entry.command, "exit_code": entry.exit_code, "log_path": entry.log_path}
    return [(name, value) for name, value in named.items() if value is not None]
