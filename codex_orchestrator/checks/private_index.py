"""An index of our own, through which git makes the tree of a work tree and stores no content of files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Self

from codex_orchestrator import named, places
from codex_orchestrator.checks.git import WorkTree
from codex_orchestrator.evidence import files

# About 7 000 trees, by the count in one of 256 folders, as git itself estimates.
_MOST_TREES_IN_A_FOLDER = 27


class PrivateIndex:
    """An index of our own, for one use; what is written goes to a store of trees of our own."""

    def __init__(self, tree: WorkTree, store: Path, below: Path, objects: Path) -> None:
        self._store = store
        self._objects = store / "objects"
        self._below = below
        self._path = store / f"use-{os.getpid()}-{os.urandom(4).hex()}"
        own = {**own_objects(store, objects), "GIT_INDEX_FILE": str(self._path)}
        self._tree = replace(tree, environ={**tree.environ, **own})

    def __enter__(self) -> Self:
        files.make_folder(self._below, below=self._below, ignored=True)
        files.make_folder(self._objects, below=self._below)
        # git follows links, and a commit may have put some here.
        if any(kind != "folder" for _, kind in places.listed(self._objects, below=self._below)):
            files.remove_tree(self._objects, below=self._below)
            files.make_folder(self._objects, below=self._below)
        return self

    def __exit__(self, *_: object) -> None:
        for path in (self._path, self._path.with_name(f"{self._path.name}.lock")):
            files.remove(path, below=self._below)

    def begin(self, seed: Path) -> None:
        """Begin with a copy of an index instead of an empty one."""
        files.copy(seed, self._path, below=self._below)

    def take_up(self, stale: Iterable[bytes], removed: Iterable[bytes]) -> None:
        """Take up what lies in the work tree at some paths, and leave out others."""
        if given := b"".join(path + b"\0" for path in removed):
            self._tree.output("update-index", "--force-remove", "-z", "--stdin", given=given)
        if given := b"".join(path.rstrip(b"/") + b"\0" for path in stale):
            how = ("--add", "--remove", "--replace", "--info-only")
            self._tree.output("update-index", *how, "-z", "--stdin", given=given)

    def write_tree(self) -> str:
        """Have git make the trees; returns the id of the uppermost."""
        return self._tree.output("write-tree", "--missing-ok").decode("ascii").strip()

    def keep_as(self, path: Path) -> None:
        """Keep it for the next time, in place of those before."""
        files.move(self._path, path, below=self._below)
        for name in named.names(self._store):
            if name.startswith("index-") and name != path.name:
                files.remove(self._store / name, below=self._below)
        if len(named.names(self._store / "objects" / "17")) > _MOST_TREES_IN_A_FOLDER:
            files.remove_tree(self._store / "objects", below=self._below)

    def tree_without(self, tree_id: str, removed: Iterable[bytes]) -> str:
        """The id of a tree that lacks some paths."""
        with self:
            self._tree.output("read-tree", tree_id)
            self.take_up((), removed)
            return self.write_tree()


def own_objects(store: Path, objects: Path) -> dict[str, str]:
    """The variables by which git writes to our store, and reads the repository's as well."""
    alternate = str(objects)
    if ":" in alternate or alternate.startswith('"'):
        alternate = '"' + alternate.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return {"GIT_OBJECT_DIRECTORY": str(store / "objects"), "GIT_ALTERNATE_OBJECT_DIRECTORIES": alternate}
