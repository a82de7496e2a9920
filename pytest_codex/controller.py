"""Owns the run of a session: pytest's hooks in, events and a TaskManager out."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import pytest

from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution.builder import CommandBuilder
from codex_orchestrator.execution.cancellation import Cancellation
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.manager import TaskManager
from codex_orchestrator.preparation import Prepared
from codex_orchestrator.report.failure import failure_cause, failure_details
from codex_orchestrator.run.shapes import CommandEntry, Manifest

from . import signals
from .nodes import PipelineNode, StageFailed, StageItem
from .others import run_by_pytest_alone


class Controller:
    """The plugin that runs one pipeline in this process.

    Attributes:
        prepared: What will run.
        manager: The run, once it is open; None before, and where nothing was selected.
        cancelled_by: The number of the signal that cancelled the run, or None.
        error: Why the evidence could not be written, or None.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.manager: TaskManager | None = None
        self.cancelled_by: int | None = None
        self.error: OrchestratorError | None = None
        self._clock = SystemClock()
        self._cancellation: Cancellation | None = None
        self._guardian = Guardian()
        self._running = False

    @property
    def manifest(self) -> Manifest | None:
        """The run as it is now, or None where none was opened."""
        return self.manager.manifest if self.manager else None

    def entry(self, item: pytest.Item) -> CommandEntry | None:
        """The manifest's entry of an item."""
        commands = self.manifest.commands if self.manifest else ()
        return next((entry for entry in commands if entry.id == item.name), None)

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
        pipeline = self.prepared.pipeline
        node = PipelineNode.from_parent(
            collector,
            name=pipeline.id,
            nodeid=pipeline.id,
            pipeline=pipeline,
            order=self.prepared.order,
            runner=self,
        )
        return pytest.CollectReport(collector.nodeid, "passed", None, [node])

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Apply ``--only`` and ``--from``; order first, as ``--stepwise`` goes by places."""
        left_out = [item for item in items if item.name not in self.prepared.selected]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        items[:] = self._ordered(item for item in items if item.name in self.prepared.selected)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Undo what plugins and options that reorder tests did."""
        session.items[:] = self._ordered(session.items)

    def _ordered(self, items: Iterable[pytest.Item]) -> list[pytest.Item]:
        order = {stage_id: place for place, stage_id in enumerate(self.prepared.order)}
        return sorted(items, key=lambda item: order[item.name])

    # The run.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Open the run around the loop, and close it whatever ends the loop."""
        if session.config.getoption("collectonly") or not session.items:
            return (yield)
        self._cancellation = Cancellation()
        with signals.caught(lambda number: self._signalled(session, number)):
            try:
                self._open([item.name for item in session.items])
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
        return run_by_pytest_alone(item, nextitem) if isinstance(item, StageItem) else None

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
        entry = self.entry(item)
        if report.failed and entry is not None and entry.status != "failed":
            with self._recording() as manager:
                if entry.status != "pending" or manager.blocked_by(item.name) is None:
                    manager.fail(item.name, _one_line(report, call))
        if report.skipped and isinstance(report.longrepr, tuple):
            report.longrepr = (item.nodeid, None, report.longrepr[2])  # type: ignore[assignment]
        return report

    # What items ask.

    def prepare_stage(self, item: StageItem) -> None:
        """Skip a stage that a failure blocks."""
        with self._recording() as manager:
            root = manager.blocked_by(item.name)
            if root is not None:
                manager.skip(item.name, root)
        if root is not None:
            pytest.skip(f"blocked: {item.parent.nodeid if item.parent else ''}::{root} failed")

    def run_stage(self, item: StageItem) -> None:
        """Run a stage's command and record how it ended."""
        cancellation = self._cancellation
        if cancellation is None or cancellation.requested:
            pytest.skip("the run is cancelled")
        with self._recording() as manager:
            builder = CommandBuilder(manager.record, self._clock, cancellation, self._guardian)
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
            raise StageFailed(entry.title, failure_cause(entry, outcome), failure_details(entry, outcome))
        if entry.status == "skipped":
            pytest.skip(f"allowed failure: {entry.summary}")

    # Effects of the above.

    def _open(self, selected: list[str]) -> None:
        prepared = self.prepared
        try:
            self.manager = TaskManager(
                prepared.environment,
                prepared.pipeline,
                prepared.plan,
                prepared.options,
                limits=prepared.definitions.configuration.limits,
                selected=selected,
                clock=self._clock,
                notify=_notify,
            )
        except OrchestratorError as error:
            self._stop(error)
        self._guardian.start(self.manager.mark)

    def _close(self) -> None:
        # From here on a signal changes nothing: the run ends anyway, and its records must be whole.
        cancellation, self._cancellation = self._cancellation, None
        cancelled = None
        if cancellation is not None:
            self.cancelled_by, cancelled = cancellation.number, cancellation.signal_name or None
            cancellation.close()
        if self.manager is None:
            return
        guardian = self._guardian
        guardian.forget_empty()
        try:
            with self._recording() as manager:
                manager.close(cancelled_by=cancelled, groups=guardian.groups, warnings=guardian.warnings)
        finally:
            guardian.dismiss()

    def _signalled(self, session: pytest.Session, number: int) -> None:
        """End the stage, then the session."""
        cancellation = self._cancellation
        if cancellation is None:
            return
        cancellation.request(number)
        session.shouldstop = f"cancelled by {cancellation.signal_name}"
        # Between stages there is nothing of ours to end: someone's hook hangs.
        if cancellation.requests > 1 and not self._running:
            raise KeyboardInterrupt

    def _stop(self, error: OrchestratorError) -> NoReturn:
        """Evidence cannot be written: going on would be running without a record."""
        self.error = error
        pytest.exit(str(error), returncode=1)

    @contextmanager
    def _recording(self) -> Iterator[TaskManager]:
        """The open run; evidence that cannot be written ends the session."""
        if self.manager is None:
            raise RuntimeError("a stage was run outside a pipeline session")
        try:
            yield self.manager
        except OrchestratorError as error:
            self._stop(error)


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
