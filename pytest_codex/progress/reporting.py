"""Progress inside an ordinary pytest session; what ``-v`` and ``-q`` print is left to pytest."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from codex_orchestrator.text import harmless, printable
from pytest_codex.plugins_for_tests import is_of_pytest
from pytest_codex.progress import lines
from pytest_codex.progress.board import Stage
from pytest_codex.progress.line_starts import Beside
from pytest_codex.progress.output import Paper
from pytest_codex.progress.progress import Progress
from pytest_codex.progress.slow_readers import Patience
from pytest_codex.progress.style import choose

if TYPE_CHECKING:
    from pytest_codex.controller import Controller

_BRIEF = ("no", "line")


class PytestProgress(Progress):
    """Progress beside pytest's terminal reporter."""

    def __init__(self, config: pytest.Config, reporter: Any, controller: Controller) -> None:
        """Nothing is shown yet; before the session has begun, as its output is not captured then."""
        self._config = config
        self._reporter = reporter
        self._verbosity = config.get_verbosity(pytest.Config.VERBOSITY_TEST_CASES)
        self._counting = False
        paper = Paper(sys.stdout, own=True)
        manner = choose(
            os.environ,
            # Another plugin's reporter has ways of its own to go back over lines.
            terminal=paper.is_terminal and is_of_pytest(reporter),
            verbosity=self._verbosity,
            stream=config.getoption("capture") == "no",
        )
        super().__init__(controller, manner, paper, colour=reporter.hasmarkup)
        if self._verbosity == 0:
            # Our lines name the stages; pytest's letters would stand between them.
            reporter.showfspath = False
        writer = config.get_terminal_writer()
        self._patience = Patience(writer)
        if manner.live:
            from pytest_codex.progress.above import Above

            Above(writer, self.screen)  # type: ignore[arg-type]
        else:
            Beside(writer, paper)

    def pytest_report_header(self) -> str:
        """What runs."""
        header = lines.header(self.controller.prepared)
        return harmless(header) if self.manner.github else header

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
        """A stage has ended, or a part of its item's protocol."""
        if self._verbosity > 0 and not self.paper.is_open:
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
        """Where the evidence lies."""
        for manifest in self.controller.manifests:
            ended = f"Run {manifest.run_id}: {manifest.status}, {manifest.artifact_root}"
            self._reporter.write_line(printable(ended))

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Nothing is printed any more, and nothing is left that a reader who is gone would be told."""
        super().pytest_unconfigure()
        self._patience.forget()

    def tell_failure(self, stage: Stage, *, briefly: bool = False) -> None:
        """As long as the user wants failures to be."""
        super().tell_failure(stage, briefly=briefly or self._config.getoption("tbstyle", "auto") in _BRIEF)
