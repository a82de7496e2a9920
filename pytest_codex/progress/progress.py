"""The plugin that shows the progress of a session's stages; shared by pytest sessions and ``start``."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from codex_orchestrator.model.events import Event, StageAssigned, StageReleased
from codex_orchestrator.model.exec_events import ExecChunk, ExecEnd
from codex_orchestrator.text import harmless
from pytest_codex.messages import tell
from pytest_codex.progress import lines
from pytest_codex.progress.board import Board, StageProgress, consequences, root_failure
from pytest_codex.progress.heartbeat import Heartbeat
from pytest_codex.progress.screen import DisplayOptions, OutputStream, PlainScreen, Screen

if TYPE_CHECKING:
    from pytest_codex.controller import Controller
    from pytest_codex.progress.github import GithubJob, StepOutputs


class OutputListener:
    """Receives the output of stages; registered only where output is shown, as there is much of it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def pytest_codex_event(self, event: Event, nodeid: str) -> None:
        """Show a piece of output, or the end of an attempt; keep in mind where a stage runs."""
        if isinstance(event, ExecChunk):
            self._progress.printed(nodeid, event)
        elif isinstance(event, ExecEnd):
            self._progress.printed_all(nodeid)
        elif isinstance(event, StageAssigned):
            self._progress.board.place(nodeid, event.instance_id)
        elif isinstance(event, StageReleased):
            self._progress.board.place(nodeid, None)


