"""The docs guard: what the documentation names must exist.

The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

from codex_orchestrator.checks.audience import is_page
from codex_orchestrator.checks.pages import PageReader
from codex_orchestrator.checks.reference_checker import KnownNames, ReferenceChecker
from codex_orchestrator.checks.references import names_in
from codex_orchestrator.checks.report import Finding, Report, counted
from codex_orchestrator.checks.repository_files import RepositoryFiles
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.definitions import DocsGuardSettings

TASKS_PAGE = "docs/TASKS.md"


@dataclass(frozen=True)
class DocsGuardRequest:
    """What to check.

    Attributes:
        known: The guarded folder, its pipelines and our command line.
        settings: What the configuration says.
    """

    known: KnownNames
    settings: DocsGuardSettings


@dataclass(frozen=True, kw_only=True)
class DocsGuardReport(Report):
    """The findings, page by page in the order of their lines.

    Attributes:
        checked_pages: How many pages were read.
        checked_names: How many names in them were checked.
    """

    GUARD = "docs"
    LABEL = "docs-guard"

    checked_pages: int
    checked_names: int

    def details(self) -> dict[str, object]:
        """How much was looked at."""
        return {"checked_pages": self.checked_pages, "checked_names": self.checked_names}

    @property
    def unchecked(self) -> str | None:
        """``there is no page to read.`` where the repository has none."""
        return None if self.checked_pages else "there is no page to read."

    def scope(self) -> str:
        """How much was looked at."""
        return f"{counted(self.checked_names, 'name')} on {counted(self.checked_pages, 'page')} checked"


def check_docs(request: DocsGuardRequest) -> DocsGuardReport:
    """Check everything that the documentation pages name.

    Raises:
        UsageError: The repository, its package.json or its Makefile cannot be read.
    """
    environment = request.known.environment
    reader = PageReader(environment.root, "docs-unreadable")
    repository = RepositoryFiles(environment.root, environment.variables)
    checker = ReferenceChecker(request.known, repository, ignore=request.settings.ignore)
    findings: list[Finding] = []
    checked = 0
    for path in filter(is_page, repository.files):
        text = reader.read(path)
        if text is None:
            continue
        result = checker.check(path, names_in(path, text, request.known.commands))
        checked += result.checked
        findings += [fault.at(path) for fault in result.faults]
        if path == TASKS_PAGE:
            findings += _judge_length(text, request.settings.tasks_lines)
    if reader.count and not checked:
        reader.notices.append("The pages name nothing that could be looked for.")
    return DocsGuardReport(
        findings=tuple(sorted([*findings, *reader.findings], key=lambda one: (one.path, one.line or 0))),
        notices=tuple(reader.notices),
        checked_pages=reader.count,
        checked_names=checked,
    )


def _judge_length(text: str, limit: int) -> list[Finding]:
    lines = text.count("\n") + (not text.endswith("\n") and text != "")
    if lines <= limit:
        return []
    hint = "Move finished tasks to an archive, or raise guards.docs.tasksLines."
    message = f"The page has {counted(lines, 'line')}, more than {limit}."
    return [Finding(TASKS_PAGE, "docs-tasks-size", message, hint)]
