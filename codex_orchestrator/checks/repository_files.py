"""The files of a repository."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from codex_orchestrator import named, places
from codex_orchestrator.checks.git import WorkTree, git_environment, locate
from codex_orchestrator.errors import ToolMissing, UsageError
from codex_orchestrator.text import printable

# Where there is no git to say what belongs to the repository.
_NOT_OURS = frozenset({".git", ".nox", ".tox", ".venv", "__pycache__", "node_modules", "venv"})


class RepositoryFiles:
    """The files and folders of a repository: what git tracks or would track, else all that is there."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        """List them.

        Raises:
            UsageError: git or a folder cannot be read.
        """
        try:
            tree = locate(root, git_environment(environ))
        except ToolMissing:
            tree = ""
        self._root = root
        self._tree = None if isinstance(tree, str) else tree
        listed = self._walked() if self._tree is None else _listed(self._tree)
        # Of a file in conflict, git lists every version.
        self.files = tuple(sorted(set(listed)))
        self._by_name: dict[str, list[str]] = {}
        self._by_folder: dict[str, list[str]] = {}
        self._all = {*self.files, *_folders(self.files)}
        for path in self._all:
            folder, _, name = path.rpartition("/")
            self._by_name.setdefault(name, []).append(path)
            self._by_folder.setdefault(folder, []).append(path)

    def __contains__(self, path: str) -> bool:
        """Whether a file or folder, from the root, belongs to the repository."""
        return path in self._all

    def is_only_a_file(self, name: str) -> bool:
        """Whether all that has that name is files, and there is at least one."""
        known = self._by_name.get(name, ())
        return bool(known) and all(_kind(self._root / place) == "file" for place in known)

    def has(self, path: str, beside: str = "") -> bool:
        """Whether there is such a file or folder.

        Args:
            path: From the root, from the folder of `beside`, or only the end of a longer path.
            beside: The file that names it, relative to the root.
        """
        lies_there = self.lies_at(path, beside)
        if lies_there is not None:
            return lies_there
        return any(_leads_somewhere(self._root / each) for each in self._ending(path.rstrip("/")))

    def has_without_extension(self, path: str) -> bool:
        """Whether there is a file of that path, from the root, and an extension."""
        folder, _, name = path.rpartition("/")
        names = (each.rpartition("/")[2] for each in self._by_folder.get(folder, ()))
        return any(each != name and each.partition(".")[0] == name for each in names)

    def lies_at(self, path: str, beside: str) -> bool | None:
        """Whether a path from the root or from beside a file exists, links followed; None: no such name."""
        for start in (self._root, (self._root / beside).parent):
            if named.is_there(start / path):
                return _leads_somewhere(start / path)
        return None

    def lookalikes(self, path: str, beside: str) -> set[str]:
        """The files and folders with the name of a path, and those in its folder with a similar name.

        Args:
            path: With its folder, from the root, from the folder of `beside`, or the end of a longer path.
            beside: The file that names it, relative to the root.
        """
        folder, _, name = path.rstrip("/").rpartition("/")
        at_page = posixpath.normpath(posixpath.join(posixpath.dirname(beside), folder))
        stem, _ = posixpath.splitext(path.rstrip("/"))
        found = set(self._by_name.get(name, ()))
        for place in {folder, at_page, *self._ending(folder)}:
            length = len(place) + 1 + len(name) if place else len(name)
            for each in self._by_folder.get(place, ()):
                if abs(len(each) - length) <= 1 or posixpath.splitext(each)[0].endswith(stem):
                    found.add(each)
        return found

    def _ending(self, path: str) -> Iterator[str]:
        """The files and folders whose path ends in this one."""
        return (each for each in self._by_name.get(path.rpartition("/")[2], ()) if each.endswith("/" + path))

    def ignores(self, path: str) -> bool:
        """Whether git ignores a path, which then need not exist."""
        if self._tree is None:
            return False
        # An answer per path: one that git refuses, as beyond a link, must not hide those of others.
        return self._tree.run("check-ignore", "--quiet", "--", path).exit_code == 0

    def _walked(self) -> Iterator[str]:
        try:
            for path, kind in places.walked(self._root, below=self._root, skipped=_NOT_OURS):
                if kind != "folder":
                    yield path.relative_to(self._root).as_posix()
        except OSError as error:
            raise UsageError(
                f"{printable(str(error.filename))} cannot be listed: {error.strerror}."
            ) from error


def _listed(tree: WorkTree) -> Iterator[str]:
    output = tree.output("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
    return (os.fsdecode(name) for name in output.split(b"\0") if name)


def _leads_somewhere(path: Path) -> bool:
    return _kind(path) is not None


def _kind(path: Path) -> str | None:
    try:
        return named.kind(path)
    except OSError:  # A link into a folder that is not ours to look into.
        return None


def _folders(files: Iterable[str]) -> Iterator[str]:
    for path in files:
        while path := path.rpartition("/")[0]:
            yield path
