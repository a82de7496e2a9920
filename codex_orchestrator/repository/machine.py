"""Which of a repository's commands can run on this machine, found without starting anything."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path

from codex_orchestrator import named
from codex_orchestrator.environment import Environment
from codex_orchestrator.repository.commands import (
    Candidate,
    Candidates,
    ChosenCommand,
    Requirement,
)
from codex_orchestrator.repository.python import PythonProject, missing_packages

_INSTALLED = re.compile(r"(?P<name>.+?)-[^-]+\.(?:dist|egg)-info$")
_TOOL = re.compile(r"\{tool:([\w-]+)\}")
_LINKED = re.compile(r"(?P<name>.+)\.egg-link$")


class Machine:
    """The programs on PATH, and the Python environment of the repository."""

    def __init__(self, environment: Environment, python: PythonProject) -> None:
        """Look for nothing yet.

        Args:
            environment: The repository and the variables of the process.
            python: What the repository says of its Python.
        """
        self._root = environment.root
        self._variables = environment.variables
        self._project = python

    def choose(self, candidates: Candidates) -> ChosenCommand:
        """The first candidate whose requirements are met; else the first one, with what it lacks."""
        unavailable: ChosenCommand | None = None
        for candidate in candidates.ordered:
            unmet_ones = (self._unmet(requirement) for requirement in candidate.requirements)
            unmet_one = next(filter(None, unmet_ones), None)
            if unmet_one is None:
                return self._chosen(candidate)
            reason, remedy = unmet_one
            if unavailable is None and reason:
                unavailable = self._chosen(candidate, reason, self.fill(remedy))
        return unavailable or self._chosen(Candidate(candidates.usual, "", configured=False), candidates.none)

    def _chosen(
        self, candidate: Candidate, problem: str | None = None, remedy: str | None = None
    ) -> ChosenCommand:
        return ChosenCommand(
            self.fill(candidate.command),
            self._portable(candidate.command),
            candidate.why,
            problem,
            remedy,
            candidate.configured,
        )

    def _portable(self, command: str) -> str:
        """A command as it may stand in a file that others use."""
        manager = self._project.manager
        if manager is not None and self.which(manager) is not None:
            run = f"{manager} run "
        elif self.own_python is not None and self.own_python.is_relative_to(self._root):
            run = f"{shlex.quote(self.own_python.parent.relative_to(self._root).as_posix())}/"
        else:
            return _TOOL.sub(r"\1", command).replace("{python}", "python3")

        def beside(name: str) -> str:
            # What is not in the environment is somewhere on PATH, here as elsewhere.
            there = "run " in run or named.is_executable(self.python.parent / name)
            return f"{run}{name}" if there else name

        return _TOOL.sub(lambda match: beside(match[1]), command).replace("{python}", beside("python"))

    def fill(self, command: str) -> str:
        """A command with ``{python}``, ``{orchestrator}`` and ``{tool:<name>}`` filled in."""
        command = command.replace("{python}", self._spelled("python", self.python))
        # -P: the folder that is judged must not have a say in what judges it.
        command = command.replace("{orchestrator}", f"{shlex.quote(sys.executable)} -P -m codex_orchestrator")
        return _TOOL.sub(lambda match: self._spelled(match[1], self.tool(match[1])), command)

    @cached_property
    def python(self) -> Path:
        """The project's interpreter: that of its own environment, else the one running this."""
        return self.own_python or Path(sys.executable)

    @cached_property
    def own_python(self) -> Path | None:
        """The interpreter of the active environment, of ``.venv`` or ``venv``; None where there is none."""
        for folder in (self._variables.get("VIRTUAL_ENV"), self._root / ".venv", self._root / "venv"):
            if folder and named.kind(Path(folder) / "bin" / "python"):
                return Path(folder) / "bin" / "python"
        return None

    def tool(self, name: str) -> Path | None:
        """A program beside the project's Python, else on PATH."""
        beside = self.python.parent / name
        if named.is_executable(beside):
            return beside
        found = self.which(name)
        return Path(found) if found else None

    def which(self, name: str) -> str | None:
        """A program on PATH."""
        return shutil.which(name, path=self._variables.get("PATH", os.defpath))

    def _unmet(self, requirement: Requirement) -> tuple[str, str] | None:
        """Why a requirement is not met, and its remedy; None where it is. An empty reason is not shown."""
        if requirement.kind == "environment":
            return ("", "") if self.own_python is None else None
        if requirement.kind == "program":
            return (
                None
                if self.tool(requirement.name)
                else (f"{requirement.name} is not installed", requirement.remedy)
            )
        if requirement.kind == "module":
            return (
                None
                if self._has_module(requirement.name)
                else (f"{requirement.name} is not installed", requirement.remedy)
            )
        if requirement.kind == "node-packages":
            return None if self.which(requirement.name) else ("node_modules is not there", requirement.remedy)
        return self._unmet_packages(requirement)

    def _unmet_packages(self, requirement: Requirement) -> tuple[str, str] | None:
        declared = self._project.declared
        itself = self._project.needs_itself
        missing = missing_packages([*([itself] if itself else []), *declared], self._installed())
        if not missing:
            return None
        if self.own_python is None:
            return "there is no Python environment of this project", self.environment_remedy
        return f"{missing[0]} is not installed", requirement.remedy

    @property
    def environment_remedy(self) -> str:
        """The command that makes a Python environment for the project."""
        if self._project.manager is None:
            return "python3 -m venv .venv && .venv/bin/python -m pip install -e ."
        return self._project.bring()

    def _installed(self) -> Iterator[str]:
        """The names of the packages that the project's Python has."""
        for folder in self._libraries:
            for entry in named.names(Path(folder)):
                if match := _INSTALLED.match(entry) or _LINKED.match(entry):
                    yield match["name"]

    @cached_property
    def _libraries(self) -> list[str]:
        if self.own_python is None:
            return [entry for entry in sys.path if entry and Path(entry) != self._root]
        library = self.own_python.parent.parent / "lib"
        return [
            str(library / name / "site-packages")
            for name in named.names(library)
            if name.startswith("python")
        ]

    def _has_module(self, name: str) -> bool:
        found = PathFinder.find_spec(name, self._libraries)
        # A folder of build output is a namespace package to Python, but no `build` module.
        return found is not None and found.origin is not None

    def _spelled(self, name: str, path: Path | None) -> str:
        """The plain name where PATH finds that very file, else its path."""
        found = self.which(name)
        if path is None or (found and Path(found).absolute() == path.absolute()):
            return name
        return shlex.quote(str(path))
