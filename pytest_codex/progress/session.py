"""Progress of ``codex-orchestrator start``, which needs none of pytest's terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

import pytest

from pytest_codex.progress import lines
from pytest_codex.progress.board import StageProgress, failures
from pytest_codex.progress.progress import Progress
from pytest_codex.progress.screen import OutputStream, choose_display

if TYPE_CHECKING:
    from codex_orchestrator.model.definitions import ManualStage
    from codex_orchestrator.model.manifest import Manifest
    from codex_orchestrator.rules.approvals import Answer, Ask
    from pytest_codex.controller import Controller


class SessionProgress(Progress):
    """Progress on a stream that nobody else prints to."""

    def __init__(
        self, stream: TextIO, controller: Controller, *, colour: bool, quiet: bool, output: bool
    ) -> None:
        """Nothing is shown yet.

        Args:
            stream: Where lines go.
            controller: Owner of the session and its runs.
            colour: Whether they may be coloured.
            quiet: Whether only failures are wanted.
            output: Whether output is wanted as it comes.
        """
        out = OutputStream(stream)
        display = choose_display(
            os.environ, terminal=out.is_terminal, verbosity=-1 if quiet else 0, stream=output
        )
        super().__init__(controller, display, out, colour=colour, redirect=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the report."""
        self.take(report)

    def ask(self, ask: Ask, manifest: Manifest, stage: ManualStage) -> Answer | None:
        """Ask a person about a manual stage, with the live view paused."""
        with self.screen.paused():
            if self.display.lines:
                self.say(lines.started(self.board[self._nodeid(manifest, stage)]))
            return ask(manifest, stage)

    def tell_failures(self, stages: tuple[StageProgress, ...], root: StageProgress | None) -> None:
        """Print all failures in full, the root last; those that the root has cancelled are only named."""
        for stage in failures(stages):
            ended_by_root = root and stage.ended and stage.ended.cancelled
            if stage is not root and not ended_by_root:
                self.tell_failure(stage)
        super().tell_failures(stages, root)

    def _nodeid(self, manifest: Manifest, stage: ManualStage) -> str:
        for run in self.controller.runs:
            if run.manager is not None and run.manager.manifest.run_id == manifest.run_id:
                return f"{run.nodeid}::{stage.id}"
        return stage.id
