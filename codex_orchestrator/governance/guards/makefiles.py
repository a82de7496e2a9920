"""Which targets a repository's Makefiles have."""

from __future__ import annotations

import re
from functools import cached_property

from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UsageError
from codex_orchestrator.pipelines.project import Project

from .inventory import Inventory

# A Makefile that takes targets from other files, or makes them of patterns, has more than it shows.
_MORE_TARGETS = re.compile(r"^(?:-|s)?include\s|^[^\s#=]*[%$][^\n=]*:(?!=)", re.MULTILINE)
_OF_DOCS = tuple(f"{folder}/{name}" for folder in ("doc", "docs") for name in ("Makefile", "make.bat"))
# What `make` in the documentation's folder can do where Sphinx made that folder.
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


class Makefiles:
    """Knows the targets of the root's Makefile, and those that documentation comes with."""

    def __init__(self, environment: Environment, inventory: Inventory) -> None:
        """Args: where the repository is, and what lies in it."""
        self._project = Project(environment)
        self._inventory = inventory

    @cached_property
    def targets(self) -> frozenset[str] | None:
        """What the Makefile shows; None without one.

        Raises:
            UsageError: It cannot be read.
        """
        return self._project.make_targets if self._text is not None else None

    def may_have(self, target: str) -> bool:
        """Whether there is such a target, as far as can be told."""
        if self._text is not None and (
            target in self._project.make_targets or _MORE_TARGETS.search(self._text)
        ):
            return True
        return target in _OF_SPHINX and any(path in self._inventory for path in _OF_DOCS)

    @cached_property
    def _text(self) -> str | None:
        try:
            return self._project.makefile
        except OSError as error:
            raise UsageError(f"The Makefile cannot be read: {error.strerror}.") from error
