"""Which paths of a work tree travel: what git does not ignore, and what is asked for besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from codex_orchestrator import named
from codex_orchestrator.checks.git import WorkTree, git_environment, locate
from codex_orchestrator.errors import ToolMissing
from codex_orchestrator.globs import Glob

from .disk import Folder, on_disk
from .rules import lies_in
from .scan import walk
from .snapshot import Entry, folders_above, matches

_EVERYTHING = Glob(("**",), folders_only=False)
_LISTED = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
_IGNORED = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", "--", ".")


class Choice(NamedTuple):
    """What travels beside what git keeps, and what does not.

    Attributes:
        include: Patterns of files that travel though git ignores them.
        exclude: Patterns of what does not travel in any case.
        protected: Folders, from the root, that never do: those of evidence.
    """

    include: tuple[Glob, ...] = ()
    exclude: tuple[Glob, ...] = ()
    protected: tuple[str, ...] = ()


def travelling(folder: Folder, environ: Mapping[str, str], choice: Choice) -> list[str]:
    """The paths that travel, in order; some may not be there, as in a sparse checkout, or be folders.

    Args:
        folder: The root.
        environ: The environment, for git.
        choice: What else does, and what does not.

    Raises:
        ToolMissing: There is a repository, and no git to say what of it is ignored.
        UsageError: git refuses to read the repository.
        OSError: A folder cannot be listed.
    """
    tree = _tree(folder.root, environ)
    if tree is None:
        found = set(walk(folder, (_EVERYTHING,), choice.protected))
    else:
        found = _asked(folder, tree, "", environ, choice.protected)
        if choice.include:
            found |= set(walk(folder, choice.include, choice.protected))
    return sorted(
        path
        for path in found
        if not lies_in(path, choice.protected) and not matches(Entry(path, "file"), choice.exclude)
    )


def _tree(root: Path, environ: Mapping[str, str]) -> WorkTree | None:
    try:
        tree = locate(root, git_environment(environ))
    except ToolMissing:
        # What git ignores must not travel because git is not there to say so.
        if any(named.is_there(place / ".git") for place in (root, *root.parents)):
            raise
        return None
    return None if isinstance(tree, str) else tree


def _asked(
    folder: Folder, tree: WorkTree, place: str, environ: Mapping[str, str], shut: tuple[str, ...]
) -> set[str]:
    """What git lists in a work tree and the repositories inside it, and the folders that it does not know."""
    listed = {path.rstrip("/") for path in _paths(tree, _LISTED, place)}
    ignored = {path.rstrip("/") for path in _paths(tree, _IGNORED, place)}
    bare, repositories = _folders(folder, place, listed, ignored.union(shut))
    # Git lists what is a repository of its own as one path, be it a submodule or one that nobody has added.
    listed -= set(repositories)
    for path in repositories:
        inner = _tree(folder.root / on_disk(path), environ)
        listed |= {path} if inner is None else _asked(folder, inner, path, environ, shut)
    return listed.union(bare)


def _paths(tree: WorkTree, words: tuple[str, ...], place: str) -> Iterator[str]:
    for name in tree.output(*words).split(b"\0"):
        if name:
            text = name.decode("utf-8", "surrogateescape")
            yield f"{place}/{text}" if place else text


def _folders(folder: Folder, place: str, listed: set[str], shut: set[str]) -> tuple[list[str], list[str]]:
    """The folders in which nothing is that travels, and those that are repositories of their own."""
    known = {above for path in listed for above in folders_above(path)}
    bare, repositories, waiting = [], [], [place]
    while waiting:
        here = waiting.pop()
        names = folder.names(here)
        if here != place and any(name == ".git" for name, _ in names):
            repositories.append(here)
            continue
        found = [f"{here}/{name}" if here else name for name, kind in names if kind == "folder"]
        inner = [path for path in found if path not in shut and not path.lower().endswith("/.git")]
        inner = [path for path in inner if path.lower() != ".git"]
        if here and here not in known and not inner:
            bare.append(here)
        waiting += inner
    return bare, sorted(repositories)
