"""How a repository does something, in words (docs/reference/configuration.md, "Packaged diagnostics")."""

from __future__ import annotations

from typing import Literal

from codex_orchestrator.dataclass import dataclass

Deed = Literal["build", "lint", "types", "test"]
NeedKind = Literal["program", "environment", "module", "python-packages", "node-packages"]


@dataclass(frozen=True)
class Need:
    """Something that has to be on the machine before a command can do its work.

    Attributes:
        kind: ``program``: on PATH or beside the project's Python; ``environment``: a Python environment of
            the project's own; ``module``: one that the project's Python can import; ``python-packages``
            and ``node-packages``: what the project declares that it depends on.
        name: Which; empty where the kind says it all.
        mend: The command that brings it, or what else to do.
    """

    kind: NeedKind
    name: str
    mend: str


@dataclass(frozen=True)
class Way:
    """One way to do a deed.

    Attributes:
        command: For the shell, with `Machine.fill`'s marks in it.
        why: What in the repository says so.
        needs: What has to be there for it.
        meant: Whether the repository says so; else it is what most like it would do.
    """

    command: str
    why: str
    needs: tuple[Need, ...] = ()
    meant: bool = True


@dataclass(frozen=True)
class Ways:
    """All ways to do a deed here, the best first.

    Attributes:
        ways: In the order in which they are tried.
        usual: The command that most such repositories would have.
        none: Why there is none, where there is none.
    """

    ways: tuple[Way, ...]
    usual: str
    none: str


@dataclass(frozen=True)
class Choice:
    """How a deed is done here and now.

    Attributes:
        command: The way that is taken, or would be.
        portable: The same, as a file can have it that others use on other machines.
        why: What in the repository says so; empty where nothing does.
        lack: Why it cannot be done; None where it can.
        mend: What brings that which is missing; None where there is no such command.
        meant: Whether the repository says so; else it is what most like it would do.
    """

    command: str
    portable: str
    why: str
    lack: str | None = None
    mend: str | None = None
    meant: bool = False

    @property
    def missing(self) -> str | None:
        """Why it cannot be done, and what to do about it, in one line; None where it can."""
        return f"{self.lack}: {self.mend}" if self.lack and self.mend else self.lack
