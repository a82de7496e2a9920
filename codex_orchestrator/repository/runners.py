"""Runners of named commands: Makefile, justfile, Taskfile."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.repository.commands import BuildStep, Candidate, Requirement
from codex_orchestrator.repository.tree import Tree

MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
_JUSTFILES = ("justfile", "Justfile", ".justfile", "JUSTFILE")
_TASKFILES = tuple(
    f"{name}{dist}.{end}"
    for name in ("Taskfile", "taskfile")
    for dist in ("", ".dist")
    for end in ("yml", "yaml")
)
_TARGET = re.compile(r"^([A-Za-z0-9_./-]+(?:[ ]+[A-Za-z0-9_./-]+)*)[ \t]*::?(?!=)", re.MULTILINE)
# A recipe may be quiet (@), and have parameters with defaults; an assignment has := after its name.
_RECIPE = re.compile(r"^@?([A-Za-z_][\w-]*)(?:[ \t]+(?![ \t=])[^:\n]*)?:(?!=)", re.MULTILINE)
_TASKS = re.compile(r"^tasks:[ \t]*(?:#.*)?\n((?:[ \t].*\n|\n|#.*\n)*)", re.MULTILINE)
_TASK = re.compile(r"^(?P<indent>[ \t]+)(?P<quote>['\"]?)(?P<name>[\w:.-]+)(?P=quote):", re.MULTILINE)
# The names that each step has in such files.
NAMES: Mapping[BuildStep, tuple[str, ...]] = {
    "build": ("build",),
    "lint": ("lint",),
    "types": ("types", "typecheck", "type-check", "typing", "mypy"),
    "test": ("test", "tests"),
}


@dataclass(frozen=True)
class Runner:
    """A program that runs what its file names.

    Attributes:
        program: The word that starts it.
        file: Its file here.
        noun: Its own word for what it runs: target, recipe or task.
        names: All targets, recipes or tasks in its file.
        remedy: How to install the program.
    """

    program: str
    file: str
    noun: str
    names: frozenset[str]
    remedy: str

    def candidate(self, name: str) -> Candidate:
        """The command that runs one of its names."""
        why = f'{self.file} has the {self.noun} "{name}"'
        return Candidate(f"{self.program} {name}", why, (Requirement("program", self.program, self.remedy),))


def runners(tree: Tree) -> Iterator[Runner]:
    """The runners that the repository has files for, in the order in which they are tried."""
    if makefile := tree.first(*MAKEFILES):
        yield Runner("make", makefile, "target", make_targets(tree.text(makefile) or ""), "install make")
    if justfile := tree.first(*_JUSTFILES):
        names = frozenset(_RECIPE.findall(tree.text(justfile) or ""))
        yield Runner("just", justfile, "recipe", names, "install just")
    if taskfile := tree.first(*_TASKFILES):
        names = frozenset(_tasks(tree.text(taskfile) or ""))
        yield Runner("task", taskfile, "task", names, "install go-task")


def candidates(tree: Tree, step: BuildStep) -> Iterator[Candidate]:
    """The commands for a step that such files name, in the order of `NAMES`."""
    for runner in runners(tree):
        yield from (runner.candidate(name) for name in NAMES[step] if name in runner.names)


def make_targets(makefile: str) -> frozenset[str]:
    """The targets that the text of a Makefile itself has."""
    return frozenset(target for match in _TARGET.finditer(makefile) for target in match[1].split())


def _tasks(taskfile: str) -> Iterator[str]:
    """The keys right below ``tasks:``."""
    block = _TASKS.search(taskfile + "\n")
    found = list(_TASK.finditer(block[1])) if block else []
    for match in found:
        if match["indent"] == found[0]["indent"]:
            yield match["name"]
