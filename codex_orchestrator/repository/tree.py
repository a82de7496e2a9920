"""Reads the files of a repository that say which tools it uses."""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from codex_orchestrator import sources
from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.model.codec import loads
from codex_orchestrator.places import Kind

PACKAGE_JSON = "package.json"
PYPROJECT = "pyproject.toml"


class Tree(ABC):
    """Access to folders and files; what cannot be read counts as empty, what does not exist as None."""

    @abstractmethod
    def listed(self, folder: str = "") -> Mapping[str, Kind]:
        """What is in a folder, by name; nothing where there is no such folder."""

    @abstractmethod
    def text(self, path: str) -> str | None:
        """The content of a file."""

    def kind(self, path: str) -> Kind | None:
        """``file``, ``folder`` or another kind of entry at a path; None where there is none."""
        above, _, name = path.rpartition("/")
        return self.listed(above).get(name)

    def first(self, *paths: str) -> str | None:
        """The first of some files that exists."""
        return next((path for path in paths if self.kind(path) == "file"), None)

    def found(self, folder: str, pattern: str) -> tuple[str, ...]:
        """The paths of the files in a folder whose names fit a pattern, sorted."""
        at = f"{folder}/" if folder else ""
        names = fnmatch.filter(self.listed(folder), pattern)
        return tuple(sorted(f"{at}{name}" for name in names if self.kind(f"{at}{name}") == "file"))

    def folders(self, folder: str = "") -> tuple[str, ...]:
        """The paths of the folders in a folder, links left out, sorted."""
        at = f"{folder}/" if folder else ""
        return tuple(sorted(f"{at}{name}" for name, kind in self.listed(folder).items() if kind == "folder"))

    @cached_property
    def package(self) -> dict[str, Any]:
        """The content of ``package.json``; empty where there is none."""
        return self.json(PACKAGE_JSON)

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """The content of ``pyproject.toml``; empty where there is none."""
        text = self.text(PYPROJECT)
        if not text:
            return {}
        import tomllib  # Most repositories that are looked at have no use for it.

        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError):
            return {}

    def json(self, path: str) -> dict[str, Any]:
        """The JSON object in a file; empty where there is none."""
        try:
            document = loads(self.text(path) or "")
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


class DiskTree(Tree):
    """A repository on disk.

    Attributes:
        notices: What was taken for missing, as it leads out of the repository.
    """

    def __init__(self, root: Path) -> None:
        """Nothing is read yet."""
        self.notices: dict[str, None] = {}
        self._root = root
        self._listed: dict[str, dict[str, Kind]] = {}

    def listed(self, folder: str = "") -> Mapping[str, Kind]:
        """What is in a folder, links themselves."""
        if folder not in self._listed:
            try:
                self._listed[folder] = dict(sources.listed(self._root / folder, root=self._root))
            except StorageError as error:
                self._note(error)
                self._listed[folder] = {}
        return self._listed[folder]

    def kind(self, path: str) -> Kind | None:
        """What lies at a path, links followed as far as they stay inside."""
        found = super().kind(path)
        if found != "link":
            return found
        try:
            return sources.kind(self._root / path, root=self._root)
        except StorageError as error:
            self._note(error)
        return None

    def _note(self, error: StorageError) -> None:
        if isinstance(error, Misplaced):
            self.notices[error.message] = None

    def text(self, path: str) -> str | None:
        """The content of a file, stray bytes replaced."""
        if self.kind(path) != "file":
            return None
        try:
            return sources.read(self._root / path, root=self._root).decode("utf-8-sig", "replace")
        except (OSError, StorageError):
            return ""
