"""Text files of a repository, changed in memory first, so that all are checked before any is written."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from codex_orchestrator import sources
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import Busy, Misplaced
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.locks import wait_for_lock

ChangeKind = Literal["created", "updated"]

LOCK_NAME = ".tasks.lock"
_PATIENCE_SECONDS = 10.0
_HINT = "Put a readable text file in its place, or remove it."


@dataclass(frozen=True)
class Trouble:
    """Why a file cannot be kept in step.

    Attributes:
        path: The file, relative to the root.
        message: What is wrong, in one sentence.
        hint: What to do about it.
    """

    path: str
    message: str
    hint: str


class UnusableFile(Exception):
    """A file cannot be used as a text of the repository; `trouble` says why."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


@dataclass(frozen=True)
class TextChange:
    """A change of a text file.

    Attributes:
        path: The file, relative to the root.
        before: Its text, or None where it is not there.
        after: What its text is to be.
    """

    path: str
    before: str | None
    after: str

    @property
    def kind(self) -> ChangeKind:
        """Whether the file is new."""
        return "created" if self.before is None else "updated"

    def lines(self) -> tuple[list[str], list[str]]:
        """The lines that go and the lines that come, of a file that was there."""
        if self.before is None:
            return [], []
        found = list(difflib.ndiff(self.before.splitlines(), self.after.splitlines()))
        return [line[2:] for line in found if line[0] == "-"], [line[2:] for line in found if line[0] == "+"]


@contextmanager
def task_files_lock(environment: Environment) -> Iterator[None]:
    """Hold the lock on the files of tasks for the length of a block.

    Raises:
        Busy: Another one was at them all the time.
        StorageError: The lock file cannot be made.
    """
    runs = environment.runs_dir
    files.make_folder(runs, below=runs, ignored=True)
    lock = wait_for_lock(runs / LOCK_NAME, _PATIENCE_SECONDS, below=runs)
    if lock is None:
        raise Busy(
            "A live process changes the files of tasks.", hint="Run the command again when it has ended."
        )
    try:
        yield
    finally:
        lock.release()


class Texts:
    """The text files of a repository, with changes that are not written yet."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._before: dict[str, str | None] = {}
        self._after: dict[str, str | None] = {}

    def read(self, path: str) -> str | None:
        """The text of a file with its changes; None where there is no such file.

        Raises:
            UnusableFile: It cannot be read, is no text, or lies outside of the repository.
        """
        name = self._name(path)
        if name not in self._after:
            self._before[name] = self._after[name] = self._on_disk(name)
        return self._after[name]

    def put(self, path: str, text: str) -> None:
        """Change the text of a file in memory.

        Raises:
            UnusableFile: As for `read`.
        """
        self.read(path)
        self._after[self._name(path)] = text

    def changes(self) -> tuple[TextChange, ...]:
        """All changes, in the order in which the files were first used."""
        return tuple(
            TextChange(path, self._before[path], after)
            for path, after in self._after.items()
            if after is not None and after != self._before[path]
        )

    def write(self, change: TextChange) -> None:
        """Write a change to disk.

        Raises:
            UnusableFile: Somebody has changed the file meanwhile.
            StorageError: The disk refused.
        """
        if self._on_disk(change.path) != change.before:
            hint = "Run the command again."
            raise UnusableFile(Trouble(change.path, "The file was changed by somebody else just now.", hint))
        target = self._root / change.path
        files.make_folder(target.parent, below=self._root)
        files.replace(target, change.after.encode(), below=self._root)

    def _name(self, path: str) -> str:
        """The path of what a path leads to: a link stays one, and two ways to a file are one file."""
        target = (self._root / path).resolve()
        if not target.is_relative_to(self._root):
            raise UnusableFile(Trouble(path, "The file is a link that leads out of the repository.", _HINT))
        return target.relative_to(self._root).as_posix()

    def _on_disk(self, path: str) -> str | None:
        hint = _HINT
        try:
            return sources.read(self._root / path, root=self._root).decode("utf-8")
        except FileNotFoundError:
            return None
        except Misplaced as error:
            raise UnusableFile(Trouble(path, f"The file cannot be read: {error.message}", hint)) from error
        except OSError as error:
            raise UnusableFile(
                Trouble(path, f"The file cannot be read: {error.strerror or error}.", hint)
            ) from error
        except UnicodeDecodeError as error:
            raise UnusableFile(
                Trouble(path, f"The file is not valid UTF-8: {error.reason}.", hint)
            ) from error
