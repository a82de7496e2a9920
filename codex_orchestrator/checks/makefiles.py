"""Which targets a repository's Makefiles have."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from codex_orchestrator import sources
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import Misplaced, UsageError
from codex_orchestrator.repository.runners import MAKEFILES, make_targets

# A Makefile that takes targets from other files, or makes them of patterns, has more than it shows.
_MORE_TARGETS = re.compile(r"^(?:-|s)?include\s|^[^\s#=]*[%$][^\n=]*:(?!=)", re.MULTILINE)
_DOCS = ("doc", "docs")
# What `make` can do in a folder that Sphinx made, where it hands on whatever it is asked for.
_OF_SPHINX = frozenset(
    {
        "changes",
        "clean",
        "coverage",
        "devhelp",
        "dirhtml",
        "doctest",
        "dummy",
        "epub",
        "gettext",
        "help",
        "html",
    }
    | {"htmlhelp", "info", "json", "latex", "latexpdf", "linkcheck", "livehtml", "man", "pickle", "pseudoxml"}
    | {"singlehtml", "texinfo", "text", "xml"}
)


@dataclass(frozen=True)
class Targets:
    """The targets of a Makefile.

    Attributes:
        names: Those that it shows.
        are_all: Whether it has no others.
    """

    names: frozenset[str]
    are_all: bool


class Makefiles:
    """The targets of the Makefiles in the root, in documentation folders and beside pages."""

    def __init__(self, environment: Environment) -> None:
        """Args: where the repository is."""
        self._environment = environment
        self._known: dict[str, Targets | None] = {}

    @property
    def of_root(self) -> Targets | None:
        """The targets of the root's Makefile; None without one.

        Raises:
            UsageError: It cannot be read.
        """
        return self._in("")

    def may_have(self, name: str, page: str) -> bool:
        """Whether there is such a target; True where it cannot be told.

        Raises:
            UsageError: A Makefile cannot be read.
        """
        root = self.of_root
        if root is not None and (name in root.names or not root.are_all):
            return True
        beside = (str(folder) for folder in PurePosixPath(page).parents if folder.name)
        others = [targets for folder in {*_DOCS, *beside} if (targets := self._in(folder)) is not None]
        return any(name in one.names or (not one.are_all and name in _OF_SPHINX) for one in others)

    def _in(self, folder: str) -> Targets | None:
        if folder not in self._known:
            self._known[folder] = self._read(folder)
        return self._known[folder]

    def _read(self, folder: str) -> Targets | None:
        root = self._environment.root
        for name in MAKEFILES:
            try:
                text = sources.read(root / folder / name, root=root).decode("utf-8", "replace")
            except (FileNotFoundError, Misplaced):
                continue
            except OSError as error:
                raise UsageError(f"The {name} cannot be read: {error.strerror}.") from error
            return Targets(make_targets(text), are_all=_MORE_TARGETS.search(text) is None)
        return None
