"""Reads the pages that guards check; what cannot be read becomes a finding."""

from __future__ import annotations

from pathlib import Path

from codex_orchestrator import named, sources
from codex_orchestrator.checks.report import Fault, Finding
from codex_orchestrator.errors import Misplaced
from codex_orchestrator.text import printable

# Longer pages are not written for readers; they are judged by their beginning.
PAGE_BYTES = 1024 * 1024
_HINT = "Put a readable file in its place, or remove it."


class PageReader:
    """Reads text files of a repository, and notes which could not be read as a whole.

    Attributes:
        findings: Files that cannot be read.
        notices: Files that were not read as a whole, for a reason that is no fault.
        count: How many were read.
    """

    def __init__(self, root: Path, rule: str) -> None:
        """Args: the guarded folder, and the rule that unreadable files break."""
        self._root = root
        self._rule = rule
        self.findings: list[Finding] = []
        self.notices: list[str] = []
        self.count = 0

    def read(self, path: str) -> str | None:
        """The beginning of a file as text; None where there is nothing to read. Stray bytes are replaced."""
        file = self._root / path
        if not named.is_there(file):
            return None  # Deleted, but git still lists it.
        try:
            sources.within(file, self._root)
        except Misplaced:
            self.notices.append(f"{printable(path)} leads out of the repository and was not read.")
            return None
        try:
            with sources.open_stream(file, root=self._root) as stream:
                content = stream.read(PAGE_BYTES + 1)
        except (Misplaced, FileNotFoundError):  # As links that lead nowhere, or in a circle.
            self._refuse(path, "The page is not a regular file.")
            return None
        except OSError as error:
            self._refuse(path, f"The page cannot be read: {error.strerror}.")
            return None
        self.count += 1
        if len(content) > PAGE_BYTES:
            self.notices.append(
                f"{printable(path)} is very long: only its first {PAGE_BYTES} bytes were read."
            )
        return content[:PAGE_BYTES].decode("utf-8-sig", "replace")

    def _refuse(self, path: str, message: str) -> None:
        self.findings.append(Fault(self._rule, message, _HINT).at(path))
