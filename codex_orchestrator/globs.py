"""Patterns for paths, as ``.gitignore`` has them (docs/reference/guards.md, section "Patterns").

Those of guards float: one without a slash inside matches at any depth. Those of what stages read and write
start at the root, as paths do (docs/reference/configuration.md, section "Patterns from the root").
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import UsageError
from codex_orchestrator.text import printable

_ANY_FOLDERS = "**"


@dataclass(frozen=True)
class Glob:
    """A pattern, folder by folder.

    Attributes:
        parts: One pattern for each name of a path; ``**`` stands for any number of names.
        folders_only: Whether it names folders, and no file of that name.
    """

    parts: tuple[str, ...]
    folders_only: bool

    def matches(self, path: str) -> bool:
        """Whether it matches a path, or a folder that the path is in."""
        names = path.rstrip("/").split("/")
        folders = len(names) if path.endswith("/") else len(names) - 1
        # All places in the pattern that the names so far may have led to: in time by their product at worst.
        places = self._skipping({0})
        for count, name in enumerate(names, start=1):
            places = self._skipping({after for place in places for after in self._after(place, name)})
            if len(self.parts) in places and (count <= folders or not self.folders_only):
                return True
        return False

    def leads_into(self, folder: str) -> bool:
        """Whether it may match something in a folder; the root is empty text."""
        places = self._skipping({0})
        for name in folder.split("/") if folder else ():
            places = self._skipping({after for place in places for after in self._after(place, name)})
            if len(self.parts) in places:
                return True
        return bool(places)

    def _after(self, place: int, name: str) -> Iterable[int]:
        if place == len(self.parts):
            return ()
        if self.parts[place] != _ANY_FOLDERS:
            return (place + 1,) if fnmatch.fnmatchcase(name, self.parts[place]) else ()
        # At the end it stands for what is in a folder: for one name at least.
        return (place, place + 1) if place == len(self.parts) - 1 else (place,)

    def _skipping(self, places: set[int]) -> set[int]:
        """These places, and those behind ``**`` that stands for no name at all."""
        found = set(places)
        for place, part in enumerate(self.parts[:-1]):
            if place in found and part == _ANY_FOLDERS:
                found.add(place + 1)
        return found


def parse_globs(setting: str, patterns: Iterable[str]) -> tuple[Glob, ...]:
    """The patterns of a setting, as ``.gitignore`` has them.

    Raises:
        UsageError: One is empty, is negated, or leads out of the repository.
    """
    return tuple(_parsed(setting, pattern) for pattern in patterns)


def rooted(pattern: str) -> Glob:
    """A pattern that starts at the root, whether or not there is a slash in it.

    Raises:
        ValueError: It has a `pattern_problem`.
    """
    if problem := pattern_problem(pattern):
        raise ValueError(problem)
    return _glob(pattern, anchored=True)


def pattern_problem(pattern: str) -> str | None:
    """Why a text is no pattern of paths in the repository, in a few words; None where it is one."""
    parts = _parts(pattern)
    if not parts or pattern.startswith("!") or {".", ".."} & set(parts) or "\0" in pattern:
        return f'"{printable(pattern)}" is no pattern of paths in the repository'
    return None


def _parsed(setting: str, pattern: str) -> Glob:
    if problem := pattern_problem(pattern):
        raise UsageError(
            f"{setting}: {problem}.",
            hint='Write them as in .gitignore, without "!": "*.snap", "/generated/", "docs/**/*.svg".',
        )
    return _glob(pattern, anchored="/" in pattern.rstrip("/"))


def _glob(pattern: str, *, anchored: bool) -> Glob:
    spelled = (_ANY_FOLDERS if part == _ANY_FOLDERS else part.replace("[^", "[!") for part in _parts(pattern))
    return Glob((*(() if anchored else (_ANY_FOLDERS,)), *spelled), pattern.endswith("/"))


def _parts(pattern: str) -> list[str]:
    return [part for part in pattern.split("/") if part]
