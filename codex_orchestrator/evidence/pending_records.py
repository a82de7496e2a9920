"""Records that are not merged yet, a file for each run (docs/reference/files.md, "Metrics and state")."""

from __future__ import annotations

from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.text import printable

_MOST_DIGITS = 10


def record_name(run_id: str, attempts: int) -> str:
    """The file name of a run's record: the run id, and from its second start on the number of the start."""
    return run_id if attempts == 1 else f"{run_id}.{attempts}"


@dataclass(frozen=True)
class PendingRecord:
    """A record that is not merged yet, as its file name describes it."""

    path: Path
    run_id: str
    attempt: int


def list_pending(folder: Path, suffix: str, *, below: Path) -> tuple[list[PendingRecord], list[str]]:
    """The pending records in a folder, by run id, and a message for each file that cannot be one.

    Args:
        folder: The folder; one that is not there holds none.
        suffix: Of their names.
        below: The folder above it that the user has chosen.

    Raises:
        Misplaced: The folder is none of ours.
    """
    found, odd = [], []
    for name, kind in places.listed(folder, below=below):
        if not name.endswith(suffix) or name.startswith("."):
            continue
        run_id, attempt = _run_and_attempt(name.removesuffix(suffix))
        if kind == "file" and id_problem(run_id) is None:
            found.append(PendingRecord(folder / name, run_id, attempt))
        else:
            odd.append(f"{printable(str(folder / name))} is no record of a run, and is left alone.")
    return sorted(found, key=lambda each: (each.run_id, each.attempt)), odd


def _run_and_attempt(stem: str) -> tuple[str, int]:
    run_id, dot, attempt = stem.rpartition(".")
    is_number = dot and attempt.isascii() and attempt.isdecimal() and len(attempt) < _MOST_DIGITS
    return (run_id, int(attempt)) if is_number else (stem, 1)
