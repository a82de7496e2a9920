"""The diff budget: a change is small enough to be reviewed, or says why it is not.

The rules are in docs/reference/guards.md, section "Diff budget".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import UsageError
from codex_orchestrator.text import printable

from .difference import FileChange, read_difference
from .report import Finding, Report, counted, encodable

OVERRIDE_FLAG = "--override"
OVERRIDE_VARIABLE = "DIFF_BUDGET_OVERRIDE_REASON"
# Written by package managers: long, and nobody reviews them line by line.
LOCK_FILES = frozenset(
    {
        *("Cargo.lock", "Gemfile.lock", "Pipfile.lock", "composer.lock", "go.sum", "npm-shrinkwrap.json"),
        *("package-lock.json", "pnpm-lock.yaml", "poetry.lock", "uv.lock", "yarn.lock"),
    }
)
_LARGEST_SHOWN = 10
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
        root: The guarded folder.
        environ: The environment (BASE_SHA, the override, and what git itself reads).
        base: The value of ``--base``, or None.
        override: The value of ``--override``, or None.
        max_files: How many files may change.
        max_lines: How many lines may be added and deleted, together.
        left_out: Folders whose files do not count, relative to the root.
    """

    root: Path
    environ: Mapping[str, str]
    base: str | None = None
    override: str | None = None
    max_files: int = 25
    max_lines: int = 800
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DiffBudgetReport(Report):
    """What was measured.

    Attributes:
        base: Full hash of the commit compared with; None where changes were not measured.
        base_source: ``--base``, ``BASE_SHA``, ``origin/main`` or ``first commit``; None like `base`.
        changes: The files that count, sorted by path.
        left_out: How many changed files do not count.
        max_files: The budget of files.
        max_lines: The budget of lines.
        override: The reason that was given, or None.
    """

    GUARD = "diff-budget"
    LABEL = "diff-budget"

    base: str | None
    base_source: str | None
    changes: tuple[FileChange, ...]
    left_out: int
    max_files: int
    max_lines: int
    override: Override | None

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
        lines = {"total": added + deleted, "added": added, "deleted": deleted, "limit": self.max_lines}
        override = self.override
        return {
            "base": self.base,
            "base_source": self.base_source,
            "files": {"total": len(self.changes), "left_out": self.left_out, "limit": self.max_files},
            "lines": lines,
            "largest": [_row(change) for change in largest(self.changes)],
            "override": override and {"reason": encodable(override.reason), "source": override.source},
        }

    @property
    def unchecked(self) -> str | None:
        """Without a commit to compare with, no change is seen."""
        return None if self.base else "there is no commit to compare with."

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
        used = f"{files} and {lines} of {counted(self.max_lines, 'line')} changed"
        more = f"; {counted(self.left_out, 'file')} left out" if self.left_out else ""
        return f"{used} since {self.base[:12]} ({self.base_source}){more}"


def check_diff_budget(request: DiffBudgetRequest) -> DiffBudgetReport:
    """Measure the changes since the base.

    Raises:
        UsageError: An override without a reason, a bad base, or a repository that cannot be read.
    """
    override = choose_override(request.override, request.environ)
    difference = read_difference(request.root, request.environ, request.base)
    counting = tuple(change for change in difference.files if not _is_left_out(change.path, request.left_out))
    base = difference.changes.base
    return DiffBudgetReport(
        findings=judge_size(counting, max_files=request.max_files, max_lines=request.max_lines),
        notices=difference.changes.notices,
        base=base.commit if base else None,
        base_source=base.source if base else None,
        changes=counting,
        left_out=len(difference.files) - len(counting),
        max_files=request.max_files,
        max_lines=request.max_lines,
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


def judge_size(changes: tuple[FileChange, ...], *, max_files: int, max_lines: int) -> tuple[Finding, ...]:
    """What is too large about these changes."""
    findings = []
    if len(changes) > max_files:
        message = f"{counted(len(changes), 'file')} changed, more than {max_files}."
        findings.append(Finding(".", "diff-files", message, _HINT))
    lines = sum(change.lines for change in changes)
    if lines > max_lines:
        shown = ", ".join(f"{printable(one.path)} ({one.lines})" for one in largest(changes)[:3])
        message = f"{counted(lines, 'line')} changed, more than {max_lines}; the most in {shown}."
        findings.append(Finding(".", "diff-lines", message, _HINT))
    return tuple(findings)


def largest(changes: Iterable[FileChange]) -> list[FileChange]:
    """The files with the most changed lines, at most ten, the largest first."""
    return sorted(changes, key=lambda change: (-change.lines, change.path))[:_LARGEST_SHOWN]


def _row(change: FileChange) -> dict[str, object]:
    return {
        "path": encodable(change.path),
        "added": change.added,
        "deleted": change.deleted,
        "binary": change.binary,
    }


def _is_left_out(path: str, folders: tuple[str, ...]) -> bool:
    if path.rpartition("/")[2] in LOCK_FILES:
        return True
    return any(path == folder or path.startswith(folder + "/") for folder in folders)
