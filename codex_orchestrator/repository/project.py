"""How a repository is built, linted and tested here: one answer for ``init``, ``doctor``, ``plan`` and runs.

The order in which ways are tried is in docs/reference/configuration.md, "Packaged diagnostics".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from codex_orchestrator.environment import Environment
from codex_orchestrator.repository.machine import Machine
from codex_orchestrator.repository.native import native_ways
from codex_orchestrator.repository.node import NodeProject, node_ways, read_node_project, script_way
from codex_orchestrator.repository.python import MARKS, USUAL, PythonProject
from codex_orchestrator.repository.runners import runners, ways
from codex_orchestrator.repository.tree import PACKAGE_JSON, DiskTree, Tree
from codex_orchestrator.repository.ways import Choice, Deed, Ways

DEEDS: tuple[Deed, ...] = ("build", "lint", "types", "test")


def ways_of(tree: Tree, deed: Deed) -> Ways:
    """The ways in which a repository does a deed, the best first: pure over its files."""
    node = read_node_project(tree)
    python = PythonProject(tree) if is_python(tree) else None
    # The four stages of an npm repository are its scripts and the guard; nobody asked for more.
    found = list(node_ways(node, deed)) if node is not None and deed != "types" else []
    if not found:
        found += ways(tree, deed)
        # Where a repository says itself how it is linted, that is all of it.
        if python is not None and not (deed == "types" and any(ways(tree, "lint"))):
            found += python.ways(deed)
        found += native_ways(tree, deed)
    return Ways(tuple(found), _usual(node, python, deed), _none(node, python, deed))


def kind_of(tree: Tree) -> str:
    """What kind of repository it is, in a word; ``bare`` where nothing says how to do any deed."""
    node = read_node_project(tree)
    if node is not None:
        return node.manager
    if is_python(tree):
        return "python"
    if tree.first("Cargo.toml"):
        return "rust"
    if tree.first("go.mod"):
        return "go"
    named = (runner.program for runner in runners(tree) if any(list(ways(tree, deed)) for deed in DEEDS))
    return next(named, "bare")


def is_python(tree: Tree) -> bool:
    """Whether there is a Python project file."""
    return tree.first(*MARKS) is not None


def _usual(node: NodeProject | None, python: PythonProject | None, deed: Deed) -> str:
    """The command that is shown where there is no way."""
    if node is not None:
        return f"{node.manager} run {deed}"
    return USUAL[deed] if python is not None else f"make {deed}"


def _none(node: NodeProject | None, python: PythonProject | None, deed: Deed) -> str:
    """Why there is no way."""
    if node is not None:
        return f'{PACKAGE_JSON} has no script "{deed}"'
    if python is not None:
        return python.without(deed)
    return f'nothing here has the name "{deed}"'


class Project:
    """Questions about a repository on this machine, answered without starting anything."""

    def __init__(self, environment: Environment) -> None:
        """Nothing is read yet."""
        self.tree = DiskTree(environment.root)
        self.machine = Machine(environment, PythonProject(self.tree))

    @property
    def notices(self) -> tuple[str, ...]:
        """What was taken for missing, as it leads out of the repository."""
        return tuple(self.tree.notices)

    @cached_property
    def kind(self) -> str:
        """What kind of repository it is, in a word: `kind_of`."""
        return kind_of(self.tree)

    @cached_property
    def choices(self) -> Mapping[str, Choice]:
        """How each deed is done here; types only where something says how, in a bare repository none."""
        if self.kind == "bare":
            return {}
        found = {deed: ways_of(self.tree, deed) for deed in DEEDS}
        return {
            deed: self.machine.choose(each) for deed, each in found.items() if deed != "types" or each.ways
        }

    def holds(self, condition: str) -> str | None:
        """The command of a packaged stage's condition, where it holds.

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
        return script_way(node, name).command if node is not None and name in node.scripts else None

    def _target(self, name: str) -> str | None:
        named = tuple(runner.way(name) for runner in runners(self.tree) if name in runner.names)
        chosen = self.machine.choose(Ways(named, "", "there is none"))
        return chosen.command if chosen.lack is None else None

    def lack_of_script(self, name: str) -> str | None:
        """Why a script of package.json cannot be run here; None where nothing speaks against it."""
        node = read_node_project(self.tree)
        if node is None:
            return f"there is no {PACKAGE_JSON}"
        if name not in node.scripts:
            return None if name.startswith("-") else f'{PACKAGE_JSON} has no script "{name}"'
        return self.machine.choose(Ways((script_way(node, name),), "", "")).missing
