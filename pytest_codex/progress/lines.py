"""The lines of progress, worded the same for terminals, pytest and CI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from codex_orchestrator.engine.preparation import Prepared
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.text import WholeLines, flattened, last_line, one_line, printable
from pytest_codex.nodes import FailureReport
from pytest_codex.progress.board import StageEnd, StageProgress, StageState

STYLES = {"passed": "green", "failed": "red", "skipped": "yellow"}
_COLOURS = {"green": 32, "red": 31, "yellow": 33}
_LAST_LENGTH = 160
_MINUTE = 60


def header(prepared: Sequence[Prepared]) -> str:
    """``codex-orchestrator: pipeline P, task T``."""
    pipelines = ", ".join(each.pipeline.id for each in prepared)
    word = "pipeline" if len(prepared) == 1 else "pipelines"
    return printable(f"codex-orchestrator: {word} {pipelines}, task {prepared[0].options.task_id}")


def opened(manifest: Manifest) -> list[str]:
    """The lines that name a run and its manifest."""
    return [printable(f"Run: {manifest.run_id}"), printable(f"Manifest: {manifest.path}")]


def started(stage: StageProgress) -> str:
    """``[2/4] lint: started``."""
    return printable(f"{stage.place}: started")


def still_running(stage: StageProgress, now: float) -> str:
    """``[2/4] build: running for 30 s, last: 12 of 20``."""
    running = running_for(stage, now)
    last = last_line(stage.tail)
    return f"{running}, last: {last[:_LAST_LENGTH]}" if last else running


def running_for(stage: StageProgress, now: float) -> str:
    """``[2/4] build: running for 30 s``, or ``[2/4] build: running on w1 for 30 s``."""
    where = f" on {stage.worker}" if stage.worker else ""
    return printable(f"{stage.place}: running{where} for {elapsed(now - (stage.since or now))}")


def waiting(stage: StageProgress) -> str:
    """``[2/4] lint: waiting``."""
    return printable(f"{stage.place}: waiting")


def ended(stage: StageProgress) -> str:
    """``[2/4] lint: passed in 0.31 s``."""
    end, place = stage.ended, printable(stage.place)
    if end is None:
        return place
    if end.state == "passed":
        return f"{place}: {end.why or f'passed in {end.seconds:.2f} s'}"
    # What a stage has said last may be part of why, and of many lines.
    why = flattened(end.why)
    if end.state == "skipped":
        return f"{place}: skipped, {why}"
    return f"{place}: {why if end.waits else f'failed in {end.seconds:.2f} s, {why}'}"


def end_of(report: pytest.TestReport) -> StageEnd | None:
    """How a stage ended, read from a report; None for a report that does not end its stage."""
    if report.when != "call" and report.passed:
        return None
    log_path = dict(report.user_properties).get("log_path")
    known = {"seconds": report.duration, "log_path": str(log_path) if log_path else None}
    if report.passed:
        return StageEnd("passed", **known)  # type: ignore[arg-type]
    if report.skipped:
        return StageEnd("skipped", why=_reason(report), **known)  # type: ignore[arg-type]
    from codex_orchestrator.views.failure import is_cancellation

    # A `FailureReport` has a cause; what other plugins' hooks raise has not.
    failure: Any = report.longrepr
    why = getattr(failure, "cause", report.when)
    text = str(failure) if isinstance(failure, FailureReport) else report.longreprtext
    headline, *details = text.splitlines() or [""]
    return StageEnd(
        "failed",
        why=why,
        headline=printable(headline),
        details=tuple(map(one_line, details)),
        waits=getattr(failure, "waits", False),
        cancelled=is_cancellation(why),
        **known,  # type: ignore[arg-type]
    )


def elapsed(seconds: float) -> str:
    """``0.3 s``, ``12 s``, ``2 min 05 s``."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = int(seconds + 0.5)
    return f"{whole} s" if whole < 2 * _MINUTE else f"{whole // _MINUTE} min {whole % _MINUTE:02} s"


def counted(folded: Sequence[tuple[int, StageState]]) -> str:
    """``12 waiting, 30 passed``."""
    return ", ".join(f"{count} {state}" for count, state in folded)


def coloured(text: str, style: str) -> str:
    """A line in the colour of its state, as terminal escapes."""
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m"


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


class Prefixer:
    """Turns pieces of stages' output into whole lines, each with the name of its stage before it."""

    def __init__(self, *, colour: bool) -> None:
        """Nothing was printed yet.

        Args:
            colour: Whether colours of stages are shown.
        """
        self._colour = colour
        self._lines = WholeLines()

    def feed(self, name: str, stream: str, text: str) -> str:
        """The lines that a piece of output ends; empty where it ends none.

        Args:
            name: The stage.
            stream: ``stdout`` or ``stderr``; a line is of one of them.
            text: The piece.
        """
        return "".join(self._line(name, line) for line in self._lines.feed((name, stream), text))

    def flush(self, name: str) -> str:
        """What a stage has printed without ending the line."""
        rests = [rest for stream in ("stdout", "stderr") for rest in self._lines.flush((name, stream))]
        return "".join(self._line(name, rest) for rest in rests)

    def _line(self, name: str, line: str) -> str:
        return f"{name} | {one_line(line, colour=self._colour)}\n"
