"""The report of a guard: findings and notices, as text for people and as JSON.

The form is in docs/reference/guards.md, section "Answers".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED
from codex_orchestrator.rules.summary import not_checked
from codex_orchestrator.text import printable


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        path: The file or folder it is about, relative to the guarded folder.
        rule: A stable name of the broken rule.
        message: What is wrong, in one sentence.
        hint: What to do about it.
        line: Where in the file, counted from 1; None where it is about the file as a whole.
    """

    path: str
    rule: str
    message: str
    hint: str
    line: int | None = None

    def to_json(self) -> dict[str, object]:
        """Plain values; ``line`` only where there is one."""
        place = {} if self.line is None else {"line": self.line}
        told = {"rule": self.rule, "message": self.message, "hint": self.hint}
        return {"path": encodable(self.path), **place, **told}

    def to_text(self) -> str:
        """Two lines: what is wrong, and what to do."""
        place = "" if self.line is None else f":{self.line}"
        return f"{printable(self.path)}{place}: {self.message} [{self.rule}]\n  {self.hint}"


@dataclass(frozen=True)
class Fault:
    """A finding in a text that is not yet tied to a file."""

    rule: str
    message: str
    hint: str
    line: int | None = None

    def at(self, path: str) -> Finding:
        """The same as a finding in the file `path`."""
        return Finding(path, self.rule, self.message, self.hint, self.line)


@dataclass(frozen=True, kw_only=True)
class Report(ABC):
    """What one guard found.

    Attributes:
        findings: Broken rules.
        notices: What the reader must know about the check, one sentence each.
    """

    GUARD: ClassVar[str]  # as in ``guard <name>``
    LABEL: ClassVar[str]  # how the last line of the text begins

    findings: tuple[Finding, ...]
    notices: tuple[str, ...]

    @abstractmethod
    def details(self) -> dict[str, object]:
        """What the JSON answer has beside that of every guard."""

    @abstractmethod
    def scope(self) -> str:
        """What was looked at, for the last line of the text."""

    @property
    def unchecked(self) -> str | None:
        """Why there was nothing to check, in one sentence; None where something was."""
        return None

    def preface(self) -> tuple[str, ...]:
        """Lines that come before everything else in the text."""
        return ()

    @property
    def status(self) -> str:
        """``ok`` or ``findings``; a guard may have further words for findings that do not count."""
        return "findings" if self.findings else "ok"

    def exit_code(self, *, dry_run: bool) -> int:
        """1 where there are findings that count and it is no dry run, else 0."""
        return EXIT_RUN_FAILED if self.status == "findings" and not dry_run else EXIT_OK

    def to_json(self) -> dict[str, object]:
        """The report as plain values for JSON; bytes of file names that are not UTF-8 appear as escapes."""
        return {
            "guard": self.GUARD,
            "status": self.status,
            "unchecked": self.unchecked,
            **self.details(),
            "findings": [finding.to_json() for finding in self.findings],
            "notices": list(self.notices),
        }


def render_text(report: Report, *, dry_run: bool) -> str:
    """The report for people: findings, notices and a last line that says how it ended."""
    # First of all: a stage's summary shows the beginning of what it printed.
    unchecked = [not_checked(report.LABEL, report.unchecked)] if report.unchecked else []
    lines = [*unchecked, *report.preface(), *(finding.to_text() for finding in report.findings)]
    lines += [f"Notice: {notice}" for notice in report.notices]
    verdict = counted(len(report.findings), "finding") if report.findings else "no findings"
    if report.status not in ("ok", "findings"):
        verdict += f", {report.status}"
    elif report.findings and dry_run:
        verdict += " (dry run: the exit code is 0 all the same)"
    lines.append(f"{report.LABEL}: {verdict}; {report.scope()}.")
    return "\n".join(lines) + "\n"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 file``, ``2 files``; `plural` where it is not formed with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def encodable(text: str) -> str:
    """`text` as JSON can hold it: stray bytes of file names as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
