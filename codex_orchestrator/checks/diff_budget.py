"""The diff budget: a change is small enough to be reviewed, or says why it is not.

The rules are in docs/reference/guards.md, section "Diff budget".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from codex_orchestrator.checks.base import Base
from codex_orchestrator.checks.changes import ChangeRequest
from codex_orchestrator.checks.difference import Difference, FileChange, read_difference
from codex_orchestrator.checks.report import Finding, Report, counted, encodable
from codex_orchestrator.checks.worktree_files import readable_size
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import UsageError
from codex_orchestrator.text import printable

OVERRIDE_FLAG = "--override"
OVERRIDE_VARIABLE = "DIFF_BUDGET_OVERRIDE_REASON"
_LARGEST_SHOWN = 10
_NAMED = 3
_HINT = f"Split the change, or say why it must be this large with {OVERRIDE_FLAG} or {OVERRIDE_VARIABLE}."


@dataclass(frozen=True)
class Override:
    """Why a change may exceed its budget, and where that was said: ``--override`` or the variable."""

    reason: str
    source: str


@dataclass(frozen=True)
class DiffBudgetRequest:
    """What to measure, and against what.

    Attributes:
        change: The change.
        override: The value of ``--override``, or None.
        max_files: How many files may change.
        max_lines: How many lines may be added and deleted, together.
        max_bytes: How many bytes of binary files may be added or changed.
    """

    change: ChangeRequest
    override: str | None = None
    max_files: int = 25
    max_lines: int = 800
    max_bytes: int = 1_048_576


@dataclass(frozen=True, kw_only=True)
class DiffBudgetReport(Report):
    """What was measured.

    Attributes:
        difference: The change.
        max_files: The budget of files.
        max_lines: The budget of lines.
        max_bytes: The budget of bytes in binary files.
        override: The reason that was given, or None.
    """

    GUARD = "diff-budget"
    LABEL = "diff-budget"

    difference: Difference
    max_files: int
    max_lines: int
    max_bytes: int
    override: Override | None

    @property
    def changes(self) -> tuple[FileChange, ...]:
        """The files that count, sorted by path."""
        return self.difference.files

    @property
    def base(self) -> Base | None:
        """The commit compared with; None where changes were not measured."""
        return self.difference.changes.base

    @property
    def status(self) -> str:
        """``ok``, ``findings``, or ``overridden`` where there are findings and a reason."""
        if not self.findings:
            return "ok"
        return "findings" if self.override is None else "overridden"

    def details(self) -> dict[str, object]:
        """Base, sums, the largest files and the override."""
        added = sum(change.added for change in self.changes)
        deleted = sum(change.deleted for change in self.changes)
        left_out = len(self.difference.left_out)
        override = self.override
        return {
            "base": self.base and self.base.commit,
            "base_source": self.base and self.base.source,
            "files": {"total": len(self.changes), "left_out": left_out, "limit": self.max_files},
            "lines": {
                "total": added + deleted,
                "added": added,
                "deleted": deleted,
                "limit": self.max_lines,
            },
            "bytes": {"total": total_bytes(self.changes), "limit": self.max_bytes},
            "largest": [change.to_json() for change in largest(self.changes)],
            "override": override and {"reason": encodable(override.reason), "source": override.source},
        }

    @property
    def unchecked(self) -> str | None:
        """Without a commit to compare with, no change is seen."""
        return self.difference.changes.unchecked

    def preface(self) -> tuple[str, ...]:
        """The override first: a stage's summary shows the beginning of what it printed."""
        if self.override is None:
            return ()
        return (f"Override ({self.override.source}): {printable(self.override.reason)}",)

    def scope(self) -> str:
        """How much of the budget is used, since when."""
        if self.base is None:
            return "changes not measured"
        lines = sum(change.lines for change in self.changes)
        files = f"{len(self.changes)} of {counted(self.max_files, 'file')}"
        size = total_bytes(self.changes)
        binary = f", {readable_size(size)} of {readable_size(self.max_bytes)} in binary files" if size else ""
        left_out = len(self.difference.left_out)
        more = f"; {left_out} left out" if left_out else ""
        since = f"since {self.base.commit[:12]} ({self.base.source})"
        return f"{files} and {lines} of {counted(self.max_lines, 'line')} changed{binary} {since}{more}"


def check_diff_budget(request: DiffBudgetRequest) -> DiffBudgetReport:
    """Measure the changes since the base.

    Raises:
        UsageError: An override without a reason, a bad base, or a repository that cannot be read.
    """
    override = choose_override(request.override, request.change.environ)
    difference = read_difference(request.change)
    return DiffBudgetReport(
        findings=judge_size(
            difference.files,
            max_files=request.max_files,
            max_lines=request.max_lines,
            max_bytes=request.max_bytes,
        ),
        notices=difference.notices,
        difference=difference,
        max_files=request.max_files,
        max_lines=request.max_lines,
        max_bytes=request.max_bytes,
        override=override,
    )


def choose_override(flag: str | None, environ: Mapping[str, str]) -> Override | None:
    """The reason that was given, by flag before variable; an empty variable counts as unset.

    Raises:
        UsageError: The flag has no reason.
    """
    if flag is not None:
        if not flag.strip():
            raise UsageError(
                f"{OVERRIDE_FLAG} needs a reason.", hint="Say why the change must be this large."
            )
        return Override(flag.strip(), OVERRIDE_FLAG)
    reason = environ.get(OVERRIDE_VARIABLE, "").strip()
    return Override(reason, OVERRIDE_VARIABLE) if reason else None


def judge_size(
    changes: tuple[FileChange, ...], *, max_files: int, max_lines: int, max_bytes: int
) -> tuple[Finding, ...]:
    """A finding for each limit that the changes exceed."""
    findings = []
    if len(changes) > max_files:
        message = f"{counted(len(changes), 'file')} changed, more than {max_files}."
        findings.append(Finding(".", "diff-files", message, _HINT))
    lines = sum(change.lines for change in changes)
    if lines > max_lines:
        shown = ", ".join(f"{printable(one.name)} ({one.lines})" for one in largest(changes)[:_NAMED])
        message = f"{counted(lines, 'line')} changed, more than {max_lines}; the most in {shown}."
        findings.append(Finding(".", "diff-lines", message, _HINT))
    size = total_bytes(changes)
    if size > max_bytes:
        most = sorted(changes, key=lambda change: (-change.size, change.path))[:_NAMED]
        shown = ", ".join(f"{printable(one.name)} ({one.measure})" for one in most if one.size)
        message = (
            f"{readable_size(size)} changed in binary files, more than {readable_size(max_bytes)}: {shown}."
        )
        findings.append(Finding(".", "diff-bytes", message, _HINT))
    return tuple(findings)


def largest(changes: Iterable[FileChange]) -> list[FileChange]:
    """The files with the most changed lines, then bytes, at most ten, the largest first."""
    return sorted(changes, key=lambda change: (-change.lines, -change.size, change.path))[:_LARGEST_SHOWN]


def total_bytes(changes: Iterable[FileChange]) -> int:
    """The bytes of the binary files among the changes."""
    return sum(change.size for change in changes)
