"""Progress for people: a line as each stage starts and ends."""

from __future__ import annotations

from collections.abc import Generator
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO

import pytest

if TYPE_CHECKING:
    from .controller import Controller

_STYLES = {"passed": "green", "failed": "red", "skipped": "yellow"}


class PytestProgress:
    """Progress inside an ordinary pytest session; ``-v`` and ``-q`` are left to pytest."""

    def __init__(self, reporter: Any, controller: Controller) -> None:
        self._reporter = reporter
        self._lines = StageLines(controller)
        self._active = reporter.config.get_verbosity(pytest.Config.VERBOSITY_TEST_CASES) == 0
        self._counting = False
        if self._active:
            # Our lines name the stages; pytest's letters would stand between them.
            reporter.showfspath = False

    def pytest_report_header(self) -> str:
        """What runs."""
        return self._lines.header()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A stage starts."""
        if self._active:
            self._reporter.write_line(self._lines.started(nodeid))

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count stages as pytest does, without its letters; the short summary gets pytest's words."""
        if not self._counting or not isinstance(report, pytest.TestReport):
            return None
        if report.when == "call" or not report.passed:
            category = "error" if report.failed and report.when != "call" else report.outcome
            return category, "", ""
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, object, object]:
        """A stage has ended."""
        self._counting = self._active
        try:
            result = yield
        finally:
            self._counting = False
        line = self._lines.ended(report)
        if self._active and line is not None:
            self._reporter.write_line(line, **{_STYLES[report.outcome]: True})
        return result

    def pytest_terminal_summary(self) -> None:
        """Where the evidence lies."""
        for manifest in self._lines.controller.manifests:
            self._reporter.write_line(f"Run {manifest.run_id}: {manifest.status}, {manifest.artifact_root}")


class PlainProgress:
    """Progress of ``codex-orchestrator start``, which needs none of pytest's terminal."""

    def __init__(self, stream: TextIO, controller: Controller, *, colour: bool) -> None:
        self._stream = stream
        self._lines = StageLines(controller)
        self._colour = colour
        self._failures: list[str] = []
        self._gone = False

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A stage starts."""
        self._write(self._lines.started(nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A stage has ended."""
        line = self._lines.ended(report)
        if line is not None:
            self._write(line, _STYLES[report.outcome])
        if report.failed:
            self._failures.append(report.longreprtext)

    def pytest_sessionfinish(self) -> None:
        """The failures last, where people look first."""
        for text in self._failures:
            self._write(f"\n{text}")

    def _write(self, text: str, style: str | None = None) -> None:
        if self._gone:
            return
        try:
            print(_coloured(text, style) if self._colour and style else text, file=self._stream, flush=True)
        except OSError:
            # Nobody watches any more; the run goes on, and what it says is on disk.
            self._gone = True


class StageLines:
    """The words of progress, the same everywhere."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        nodeids = [nodeid for each in controller.prepared for nodeid in each.planned.declared()]
        self._places = {
            nodeid: f"[{place}/{len(nodeids)}] {nodeid.partition('::')[2]}"
            for place, nodeid in enumerate(nodeids, start=1)
        }

    def header(self) -> str:
        """What runs."""
        prepared = self.controller.prepared[0]
        return f"codex-orchestrator: pipeline {prepared.pipeline.id}, task {prepared.options.task_id}"

    def started(self, nodeid: str) -> str:
        """``[2/4] lint: started``."""
        return f"{self._places.get(nodeid, nodeid)}: started"

    def ended(self, report: pytest.TestReport) -> str | None:
        """``[2/4] lint: passed in 0.31 s``, or None where the report is not the stage's end."""
        if report.when != "call" and report.passed:
            return None
        place = self._places.get(report.nodeid, report.nodeid)
        if report.passed:
            return f"{place}: passed in {report.duration:.2f} s"
        if report.skipped:
            return f"{place}: skipped, {_reason(report)}"
        # A `FailureReport` has a cause; what other plugins' hooks raise has not.
        cause = getattr(report.longrepr, "cause", report.when)
        if getattr(report.longrepr, "waits", False):
            return f"{place}: {cause}"
        return f"{place}: failed in {report.duration:.2f} s, {cause}"


def _coloured(text: str, style: str) -> str:
    from rich.console import Console
    from rich.text import Text

    # Into a string: on a broken pipe, rich would end the process.
    console = Console(file=StringIO(), force_terminal=True, highlight=False)
    with console.capture() as capture:
        console.print(Text(text, style=style), soft_wrap=True, end="")
    return capture.get()


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
