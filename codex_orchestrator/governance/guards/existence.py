"""Whether what a page names exists.

The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cached_property

from codex_orchestrator import named, sources
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UsageError
from codex_orchestrator.records import loads
from codex_orchestrator.repository.project import Project
from codex_orchestrator.text import printable

from .inventory import Inventory
from .programs import CommandWords, Reference
from .references import Named
from .report import Fault

# Made by runs, builds and package managers: documents name what will be there.
_MADE_LATER = frozenset({".git", ".runs", ".venv", "node_modules", "out"})
_EXTENSION = re.compile(r"\.[A-Za-z]\w{0,9}$")
# A Makefile that takes targets from other files, or makes them of patterns, has more than it shows.
_MORE_TARGETS = re.compile(r"^(?:-|s)?include\s|^[^\s#=]*[%$][^\n=]*:(?!=)", re.MULTILINE)
_HINT = "Correct the page; a name that belongs elsewhere can be listed in guards.docs.ignore."


@dataclass(frozen=True)
class Known:
    """What there is beside files.

    Attributes:
        environment: The repository and its surroundings.
        pipelines: The ids of all pipelines.
        commands: The words of ``codex-orchestrator``, by command.
    """

    environment: Environment
    pipelines: Collection[str]
    commands: Mapping[str, CommandWords]


class Existence:
    """Knows what there is in a repository, and what a page may name without its being there."""

    def __init__(self, known: Known, inventory: Inventory, *, ignore: Iterable[str] = ()) -> None:
        """Args: what there is beside files, the files, and patterns of names that are not looked for."""
        self._known = known
        self._inventory = inventory
        self._ignore = tuple(pattern.rstrip("/") for pattern in ignore)
        self._environment = known.environment
        self._project = Project(known.environment)

    def faults(self, page: str, named: Named) -> Iterator[Fault]:
        """What a page names and is not there."""
        for one in named.references:
            told = None if self._is_ignored(one.words) else self._missing(one, page, named)
            if told is not None:
                yield Fault(f"docs-{one.kind}", told, _HINT, one.line)

    def _missing(self, one: Reference, page: str, named: Named) -> str | None:
        """Why a reference leads nowhere, or None."""
        if one.kind == "path":
            return self._missing_path(one.name, page, named)
        if one.kind in ("command", "flag", "argument"):
            return self._missing_word(one)
        if one.name in named.shown:
            return None
        if one.kind == "pipeline":
            known = one.name in self._known.pipelines
            return None if known else f'There is no pipeline "{printable(one.name)}".'
        if one.kind == "npm-script":
            return self._missing_script(one.name)
        return self._missing_target(one.name)

    def _missing_word(self, one: Reference) -> str | None:
        """Of our own command line."""
        commands, name = self._known.commands, printable(one.name)
        program = f"codex-orchestrator {one.command}".strip()
        if one.kind == "command":
            return None if one.name in commands else f'{program} has no command "{name}".'
        if one.kind == "flag":
            return None if one.name in commands[one.command].flags else f"{program} has no flag {name}."
        return None if one.name in commands[one.command].choices else f'{program} knows no "{name}".'

    def _missing_script(self, name: str) -> str | None:
        if self._scripts is None:
            return f'The npm script "{printable(name)}" is named, but there is no package.json.'
        return None if name in self._scripts else f'package.json has no script "{printable(name)}".'

    def _missing_target(self, name: str) -> str | None:
        try:
            makefile = self._project.makefile
        except OSError as error:
            raise UsageError(f"The Makefile cannot be read: {error.strerror}.") from error
        if makefile is None:
            return f'The make target "{printable(name)}" is named, but there is no Makefile.'
        if name in self._project.make_targets or _MORE_TARGETS.search(makefile):
            return None
        return f'The Makefile has no target "{printable(name)}".'

    def _missing_path(self, path: str, page: str, named: Named) -> str | None:
        bare = path.rstrip("/")
        if bare in named.made or any(made.startswith(bare + "/") for made in named.made):
            return None
        if not self._belongs_here(path, page) or self._inventory.has(path, page):
            return None
        return None if self._inventory.ignores(path) else f"There is no {printable(path)}."

    def _belongs_here(self, path: str, page: str) -> bool:
        """Whether it is a path of this repository that must be there now, and no other word with a slash."""
        beside = posixpath.dirname(page) if path.startswith("..") else ""
        place = posixpath.normpath(posixpath.join(beside, path))
        first, _, rest = place.partition("/")
        if first == ".." or first in _MADE_LATER or self._is_of_runs(place) or "node_modules" in rest:
            return False
        if first != "." and named.is_there(self._environment.root / first):
            return True
        if "." in first.removeprefix("."):
            return False  # The name of a host.
        # A folder without a folder around it may be anywhere, like a file without one.
        return (path.endswith("/") and bool(rest)) or _EXTENSION.search(path) is not None

    def _is_of_runs(self, path: str) -> bool:
        folders = (self._environment.runs_dir, self._environment.out_dir)
        return any((self._environment.root / path).is_relative_to(folder) for folder in folders)

    def _is_ignored(self, words: str) -> bool:
        return any(fnmatchcase(words.rstrip("/"), pattern) for pattern in self._ignore)

    @cached_property
    def _scripts(self) -> Collection[str] | None:
        """The scripts of package.json; None without one."""
        root = self._environment.root
        try:
            scripts = loads(sources.read(root / "package.json", root=root)).get("scripts", {})
            return frozenset(scripts) if isinstance(scripts, dict) else frozenset()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"package.json cannot be read: {error.strerror}.") from error
        except (ValueError, AttributeError) as error:
            raise UsageError(
                "package.json is not a JSON object, so that its scripts are not known."
            ) from error
