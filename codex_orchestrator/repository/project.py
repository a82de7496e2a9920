"""How a repository is built, linted and tested here: one answer for ``init``, ``doctor``, ``plan`` and runs.

The order in which candidates are tried is in docs/reference/configuration.md, "Packaged diagnostics".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from codex_orchestrator.environment import Environment
from codex_orchestrator.repository.commands import BuildStep, Candidates, ChosenCommand
from codex_orchestrator.repository.machine import Machine
from codex_orchestrator.repository.native import native_candidates
from codex_orchestrator.repository.node import (
    NodeProject,
    node_candidates,
    read_node_project,
    script_candidate,
)
from codex_orchestrator.repository.python import MARKS, USUAL, PythonProject
from codex_orchestrator.repository.runners import candidates, runners
from codex_orchestrator.repository.tree import PACKAGE_JSON, DiskTree, Tree

BUILD_STEPS: tuple[BuildStep, ...] = ("build", "lint", "types", "test")


def candidates_for(tree: Tree, step: BuildStep) -> Candidates:
    """The commands that may do a step in a repository, the best first; a pure function of its files."""
    node = read_node_project(tree)
    python = PythonProject(tree) if is_python(tree) else None
    # The four stages of an npm repository are its scripts and the guard; nobody asked for more.
    found = list(node_candidates(node, step)) if node is not None and step != "types" else []
    if not found:
        found += candidates(tree, step)
        # Where a repository says itself how it is linted, that is all of it.
        if python is not None and not (step == "types" and any(candidates(tree, "lint"))):
            found += python.candidates(step)
        found += native_candidates(tree, step)
    return Candidates(tuple(found), _usual(node, python, step), _why_none(node, python, step))


def kind_of(tree: Tree) -> str:
    """``npm``, ``python``, ``rust``, ``make`` or the like; ``bare`` where no step has a candidate."""
    node = read_node_project(tree)
    if node is not None:
        return node.manager
    if is_python(tree):
        return "python"
    if tree.first("Cargo.toml"):
        return "rust"
    if tree.first("go.mod"):
        return "go"
    named = (
        runner.program
        for runner in runners(tree)
        if any(list(candidates(tree, step)) for step in BUILD_STEPS)
    )
    return next(named, "bare")


def is_python(tree: Tree) -> bool:
    """Whether there is a Python project file."""
    return tree.first(*MARKS) is not None


def _usual(node: NodeProject | None, python: PythonProject | None, step: BuildStep) -> str:
    """The command that is shown where there is no candidate."""
    if node is not None:
        return f"{node.manager} run {step}"
    return USUAL[step] if python is not None else f"make {step}"


def _why_none(node: NodeProject | None, python: PythonProject | None, step: BuildStep) -> str:
    """Why there is no candidate."""
    if node is not None:
        return f'{PACKAGE_JSON} has no script "{step}"'
    if python is not None:
        return python.why_none(step)
    return f'nothing here has the name "{step}"'


class Project:
    """A repository on this machine: its kind, and the commands of its steps, found without starting any."""

    def __init__(self, environment: Environment) -> None:
        """Nothing is read yet."""
        self.tree = DiskTree(environment.root)
        self.machine = Machine(environment, PythonProject(self.tree))

    @property
    def notices(self) -> tuple[str, ...]:
        """Which files were ignored, as they are links that lead out of the repository."""
        return tuple(self.tree.notices)

    @cached_property
    def kind(self) -> str:
        """The kind of repository, as `kind_of` names it."""
        return kind_of(self.tree)

    @cached_property
    def step_commands(self) -> Mapping[str, ChosenCommand]:
        """The command of each step; none in a bare repository, and none for types without a candidate."""
        if self.kind == "bare":
            return {}
        found = {step: candidates_for(self.tree, step) for step in BUILD_STEPS}
        return {
            step: self.machine.choose(each) for step, each in found.items() if step != "types" or each.ordered
        }

    def condition_command(self, condition: str) -> str | None:
        """The command that a packaged stage's condition is about; None where the condition does not hold.

        Args:
            condition: ``file:<path>``, ``script:<name>`` of package.json, or ``target:<name>`` of a
                Makefile and its like.

        Raises:
            ValueError: The packaged file uses a condition that does not exist.
        """
        what, _, name = condition.partition(":")
        if what == "file":
            return name if self.tree.first(name) else None
        if what == "script":
            return self._script(name)
        if what == "target":
            return self._target(name)
        raise ValueError(f"unknown condition {condition!r}")

    def _script(self, name: str) -> str | None:
        node = read_node_project(self.tree)
        return script_candidate(node, name).command if node is not None and name in node.scripts else None

    def _target(self, name: str) -> str | None:
        named = tuple(runner.candidate(name) for runner in runners(self.tree) if name in runner.names)
        chosen = self.machine.choose(Candidates(named, "", "there is none"))
        return chosen.command if chosen.problem is None else None

    def script_problem(self, name: str) -> str | None:
        """Why a script of package.json cannot be run here; None where it can, as far as is known."""
        node = read_node_project(self.tree)
        if node is None:
            return f"there is no {PACKAGE_JSON}"
        if name not in node.scripts:
            return None if name.startswith("-") else f'{PACKAGE_JSON} has no script "{name}"'
        return self.machine.choose(Candidates((script_candidate(node, name),), "", "")).problem_and_remedy
