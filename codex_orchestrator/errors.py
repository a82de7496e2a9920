"""Every error that a user can meet.

    OrchestratorError            exit 1
    ├── UsageError               exit 2   a wrong flag, id or request
    │   ├── ConfigurationError   exit 2   a definition file that cannot be used
    │   └── UnknownRun           exit 2   no such run, or nothing readable in its place
    ├── ToolMissing              exit 2   a program that we need is not installed
    ├── Busy                     exit 75  a live process holds the run or the lock
    ├── StorageError             exit 1   evidence could not be written
    │   └── Misplaced            exit 2   what lies in the place of a file or folder of ours is not opened
    └── InternalError            exit 70  somebody's code raised what nobody expected

Exit codes: docs/reference/command-line.md, "Exit codes".
"""

from __future__ import annotations

from typing import NamedTuple

from codex_orchestrator.text import printable

EXIT_OK = 0
EXIT_RUN_FAILED = 1
EXIT_USAGE = 2
EXIT_WAITING = 3
EXIT_INTERNAL = 70
EXIT_BUSY = 75
EXIT_INTERRUPTED = 130

Path = tuple[str | int, ...]


class Problem(NamedTuple):
    """One thing wrong with a document: where (JSON path) and what."""

    path: Path
    message: str

    def where(self) -> str:
        """The path as people write it: ``pipelines[0].stages[2].id``; ``(document)`` for the whole."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return printable(text.removeprefix(".")) or "(document)"


class OrchestratorError(Exception):
    """Something the user is told in one message: what happened, to what, and what to do.

    Attributes:
        message: What happened, naming the path or id.
        hint: What to do about it, or None.
    """

    code = "error"
    exit_code = EXIT_RUN_FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join(self.lines)

    @property
    def lines(self) -> list[str]:
        """What to tell, line by line; names and paths in it make no lines of their own."""
        return [printable(text) for text in (*self._said(), *([self.hint] if self.hint else []))]

    def _said(self) -> list[str]:
        return [self.message]

    @property
    def in_a_line(self) -> str:
        """Message and hint, for where the error is only a notice."""
        return f"{self.message} {self.hint}" if self.hint else self.message


class UsageError(OrchestratorError):
    """The request itself is wrong; nothing was written."""

    code = "usage"
    exit_code = EXIT_USAGE


class ConfigurationError(UsageError):
    """A definition cannot be used; the message names file, line and path."""

    code = "configuration"

    def _said(self) -> list[str]:
        # One line for each thing that is wrong; whoever puts them together sees to it that each is one.
        return self.message.split("\n")


class UnknownRun(UsageError):
    """The run that was asked for cannot be found or read."""

    code = "unknown-run"


class ToolMissing(OrchestratorError):
    """A program that we start (git, say) is not installed."""

    code = "tool-missing"
    exit_code = EXIT_USAGE

    def __init__(self, name: str) -> None:
        super().__init__(f"The program {name!r} was not found.", hint=f"Install {name} or put it on PATH.")
        self.name = name


class Busy(OrchestratorError):
    """A live process holds what was asked for."""

    code = "busy"
    exit_code = EXIT_BUSY


class StorageError(OrchestratorError):
    """Evidence could not be written where it belongs."""

    code = "storage"


class Misplaced(StorageError):
    """In the place of a file or folder lies what is not opened: a link, a pipe, something too large."""

    code = "misplaced"
    exit_code = EXIT_USAGE


class InternalError(OrchestratorError):
    """A plugin, pytest or this program raised what nobody expected.

    Attributes:
        report: Traceback, versions and command, to be pasted where it is reported.
    """

    code = "internal"
    exit_code = EXIT_INTERNAL

    def __init__(self, message: str, *, hint: str | None = None, report: str) -> None:
        super().__init__(message, hint=hint)
        self.report = report
