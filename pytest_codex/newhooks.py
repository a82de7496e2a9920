"""Hooks that plugins may implement to follow runs (docs/reference/python-api.md, "Hooks").

They are called in the process that owns the runs, on its main thread, one at a time and in the
order in which things were recorded, whether stages run one by one, at once, or on workers. What is
told is in the logs already. A plugin that raises is reported as a warning, once for each hook; the
run goes on. The reference has these docstrings in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from codex_orchestrator.api import CommandEntry, Event, ExecChunk, Manifest, Pipeline


def pytest_codex_modify_pipeline(config: pytest.Config, pipeline: Pipeline) -> Pipeline | None:
    """Change what is about to be planned; called before anything is written.

    The next plugin is given what the last one answered, and the pipelines that are run by what comes
    out are asked about next. What comes out must be valid as a definition, or nothing is run.

    Args:
        config: The session's.
        pipeline: A pipeline that is asked for, or one that a stage runs; its stage sets are expanded.

    Returns:
        The pipeline to run instead, or None to leave it as it is.
    """


def pytest_codex_run_started(config: pytest.Config, manifest: Manifest, nodeid: str) -> None:
    """A run has begun, or goes on after a resume.

    Args:
        config: The session's.
        manifest: The run.
        nodeid: The pipeline's id, or the node id of the stage whose run this is.
    """


def pytest_codex_stage_started(
    config: pytest.Config, manifest: Manifest, entry: CommandEntry, nodeid: str
) -> None:
    """A stage is about to run: a command, or the first stage of a sub-pipeline.

    Called once, however often the stage is tried. Decisions have no start.

    Args:
        config: The session's.
        manifest: The run that the stage belongs to.
        entry: The stage's entry, ``running``.
        nodeid: The stage's node id.
    """


def pytest_codex_event(config: pytest.Config, manifest: Manifest, event: Event, nodeid: str) -> None:
    """An event was recorded: it is the last line of the run's log.

    Output comes as ``exec:chunk`` events while the stage runs; that of what it leaves running is only
    logged. A hook that is slow slows the stages down.

    Args:
        config: The session's.
        manifest: The run after the event.
        event: The event.
        nodeid: Of the stage that it is about, or else of the run.
    """


def pytest_codex_stage_completed(
    config: pytest.Config,
    manifest: Manifest,
    entry: CommandEntry,
    nodeid: str,
    chunks: tuple[ExecChunk, ...],
) -> None:
    """A stage has ended, and its entry says how.

    Not called for stages that stay ``pending``: those that another holds up, or that wait.

    Args:
        config: The session's.
        manifest: The run that the stage belongs to.
        entry: The stage's entry as it stays.
        nodeid: The stage's node id.
        chunks: Its last chunks of output, at most CODEX_ORCHESTRATOR_EXEC_EVENT_MAX_CHUNKS; none
            where that is not set.
    """


def pytest_codex_run_completed(config: pytest.Config, manifest: Manifest, nodeid: str) -> None:
    """A run has ended: its manifest and records are written. One that waits for a decision has not.

    Args:
        config: The session's.
        manifest: The run as it stays.
        nodeid: As in `pytest_codex_run_started`.
    """
