"""Whether the scripts, targets, pipelines, command words and paths that a page names exist.

The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from codex_orchestrator.checks.makefiles import Makefiles
from codex_orchestrator.checks.packages import Packages
from codex_orchestrator.checks.path_checker import PathChecker
from codex_orchestrator.checks.paths import is_misspelled
from codex_orchestrator.checks.programs import CommandWords, Reference
from codex_orchestrator.checks.references import PageNames
from codex_orchestrator.checks.report import Fault
from codex_orchestrator.checks.repository_files import RepositoryFiles
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.text import printable

# A page speaks of this repository where so many times more of what it names exists than does not.
_FOUND_PER_MISSING = 3
# What every repository has some of; the other kinds are words of our own command line.
_OF_REPOSITORIES = ("make-target", "npm-script", "path")
_HINT = "Correct the page; a name that belongs elsewhere can be listed in guards.docs.ignore."


@dataclass(frozen=True)
class KnownNames:
    """The names that a page may use beside those of files.

    Attributes:
        environment: The repository and its surroundings.
        pipelines: The ids of all pipelines.
        commands: The words of ``codex-orchestrator``, by command.
    """

    environment: Environment
    pipelines: Collection[str]
    commands: Mapping[str, CommandWords]


@dataclass(frozen=True)
class PageResult:
    """The result of checking the names on a page.

    Attributes:
        faults: An entry for each name that must exist and does not.
        checked: How many names were checked.
    """

    faults: tuple[Fault, ...]
    checked: int


class ReferenceChecker:
    """Checks the names on pages against the repository, its pipelines and our command line."""

    def __init__(self, known: KnownNames, repository: RepositoryFiles, *, ignore: Iterable[str] = ()) -> None:
        """Check nothing yet.

        Args:
            known: The names that pages may use beside those of files.
            repository: The files and folders.
            ignore: Patterns of names that are not checked.
        """
        self._known = known
        self._ignore = tuple(pattern.rstrip("/") for pattern in ignore)
        self._repository = repository
        self._packages = Packages(known.environment.root, repository)
        self._path_checker = PathChecker(known.environment, repository, self._packages)
        self._makefiles = Makefiles(known.environment)

    def check(self, page: str, named: PageNames) -> PageResult:
        """Check what a page names.

        Raises:
            UsageError: A package.json or a Makefile cannot be read.
        """
        wanted = [one for one in named.references if not self._is_ignored(one.words)]
        there: list[Reference] = []
        missing: list[Reference] = []
        for one in wanted:
            (there if self._is_there(one, page) else missing).append(one)
        missing = [one for one in missing if not _is_shown(one, named)]
        shown = sum(self._shows_this_repository(one, page) for one in there)
        missing_here = sum(
            one.kind != "path" or self._path_checker.may_lie_here(one.name, page) for one in missing
        )
        mostly_found = shown >= _FOUND_PER_MISSING * max(1, missing_here)
        faults = tuple(
            Fault(f"docs-{one.kind}", told, _HINT, one.line)
            for one in missing
            if (told := self._fault(one, page, mostly_found=mostly_found)) is not None
        )
        # A name counts as checked if it would be a fault, were it missing too.
        mostly_found = shown - 1 >= _FOUND_PER_MISSING * (missing_here + 1)
        return PageResult(
            faults, len(faults) + sum(self._counts(one, page, mostly_found=mostly_found) for one in there)
        )

    def _counts(self, one: Reference, page: str, *, mostly_found: bool) -> bool:
        """Whether a name that exists would be a fault if it did not."""
        if one.kind not in _OF_REPOSITORIES:
            return True
        is_ours = mostly_found or self._is_for_contributors(one)
        if one.kind != "path":
            return is_ours
        return self._repository.lies_at(one.name, page) is not None and self._path_checker.must_exist(
            one.name, page, is_ours=is_ours, mostly_found=mostly_found
        )

    def _is_for_contributors(self, one: Reference) -> bool:
        """Whether it is said to contributors; everything is, where the repository publishes no package."""
        return one.for_contributors or not self._packages.are_published

    def _shows_this_repository(self, one: Reference, page: str) -> bool:
        """Whether a name that exists suggests that the page speaks of this repository."""
        if one.kind == "path":
            return self._path_checker.may_lie_here(one.name, page) and bool(
                self._repository.lies_at(one.name, page)
            )
        return one.kind == "npm-script" or (one.kind == "make-target" and one.name in self._targets)

    def _is_there(self, one: Reference, page: str) -> bool:
        if one.kind == "path":
            return self._path_checker.has(one.name, page)
        if one.kind == "npm-script":
            return self._packages.may_have_script(one.name)
        if one.kind == "make-target":
            return self._makefiles.may_have(one.name, page)
        if one.kind == "pipeline":
            return one.name in self._known.pipelines
        return self._missing_word(one) is None

    def _fault(self, one: Reference, page: str, *, mostly_found: bool) -> str | None:
        """What is wrong with a name that does not exist; None where it may speak of another repository."""
        if one.kind == "pipeline":
            return f'There is no pipeline "{printable(one.name)}".'
        if one.kind in ("command", "flag", "argument"):
            return self._missing_word(one)
        is_ours = mostly_found or self._is_for_contributors(one)
        if one.kind == "path":
            return self._path_checker.fault(one.name, page, is_ours=is_ours, mostly_found=mostly_found)
        names = self._targets if one.kind == "make-target" else self._packages.scripts
        if not (is_ours or any(is_misspelled(one.name, name) for name in names or ())):
            return None
        return self._missing_target(one.name) if one.kind == "make-target" else self._missing_script(one.name)

    def _missing_word(self, one: Reference) -> str | None:
        """What is wrong with a word of our command line; None where it exists."""
        commands, name = self._known.commands, printable(one.name)
        program = f"codex-orchestrator {one.command}".strip()
        if one.kind == "command":
            return None if one.name in commands else f'{program} has no command "{name}".'
        if one.kind == "flag":
            return None if one.name in commands[one.command].flags else f"{program} has no flag {name}."
        return None if one.name in commands[one.command].choices else f'{program} knows no "{name}".'

    def _missing_script(self, name: str) -> str:
        if self._packages.scripts is None:
            return f'The npm script "{printable(name)}" is named, but there is no package.json.'
        return f'package.json has no script "{printable(name)}".'

    def _missing_target(self, name: str) -> str:
        if self._makefiles.of_root is None:
            return f'The make target "{printable(name)}" is named, but there is no Makefile.'
        return f'The Makefile has no target "{printable(name)}".'

    @property
    def _targets(self) -> Collection[str]:
        """The targets of the root's Makefile."""
        root = self._makefiles.of_root
        return root.names if root else ()

    def _is_ignored(self, words: str) -> bool:
        return any(fnmatchcase(words.rstrip("/"), pattern) for pattern in self._ignore)


def _is_shown(one: Reference, named: PageNames) -> bool:
    """Whether examples on the page itself make or define it."""
    if one.kind == "path":
        bare = one.name.rstrip("/")
        return bare in named.made or any(made.startswith(bare + "/") for made in named.made)
    return one.kind in ("make-target", "npm-script", "pipeline") and one.name in named.shown
