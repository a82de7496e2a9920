"""Follows a session's stages and shows them: what an ordinary pytest session and ``start`` share."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from codex_orchestrator.model.events import Event
from codex_orchestrator.model.exec_events import ExecChunk, ExecEnd
from codex_orchestrator.text import harmless
from pytest_codex.messages import tell
from pytest_codex.progress import lines
from pytest_codex.progress.board import Board, Stage
from pytest_codex.progress.ending import consequences, root_failure
from pytest_codex.progress.heartbeat import Heartbeat
from pytest_codex.progress.output import Paper
from pytest_codex.progress.plain import PlainScreen, Screen
from pytest_codex.progress.style import Manner

if TYPE_CHECKING:
    from pytest_codex.controller import Controller
    from pytest_codex.progress.ci import GithubJob
    from pytest_codex.progress.stream import Prefixer


class Ears:
    """Hears what stages print; only there where any of it is shown, as it is much."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def pytest_codex_event(self, event: Event, nodeid: str) -> None:
        """Something was recorded."""
        if isinstance(event, ExecChunk):
            self._progress.printed(nodeid, event)
        elif isinstance(event, ExecEnd):
            self._progress.printed_all(nodeid)


class Progress:
    """The plugin that shows progress.

    Attributes:
        controller: What runs.
        manner: What is shown.
        paper: Where.
        screen: How.
        board: How stages stand.
    """

    def __init__(
        self, controller: Controller, manner: Manner, paper: Paper, *, colour: bool, redirect: bool = False
    ) -> None:
        """Nothing is shown yet.

        Args:
            controller: What runs.
            manner: What to show.
            paper: Where to.
            colour: Whether to use colours.
            redirect: Whether what others print belongs above a live view.
        """
        self.controller = controller
        self.manner = manner
        self.paper = paper
        self.board = Board()
        self.screen: Screen = PlainScreen(paper, colour=colour)
        if manner.live:
            # Only here: a pipe needs none of rich.
            from pytest_codex.progress.live import LiveScreen

            self.screen = LiveScreen(paper, self.board, controller.clock, colour=colour, redirect=redirect)
        self._colour = colour
        self._prefixer = _prefixer(colour=colour) if manner.stream else None
        self._heartbeat = Heartbeat(self.board, controller.clock, self._beat) if manner.heartbeats else None
        self._job = _job(paper) if manner.github else None
        self._stopped = False

    @property
    def plugins(self) -> dict[str, object]:
        """This one and what it needs, by their names."""
        ears: dict[str, object] = {"codex-output": Ears(self)} if self.manner.needs_output else {}
        return {"codex-progress": self, **ears}

    # Hooks.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Show stages for as long as they run."""
        if session.config.getoption("collectonly") or not session.items:
            return (yield)
        declared = [nodeid for each in self.controller.prepared for nodeid in each.planned.declared()]
        self.board.declare(declared, {item.nodeid for item in session.items})
        self.paper.flush()
        self._tell_runs()
        if self._job and not self.manner.guarded:
            self._job.begin()
        if self._heartbeat:
            self._heartbeat.start()
        try:
            with self.screen.shown():
                return (yield)
        finally:
            self._stopped = bool(session.shouldfail)
            if self._heartbeat:
                self._heartbeat.stop()

    def pytest_codex_stage_started(self, nodeid: str) -> None:
        """A command is about to run."""
        stage = self.board.start(nodeid, self.controller.clock.monotonic())
        if stage is not None and self.manner.lines and not self.manner.live:
            self.say(lines.started(stage))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """The first failure last, where people look first."""
        stages = self.board.stages
        self.paper.flush()
        if self._job:
            self._job.annotate(stages)
            self._job.summarise(stages, self.controller.manifests, stopped=self._stopped)
            self._job.outputs.end(self.controller.manifests)
            # pytest shows what stages have printed too.
            self._job.begin()
        try:
            return (yield)
        finally:
            self.paper.flush()
            self._conclude(stages)
            if self._job:
                self._job.end()

    def pytest_unconfigure(self) -> None:
        """Nothing is printed any more."""
        if self._job:
            self._job.end()
        self.paper.close()

    def _tell_runs(self) -> None:
        """Say first of all which runs these are, so that programs and people can follow them."""
        manifests = self.controller.manifests
        if self._job:
            self._job.outputs.begin(manifests)
        for line in (line for manifest in manifests for line in lines.opened(manifest)):
            if self.manner.lines or self.manner.stream or self.manner.heartbeats:
                self.paper.write(f"{harmless(line) if self._job else line}\n")
            else:
                tell(line)

    # What stages do.

    def take(self, report: pytest.TestReport) -> None:
        """A stage has ended, or a part of its item's protocol."""
        ended = lines.end_of(report)
        if ended is not None:
            if ended.state == "passed" and ended.log_path is None and self._is_command(report.nodeid):
                ended = replace(ended, why="kept, passed before")
            self.paper.flush()
            self._tell_end(self.board.end(report.nodeid, ended))

    def _is_command(self, nodeid: str) -> bool:
        """Whether a stage has a log, if it was run."""
        pipeline = self.controller.runs.of(nodeid).planned.pipeline
        return pipeline.stage(nodeid.rpartition("::")[2]).kind == "command"

    def printed(self, nodeid: str, chunk: ExecChunk) -> None:
        """A piece of output has come."""
        if self._prefixer:
            self._write_stream(nodeid, self._prefixer.feed(self.board[nodeid].name, chunk.stream, chunk.data))
        if self.manner.live or self._heartbeat:
            self.board.hear(nodeid, chunk.data)
        if self._job and self.manner.groups:
            self._job.output.hear(nodeid, chunk.data)

    def printed_all(self, nodeid: str) -> None:
        """An attempt has ended."""
        if self._prefixer:
            self._write_stream(nodeid, self._prefixer.flush(self.board[nodeid].name))

    def _write_stream(self, nodeid: str, text: str) -> None:
        if text:
            self.paper.write(text)
            self._said(nodeid)

    # How.

    def _beat(self, stage: Stage, now: float) -> None:
        self.say(lines.still_running(stage, now))

    def _said(self, nodeid: str) -> None:
        if self._heartbeat:
            self._heartbeat.said(nodeid)

    def _tell_end(self, stage: Stage) -> None:
        if self._job and self.manner.groups and self._job.group(stage):
            return
        if self.manner.lines:
            self.say(lines.ended(stage), lines.STYLES[stage.state])

    def say(self, line: str, style: str | None = None) -> None:
        """Print a line that stays."""
        self.screen.say(harmless(line) if self._job else line, style)

    def _conclude(self, stages: tuple[Stage, ...]) -> None:
        root = root_failure(stages)
        self.tell_failures(stages, root)
        if root is not None and (followed := consequences(root, stages, stopped=self._stopped)):
            self.paper.write(f"{followed}\n")

    def tell_failures(self, stages: tuple[Stage, ...], root: Stage | None) -> None:  # noqa: ARG002
        """Print what failed, the root last."""
        if root is not None:
            self.tell_failure(root)

    def tell_failure(self, stage: Stage, *, briefly: bool = False) -> None:
        """Print a failure with its command, the end of its output and its log.

        Args:
            stage: What failed.
            briefly: Whether only how, and where its log is.
        """
        if stage.ended is None:
            return
        headline = stage.ended.headline
        details = stage.ended.details
        if briefly:
            details = (f"  log: {stage.ended.log_path}",) if stage.ended.log_path else ()
        coloured = lines.coloured(headline, "red") if self._colour and not stage.ended.waits else headline
        self.paper.write("\n".join(("", coloured, *details, "")))


# Imported where they are asked for: most sessions need neither.


def _prefixer(*, colour: bool) -> Prefixer:
    from pytest_codex.progress.stream import Prefixer

    return Prefixer(colour=colour)


def _job(paper: Paper) -> GithubJob:
    from pytest_codex.progress.ci import GithubJob

    return GithubJob(lambda line: paper.write(f"{line}\n"), os.environ)
