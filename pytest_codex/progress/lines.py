"""The words of progress, the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from codex_orchestrator.engine.preparation import Prepared
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.text import flattened, last_line, one_line, printable
from pytest_codex.nodes import FailureReport
from pytest_codex.progress.board import Ended, Stage, State

STYLES = {"passed": "green", "failed": "red", "skipped": "yellow"}
_COLOURS = {"green": 32, "red": 31, "yellow": 33}
_LAST_LENGTH = 160
_MINUTE = 60


def header(prepared: Sequence[Prepared]) -> str:
    """What runs."""
    pipelines = ", ".join(each.pipeline.id for each in prepared)
    word = "pipeline" if len(prepared) == 1 else "pipelines"
    return printable(f"codex-orchestrator: {word} {pipelines}, task {prepared[0].options.task_id}")


def opened(manifest: Manifest) -> list[str]:
    """Which run it is, and where it says how it stands."""
    return [printable(f"Run: {manifest.run_id}"), printable(f"Manifest: {manifest.path}")]


def started(stage: Stage) -> str:
    """``[2/4] lint: started``."""
    return printable(f"{stage.place}: started")


def still_running(stage: Stage, now: float) -> str:
    """``[2/4] build: running for 30 s, last: 12 of 20``."""
    running = running_for(stage, now)
    last = last_line(stage.tail)
    return f"{running}, last: {last[:_LAST_LENGTH]}" if last else running


def running_for(stage: Stage, now: float) -> str:
    """``[2/4] build: running for 30 s``."""
    return printable(f"{stage.place}: running for {elapsed(now - (stage.since or now))}")


def waiting(stage: Stage) -> str:
    """``[2/4] lint: waiting``."""
    return printable(f"{stage.place}: waiting")


def ended(stage: Stage) -> str:
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


def end_of(report: pytest.TestReport) -> Ended | None:
    """What a report says of how its stage ended, or None where it is not the stage's end."""
    if report.when != "call" and report.passed:
        return None
    log_path = dict(report.user_properties).get("log_path")
    known = {"seconds": report.duration, "log_path": str(log_path) if log_path else None}
    if report.passed:
        return Ended("passed", **known)  # type: ignore[arg-type]
    if report.skipped:
        return Ended("skipped", why=_reason(report), **known)  # type: ignore[arg-type]
    from codex_orchestrator.views.failure import is_cancellation

    # A `FailureReport` has a cause; what other plugins' hooks raise has not.
    failure: Any = report.longrepr
    why = getattr(failure, "cause", report.when)
    text = str(failure) if isinstance(failure, FailureReport) else report.longreprtext
    headline, *details = text.splitlines() or [""]
    return Ended(
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


def counted(folded: Sequence[tuple[int, State]]) -> str:
    """``12 waiting, 30 passed``."""
    return ", ".join(f"{count} {state}" for count, state in folded)


def coloured(text: str, style: str) -> str:
    """A line in a colour, for a terminal that wants colours."""
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m"


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
