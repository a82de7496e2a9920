"""The only place where the command line starts pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from codex_orchestrator.engine.preparation import Prepared
    from codex_orchestrator.rules.approvals import Ask
    from pytest_codex.session import SessionResult


def run_prepared(
    prepared: Prepared,
    *,
    progress: TextIO,
    colour: bool,
    ask: Ask | None,
    jobs: str | None,
    quiet: bool,
    stream: bool,
) -> SessionResult:
    """Run a prepared pipeline in a pytest session in this process; ``ask`` where a person is there."""
    from pytest_codex.session import run_session

    return run_session(
        prepared, progress=progress, colour=colour, ask=ask, jobs=jobs, quiet=quiet, stream=stream
    )
