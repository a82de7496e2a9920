"""Whether what a page names exists.

The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from codex_orchestrator.checks.makefiles import Makefiles
from codex_orchestrator.checks.packages import Packages
from codex_orchestrator.checks.programs import CommandWords, Reference
from codex_orchestrator.checks.references import PageNames
from codex_orchestrator.checks.report import Fault
from codex_orchestrator.checks.repository_files import RepositoryFiles
from codex_orchestrator.checks.similar_paths import is_misspelled
from codex_orchestrator.checks.whereabouts import PathChecker
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.text import printable

# A page is at home where it names so many things that are there, and as many times what is not.
_AT_HOME = 3
# What every repository has some of; the other kinds are words of our own command line.
_OF_REPOSITORIES = ("make-target", "npm-script", "path")
_HINT = "Correct the page; a name that belongs elsewhere can be listed in guards.docs.ignore."


@dataclass(frozen=True)
class KnownNames:
    """What there is beside files.

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
    """What became of the names of a page.

    Attributes:
        faults: Those that lead nowhere and should not.
        checked: How many were looked for.
    """

    faults: tuple[Fault, ...]
    checked: int


class ReferenceChecker:
    """Knows what there is in a repository, and what a page may name without its being there."""

    def __init__(self, known: KnownNames, inventory: RepositoryFiles, *, ignore: Iterable[str] = ()) -> None:
        """Args: what there is beside files, the files, and patterns of names that are not looked for."""
        self._known = known
        self._ignore = tuple(pattern.rstrip("/") for pattern in ignore)
        self._inventory = inventory
        self._packages = Packages(known.environment.root, inventory)
        self._whereabouts = PathChecker(known.environment, inventory, self._packages)
        self._makefiles = Makefiles(known.environment)

    def judged(self, page: str, named: PageNames) -> PageResult:
        """What a page names, looked for.

        Raises:
            UsageError: A package.json or a Makefile cannot be read.
        """
        wanted = [one for one in named.references if not self._is_ignored(one.words)]
        there: list[Reference] = []
        missing: list[Reference] = []
        for one in wanted:
            (there if self._is_there(one, page) else missing).append(one)
        missing = [one for one in missing if not _is_shown(one, named)]
        shown = sum(self._shows_home(one, page) for one in there)
        astray = sum(one.kind != "path" or self._whereabouts.may_lie_here(one.name, page) for one in missing)
        at_home = shown >= _AT_HOME * max(1, astray)
        faults = tuple(
            Fault(f"docs-{one.kind}", told, _HINT, one.line)
            for one in missing
            if (told := self._fault(one, page, at_home=at_home)) is not None
        )
        # Would it be wrong, if it were one more of those that are not there?
        at_home = shown - 1 >= _AT_HOME * (astray + 1)
        return PageResult(
            faults, len(faults) + sum(self._counts(one, page, at_home=at_home) for one in there)
        )

    def _counts(self, one: Reference, page: str, *, at_home: bool) -> bool:
        """Whether something that is there would be missed."""
        if one.kind not in _OF_REPOSITORIES:
            return True
        is_ours = at_home or self._is_for_work(one)
        if one.kind != "path":
            return is_ours
        return self._inventory.lies_at(one.name, page) is not None and self._whereabouts.must_lead_somewhere(
            one.name, page, is_ours=is_ours, at_home=at_home
        )

    def _is_for_work(self, one: Reference) -> bool:
        """Whether it is said to those who work here, as all is where nothing is made for others."""
        return one.for_work or not self._packages.are_for_others

    def _shows_home(self, one: Reference, page: str) -> bool:
        """Whether something that is there shows that the page speaks of this repository."""
        if one.kind == "path":
            return self._whereabouts.may_lie_here(one.name, page) and bool(
                self._inventory.lies_at(one.name, page)
            )
        return one.kind == "npm-script" or (one.kind == "make-target" and one.name in self._targets)

    def _is_there(self, one: Reference, page: str) -> bool:
        if one.kind == "path":
            return self._whereabouts.has(one.name, page)
        if one.kind == "npm-script":
            return self._packages.may_have_script(one.name)
        if one.kind == "make-target":
            return self._makefiles.may_have(one.name, page)
        if one.kind == "pipeline":
            return one.name in self._known.pipelines
        return self._missing_word(one) is None

    def _fault(self, one: Reference, page: str, *, at_home: bool) -> str | None:
        """Why a reference that leads nowhere is wrong; None where it may speak of another repository."""
        if one.kind == "pipeline":
            return f'There is no pipeline "{printable(one.name)}".'
        if one.kind in ("command", "flag", "argument"):
            return self._missing_word(one)
        is_ours = at_home or self._is_for_work(one)
        if one.kind == "path":
            return self._whereabouts.fault(one.name, page, is_ours=is_ours, at_home=at_home)
        names = self._targets if one.kind == "make-target" else self._packages.scripts
        if not (is_ours or any(is_misspelled(one.name, name) for name in names or ())):
            return None
        return self._missing_target(one.name) if one.kind == "make-target" else self._missing_script(one.name)

    def _missing_word(self, one: Reference) -> str | None:
        """Of our own command line."""
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
        """The targets that the root's Makefile shows."""
        root = self._makefiles.of_root
        return root.names if root else ()

    def _is_ignored(self, words: str) -> bool:
        return any(fnmatchcase(words.rstrip("/"), pattern) for pattern in self._ignore)


def _is_shown(one: Reference, named: PageNames) -> bool:
    """Whether the page itself makes or defines it."""
    if one.kind == "path":
        bare = one.name.rstrip("/")
        return bare in named.made or any(made.startswith(bare + "/") for made in named.made)
    return one.kind in ("make-target", "npm-script", "pipeline") and one.name in named.shown
