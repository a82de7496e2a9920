"""Which files a repository has, and which it may leave out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from codex_orchestrator import named, places
from codex_orchestrator.errors import ToolMissing, UsageError
from codex_orchestrator.text import printable

from .git import WorkTree, locate
from .gitcommand import git_environment

# Where there is no git to say what belongs to the repository.
_NOT_OURS = frozenset({".git", ".nox", ".tox", ".venv", "__pycache__", "node_modules", "venv"})


class Inventory:
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
        for path in {*self.files, *_folders(self.files)}:
            self._by_name.setdefault(path.rpartition("/")[2], []).append(path)

    def has(self, path: str, beside: str = "") -> bool:
        """Whether there is such a file or folder.

        Args:
            path: From the root, from the folder of `beside`, or only the end of a longer path.
            beside: The file that names it, relative to the root.
        """
        for start in (self._root, (self._root / beside).parent):
            if named.is_there(start / path):
                return _leads_somewhere(start / path)
        bare = path.rstrip("/")
        ends = self._by_name.get(bare.rpartition("/")[2], ())
        return any(each.endswith("/" + bare) and _leads_somewhere(self._root / each) for each in ends)

    def ignores(self, path: str) -> bool:
        """Whether git is told to leave a path out, so that it need not be there."""
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
    try:
        return named.kind(path) is not None
    except OSError:  # A link into a folder that is not ours to look into.
        return False


def _folders(files: Iterable[str]) -> Iterator[str]:
    for path in files:
        while path := path.rpartition("/")[0]:
            yield path