class Progress:
    """The plugin that shows progress.

    Attributes:
        controller: Owner of the session and its runs.
        display: Which forms of progress are shown.
        output: The stream written to.
        screen: Plain lines or the live view.
        board: The state of all stages.
    """

    def __init__(
        self,
        controller: Controller,
        display: DisplayOptions,
        out: OutputStream,
        *,
        colour: bool,
        redirect: bool = False,
    ) -> None:
        """Nothing is shown yet.

        Args:
            controller: Owner of the session and its runs.
            display: Which forms of progress to show.
            out: The stream to write to.
            colour: Whether to use colours.
            redirect: Whether what others print belongs above a live view.
        """
        self.controller = controller
        self.display = display
        self.output = out
        self.board = Board()
        self.screen: Screen = PlainScreen(out, colour=colour)
        if display.live:
            # Only here: a pipe needs none of rich.
            from pytest_codex.progress.live import LiveScreen

            self.screen = LiveScreen(out, self.board, controller.clock, colour=colour, redirect=redirect)
        self._colour = colour
        self._prefixer = lines.Prefixer(colour=colour) if display.stream else None
        self._heartbeat = Heartbeat(self.board, controller.clock, self._beat) if display.heartbeats else None
        self._job: GithubJob | None = None
        self._outputs: StepOutputs | None = None
        if display.github:
            self._job, self._outputs = _github(out)
        self._stopped = False

    @property
    def plugins(self) -> dict[str, object]:
        """The plugins to register, by name: this one, and the listener where output is shown."""
        listener: dict[str, object] = (
            {"codex-output": OutputListener(self)} if self.display.needs_output else {}
        )
        return {"codex-progress": self, **listener}

    # Hooks.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Show progress for as long as stages run."""
        if session.config.getoption("collectonly") or not session.items:
            return (yield)
        declared = [nodeid for each in self.controller.prepared for nodeid in each.planned.declared()]
        self.board.declare(declared, {item.nodeid for item in session.items})
        self.output.flush()
        self._tell_runs()
        if self._job and not self.display.guarded:
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
        """Mark a stage as running, and print its line."""
        stage = self.board.start(nodeid, self.controller.clock.monotonic())
        if stage is not None and self.display.lines and not self.display.live:
            self.say(lines.started(stage))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """Print annotations and the step summary, then the first failure as the last thing."""
        stages = self.board.stages
        self.output.flush()
        if self._job:
            self._job.annotate(stages)
            self._job.summarise(stages, self.controller.manifests, stopped=self._stopped)
            if self._outputs:
                self._outputs.end(self.controller.manifests)
            # pytest shows what stages have printed too.
            self._job.begin()
        try:
            return (yield)
        finally:
            self.output.flush()
            self._conclude(stages)
            if self._job:
                self._job.end()

    def pytest_unconfigure(self) -> None:
        """Close the output."""
        if self._job:
            self._job.end()
        self.output.close()

    def _tell_runs(self) -> None:
        """Print first which runs these are, so that programs and people can follow them."""
        manifests = self.controller.manifests
        if self._outputs:
            self._outputs.begin(manifests)
        for line in (line for manifest in manifests for line in lines.opened(manifest)):
            if self.display.lines or self.display.stream or self.display.heartbeats:
                self.output.write(f"{harmless(line) if self._job else line}\n")
            else:
                tell(line)

    # What stages do.

    def take(self, report: pytest.TestReport) -> None:
        """Take a report of an item's phase; the one that ends its stage prints the stage's line."""
        ended = lines.end_of(report)
        if ended is not None:
            if ended.state == "passed" and ended.log_path is None and self._is_command(report.nodeid):
                ended = replace(ended, why="kept, passed before")
            self.output.flush()
            self._tell_end(self.board.end(report.nodeid, ended))

    def _is_command(self, nodeid: str) -> bool:
        """Whether a stage has a log, if it was run."""
        pipeline = self.controller.runs.of(nodeid).planned.pipeline
        return pipeline.stage(nodeid.rpartition("::")[2]).kind == "command"

    def printed(self, nodeid: str, chunk: ExecChunk) -> None:
        """Show or keep a piece of a stage's output."""
        if self._prefixer:
            self._write_stream(nodeid, self._prefixer.feed(self.board[nodeid].name, chunk.stream, chunk.data))
        if self.display.live or self._heartbeat:
            self.board.add_output(nodeid, chunk.data)
        if self._job and self.display.groups:
            self._job.kept_output.add_output(nodeid, chunk.data)

    def printed_all(self, nodeid: str) -> None:
        """Print the last line of an attempt, where it was left without an end."""
        if self._prefixer:
            self._write_stream(nodeid, self._prefixer.flush(self.board[nodeid].name))

    def _write_stream(self, nodeid: str, text: str) -> None:
        if text:
            self.output.write(text)
            self._said(nodeid)

    # How.

    def _beat(self, stage: StageProgress, now: float) -> None:
        self.say(lines.still_running(stage, now))

    def _said(self, nodeid: str) -> None:
        if self._heartbeat:
            self._heartbeat.said(nodeid)

    def _tell_end(self, stage: StageProgress) -> None:
        if self._job and self.display.groups and self._job.group(stage):
            return
        if self.display.lines:
            self.say(lines.ended(stage), lines.STYLES[stage.state])

    def say(self, line: str, style: str | None = None) -> None:
        """Print a line that stays."""
        self.screen.say(harmless(line) if self._job else line, style)

    def _conclude(self, stages: tuple[StageProgress, ...]) -> None:
        root = root_failure(stages)
        self.tell_failures(stages, root)
        if root is not None and (followed := consequences(root, stages, stopped=self._stopped)):
            self.output.write(f"{followed}\n")

    def tell_failures(self, stages: tuple[StageProgress, ...], root: StageProgress | None) -> None:  # noqa: ARG002
        """Print the root failure; subclasses print others before it."""
        if root is not None:
            self.tell_failure(root)

    def tell_failure(self, stage: StageProgress, *, briefly: bool = False) -> None:
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
        self.output.write("\n".join(("", coloured, *details, "")))


def _github(out: OutputStream) -> tuple[GithubJob, StepOutputs]:
    """What tells GitHub of a session, imported where one runs there."""
    from pytest_codex.progress.github import GithubJob, StepOutputs

    return GithubJob(lambda line: out.write(f"{line}\n"), os.environ), StepOutputs(os.environ)
