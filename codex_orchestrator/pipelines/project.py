"""What kind of repository this is and which tools it can use, as the packaged pipelines ask.

A packaged stage lists candidates; the first whose ``when`` holds gives the command. Conditions:
``file:<path>``, ``npm:<script>``, ``make:<target>``, ``module:<name>``, ``tool:<name>``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

from codex_orchestrator import named, sources
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import Misplaced
from codex_orchestrator.records import loads

Kind = Literal["npm", "python", "bare"]

_PYTHON_MARKS = ("pyproject.toml", "setup.cfg", "setup.py")
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")


class Project:
    """Questions about the repository, answered from files and PATH without starting anything.

    Attributes:
        notices: What was taken for missing, as it leads out of the repository.
    """

    def __init__(self, environment: Environment) -> None:
        self.notices: dict[str, None] = {}
        self._root = environment.root
        self._variables = environment.variables

    @property
    def kind(self) -> Kind:
        """``npm`` with a package.json, ``python`` with a Python project file, else ``bare``."""
        if self._has_file("package.json"):
            return "npm"
        if any(self._has_file(mark) for mark in _PYTHON_MARKS):
            return "python"
        return "bare"

    def holds(self, condition: str) -> bool:
        """Whether a condition of a packaged stage holds here.

        Raises:
            ValueError: The packaged file uses a condition that does not exist.
        """
        what, _, name = condition.partition(":")
        if what == "file":
            return self._has_file(name)
        if what == "npm":
            return name in self._npm_scripts
        if what == "make":
            return self._has_target(name) and self._which("make") is not None
        if what == "module":
            return self._has_module(name)
        if what == "tool":
            return self._tool(name) is not None
        raise ValueError(f"unknown condition {condition!r}")

    def fill(self, command: str) -> str:
        """A packaged command with ``{python}``, ``{orchestrator}`` and ``{tool:<name>}`` filled in."""
        command = command.replace("{python}", self._spelled("python", self._python))
        # -P: the folder that is judged must not have a say in what judges it.
        command = command.replace("{orchestrator}", f"{shlex.quote(sys.executable)} -P -m codex_orchestrator")
        return re.sub(r"\{tool:(\w+)\}", lambda match: self._spelled(match[1], self._tool(match[1])), command)

    @cached_property
    def _python(self) -> Path:
        """The project's interpreter: the active venv's, ``.venv``'s, else the one running this."""
        for folder in (self._variables.get("VIRTUAL_ENV"), self._root / ".venv"):
            if folder and named.kind(Path(folder) / "bin" / "python"):
                return Path(folder) / "bin" / "python"
        return Path(sys.executable)

    @cached_property
    def _npm_scripts(self) -> frozenset[str]:
        try:
            document = loads(sources.read(self._root / "package.json", root=self._root))
            scripts = document.get("scripts") if isinstance(document, dict) else None
        except (OSError, ValueError, Misplaced):
            scripts = None  # None of it is there to be called; what else calls npm is told what is wrong.
        return frozenset(scripts) if isinstance(scripts, dict) else frozenset()

    def _has_file(self, name: str) -> bool:
        try:
            return sources.kind(self._root / name, root=self._root) == "file"
        except Misplaced as error:
            self.notices[error.message] = None
            return False

    def _has_target(self, name: str) -> bool:
        try:
            return name in self.make_targets
        except OSError:
            return False  # It cannot be read; whoever asks for a target of it by name is told so.

    @cached_property
    def make_targets(self) -> frozenset[str]:
        """The targets that the Makefile itself has; none without one."""
        return frozenset(
            target
            for match in re.finditer(r"^([A-Za-z0-9_. /-]+?)\s*::?(?!=)", self.makefile or "", re.MULTILINE)
            for target in match[1].split()
        )

    @cached_property
    def makefile(self) -> str | None:
        """The text of the Makefile that make would take, or None."""
        for name in _MAKEFILES:
            if self._has_file(name):
                return sources.read(self._root / name, root=self._root).decode("utf-8", "replace")
        return None

    def _has_module(self, name: str) -> bool:
        if self._python == Path(sys.executable):
            paths = [entry for entry in sys.path if entry and Path(entry) != self._root]
        else:
            library = self._python.parent.parent / "lib"
            paths = [
                str(library / name / "site-packages")
                for name in named.names(library)
                if name.startswith("python")
            ]
        found = PathFinder.find_spec(name, paths)
        # A folder of build output is a namespace package to Python, but no `build` module.
        return found is not None and found.origin is not None

    def _tool(self, name: str) -> Path | None:
        beside = self._python.parent / name
        if named.is_executable(beside):
            return beside
        found = self._which(name)
        return Path(found) if found else None

    def _which(self, name: str) -> str | None:
        return shutil.which(name, path=self._variables.get("PATH", os.defpath))

    def _spelled(self, name: str, path: Path | None) -> str:
        """The plain name where PATH finds that very file, else its path."""
        found = self._which(name)
        if path is None or (found and Path(found).absolute() == path.absolute()):
            return name
        return shlex.quote(str(path))
