"""The in-toto statement of a run, not signed (docs/reference/files.md, "Signatures")."""

from __future__ import annotations

from codex_orchestrator.evidence.statements import run_statement
from codex_orchestrator.model.codec import dumps
from codex_orchestrator.rules.layout import RunLayout


def export(layout: RunLayout) -> bytes:
    """The statement as indented JSON.

    Raises:
        UnknownRun: The run's manifest cannot be read.
    """
    return dumps(run_statement(layout)).encode()
