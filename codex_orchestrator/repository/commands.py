"""The commands that build, lint and test (docs/reference/configuration.md, "Packaged diagnostics")."""

from __future__ import annotations

from typing import Literal

from codex_orchestrator.dataclass import dataclass

BuildStep = Literal["build", "lint", "types", "test"]
RequirementKind = Literal["program", "environment", "module", "python-packages", "node-packages"]


@dataclass(frozen=True)
class Requirement:
    """Something that must be on the machine before a command can do its work.

    Attributes:
        kind: ``program``: on PATH or beside the project's Python; ``environment``: a Python environment of
            the project's own; ``module``: one that the project's Python can import; ``python-packages``
            and ``node-packages``: what the project declares that it depends on.
        name: Its name; empty where the kind says it all.
        remedy: The command that installs it, or what else to do.
    """

    kind: RequirementKind
    name: str
    remedy: str


@dataclass(frozen=True)
class Candidate:
    """A command that may do a step.

    Attributes:
        command: For the shell, with the placeholders of `Machine.fill`.
        why: What in the repository suggests it.
        requirements: What must be there for it.
        configured: Whether the repository itself names it; else it is a guess from the kind of repository.
    """

    command: str
    why: str
    requirements: tuple[Requirement, ...] = ()
    configured: bool = True


@dataclass(frozen=True)
class Candidates:
    """All commands that may do a step in a repository.

    Attributes:
        ordered: The best first, the order in which they are tried.
        usual: The command that most such repositories would have.
        none: Why there is no candidate, where there is none.
    """

    ordered: tuple[Candidate, ...]
    usual: str
    none: str


@dataclass(frozen=True)
class ChosenCommand:
    """The command that does a step on this machine.

    Attributes:
        command: What is run, or would be.
        portable: The same, as it may stand in a file that is used on other machines too.
        why: What in the repository suggests it; empty where nothing does.
        problem: Why it cannot be run; None where it can.
        remedy: What installs that which is missing; None where there is no such command.
        configured: Whether the repository itself names it; else it is a guess from the kind of repository.
    """

    command: str
    portable: str
    why: str
    problem: str | None = None
    remedy: str | None = None
    configured: bool = False

    @property
    def problem_and_remedy(self) -> str | None:
        """Why it cannot be run, and what to do about it, in one line; None where it can."""
        return f"{self.problem}: {self.remedy}" if self.problem and self.remedy else self.problem
