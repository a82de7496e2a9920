"""Progress in an ordinary pytest session; what ``-v`` and ``-q`` print is left to pytest."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from codex_orchestrator.text import harmless, printable
from pytest_codex.plugins_for_tests import is_of_pytest
from pytest_codex.progress import lines
from pytest_codex.progress.board import StageProgress
from pytest_codex.progress.progress import Progress
from pytest_codex.progress.pytest_writer import LinesAboveView, LineStarts, PatientWriter
from pytest_codex.progress.screen import OutputStream, choose_display

if TYPE_CHECKING:
    from pytest_codex.controller import Controller

_BRIEF = ("no", "line")


class PytestProgress(Progress):
    """Progress that shares the terminal with pytest's reporter."""

    def __init__(self, config: pytest.Config, reporter: Any, controller: Controller) -> None:
        """Nothing is shown yet; before the session has begun, as its output is not captured then."""
        self._config = config
        self._reporter = reporter
        self._verbosity = config.get_verbosity(pytest.Config.VERBOSITY_TEST_CASES)
        self._counting = False
        out = OutputStream(sys.stdout, own=True)
        display = choose_display(
            os.environ,
            # Another plugin's reporter has ways of its own to go back over lines.
            terminal=out.is_terminal and is_of_pytest(reporter),
            verbosity=self._verbosity,
            stream=config.getoption("capture") == "no",
        )
        super().__init__(controller, display, out, colour=reporter.hasmarkup)
        if self._verbosity == 0:
            # Our lines name the stages; pytest's letters would stand between them.
            reporter.showfspath = False
        writer = config.get_terminal_writer()
        self._patience = PatientWriter(writer)
        if display.live:
            LinesAboveView(writer, self.screen)  # type: ignore[arg-type]
        else:
            LineStarts(writer, out)

    def pytest_report_header(self) -> str:
        """The line that names pipelines and task."""
        header = lines.header(self.controller.prepared)
        return harmless(header) if self.display.github else header

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count stages as pytest does, without its letters; the short summary gets pytest's words."""
        if not self._counting or not isinstance(report, pytest.TestReport):
            return None
        if report.when == "call" or not report.passed:
            category: str = "error" if report.failed and report.when != "call" else report.outcome
            if hasattr(report, "wasxfail") and not report.failed:
                category = "xfailed" if report.skipped else "xpassed"
            return category, "", ""
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, object, object]:
        """Let pytest print, then take the report."""
        if self._verbosity > 0 and not self.output.is_open:
            # What pytest printed before the stage ran is not on the last line any more.
            self._reporter.currentfspath = None
        self._counting = self._verbosity == 0
        try:
            result = yield
        finally:
            self._counting = False
        self.take(report)
        return result

    def pytest_terminal_summary(self) -> None:
        """Print each run's id, status and folder."""
        for manifest in self.controller.manifests:
            ended = f"Run {manifest.run_id}: {manifest.status}, {manifest.artifact_root}"
            self._reporter.write_line(printable(ended))

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Close the output, and drop what is buffered for a reader that is gone."""
        super().pytest_unconfigure()
        self._patience.forget()

    def tell_failure(self, stage: StageProgress, *, briefly: bool = False) -> None:
        """Print a failure, in short where ``--tb`` asks for that."""
        super().tell_failure(stage, briefly=briefly or self._config.getoption("tbstyle", "auto") in _BRIEF)
