"""Progress of ``codex-orchestrator start``, which needs none of pytest's terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

import pytest

from pytest_codex.progress import lines
from pytest_codex.progress.board import Stage
from pytest_codex.progress.ending import failures
from pytest_codex.progress.output import Paper
from pytest_codex.progress.progress import Progress
from pytest_codex.progress.style import choose

if TYPE_CHECKING:
    from codex_orchestrator.model.definitions import ManualStage
    from codex_orchestrator.model.manifest import Manifest
    from codex_orchestrator.rules.approvals import Answer, Ask
    from pytest_codex.controller import Controller


class SessionProgress(Progress):
    """Progress where nobody else prints."""

    def __init__(
        self, stream: TextIO, controller: Controller, *, colour: bool, quiet: bool, output: bool
    ) -> None:
        """Nothing is shown yet.

        Args:
            stream: Where lines go.
            controller: What runs.
            colour: Whether they may be coloured.
            quiet: Whether only failures are wanted.
            output: Whether output is wanted as it comes.
        """
        paper = Paper(stream)
        manner = choose(os.environ, terminal=paper.is_terminal, verbosity=-1 if quiet else 0, stream=output)
        super().__init__(controller, manner, paper, colour=colour, redirect=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A stage has ended, or a part of its item's protocol."""
        self.take(report)

    def ask(self, ask: Ask, manifest: Manifest, stage: ManualStage) -> Answer | None:
        """Have a person asked while nothing else moves on the terminal."""
        with self.screen.paused():
            if self.manner.lines:
                self.say(lines.started(self.board[self._nodeid(manifest, stage)]))
            return ask(manifest, stage)

    def tell_failures(self, stages: tuple[Stage, ...], root: Stage | None) -> None:
        """All of them in full, as nobody else does it; what the root has ended is named after it."""
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
