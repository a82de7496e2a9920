"""Copies that rest between runs: of a copy, only what is still as it was brought is left for the next one.

To write thousands of small files anew takes a disk many times as long as to look whether they have changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeGuard

from codex_orchestrator import places
from codex_orchestrator.evidence import files

from . import memory
from .disk import Folder
from .scan import Scanned, Signature
from .snapshot import Snapshot, folders_above

_FOLDER, _RECORD = "resting", "files.json"
TREE = "tree"


class Rest(NamedTuple):
    """A copy that rests: where, how many bytes its files have, and when it began to."""

    place: Path
    size: int
    since: float


class Resting:
    """The copies that rest in a depot; it is for whoever holds the depot's lock."""

    def __init__(self, depot: Path) -> None:
        self._depot = depot

    def wake(self, label: str, tree: Path) -> dict[str, Scanned]:
        """Have a copy that rests become `tree`; what is in it. Nothing where there is none of that label."""
        for rest in sorted(self._all(_digest(label)), key=lambda rest: -rest.since):
            known = memory.load(rest.place, _RECORD)
            files.move(rest.place / TREE, tree, below=self._depot)
            files.remove_tree(rest.place, below=self._depot)
            return known
        return {}

    def lay_down(self, label: str, tree: Path, known: Mapping[str, Scanned]) -> None:
        """Have a copy rest, in which there is nothing but what is known.

        Raises:
            StorageError: The disk refuses.
        """
        size = sum(one.entry.size for one in known.values())
        place = self._depot / _FOLDER / _digest(label) / f"{size}-{os.urandom(8).hex()}"
        files.make_folder(place, below=self._depot)
        memory.save(place, _RECORD, known)
        files.move(tree, place / TREE, below=self._depot)

    def trim(self, limit: int) -> int:
        """Remove those that have rested longest, to keep no more than `limit` bytes; how many they are."""
        size = 0
        for rest in sorted(self._all(), key=lambda rest: -rest.since):
            size += rest.size
            if size > limit:
                files.remove_tree(rest.place, below=self._depot)
                size -= rest.size
        return size

    def _all(self, label: str | None = None) -> Iterator[Rest]:
        top = self._depot / _FOLDER
        for name, _ in places.listed(top, below=self._depot):
            for inner, _ in places.listed(top / name, below=self._depot) if label in (None, name) else ():
                place = top / name / inner
                size, _, _ = inner.partition("-")
                # Its record is the first that is made of it: without, it is no copy that rests.
                found = places.status(place / _RECORD, below=self._depot)
                if size.isdecimal() and found is not None:
                    yield Rest(place, int(size), found.st_mtime)
                else:
                    files.remove_tree(place, below=self._depot)


class Disorder(Exception):
    """A copy has folders that are not as they were made."""


def cleanse(
    folder: Folder, known: Mapping[str, Scanned], mode: int, wanted: Snapshot | None = None
) -> dict[str, Scanned]:
    """Remove from a copy all that is not as it is known; what is left.

    Args:
        folder: The copy.
        known: Files as they were brought.
        mode: What its folders were made with.
        wanted: Of these, only what is in this snapshot stays.

    Raises:
        Disorder: A folder has another mode.
        OSError: The disk refuses.
    """
    left: dict[str, Scanned] = {}
    folders, waiting = [], [""]
    while waiting:
        place = waiting.pop()
        folders.append(place)
        for name, kind in folder.names(place):
            path = f"{place}/{name}" if place else name
            found = folder.status(path)
            if kind == "folder":
                if found is None or found.st_mode != mode:
                    raise Disorder(path)
                waiting.append(path)
                continue
            one = known.get(path)
            if _is_as_known(one, found) and (wanted is None or one.entry == wanted.at(path)):
                left[path] = one
            else:
                folder.remove(path)
    occupied = {above for path in left for above in folders_above(path)}
    for place in reversed(folders):
        if place and place not in occupied:
            folder.remove(place)
    return left


def _is_as_known(one: Scanned | None, found: os.stat_result | None) -> TypeGuard[Scanned]:
    return one is not None and found is not None and Signature.of(found) == one.signature


def _digest(label: str) -> str:
    return hashlib.sha256(label.encode("utf-8", "surrogateescape")).hexdigest()[:16]
