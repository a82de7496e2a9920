"""What is wrong with evidence, one thing at a time (docs/reference/command-line.md, "verify")."""

from __future__ import annotations

from typing import Literal

from codex_orchestrator.dataclass import dataclass

FlawKind = Literal[
    "changed",
    "missing",
    "added",
    "contradiction",
    "chain-broken",
    "not-sealed",
    "not-signed",
    "bad-signature",
    "unreadable",
]


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong.

    Attributes:
        kind: A stable name of what it is.
        path: The file, from the root.
        message: What was expected there, and what there is.
        run_id: The run that it is about.
    """

    kind: FlawKind
    path: str
    message: str
    run_id: str

    @property
    def text(self) -> str:
        """All of it on one line, as it is."""
        return f"{self.kind}: {self.path}: {self.message}"
