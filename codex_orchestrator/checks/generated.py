"""Which of the changed files were generated (docs/reference/guards.md, section "What counts")."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from codex_orchestrator.checks.counting import (
    ATTRIBUTES,
    CountingRules,
    ExclusionReason,
    LeftOut,
    generated_by_attributes,
    is_generated_name,
    is_marked_generated,
)
from codex_orchestrator.checks.git import WorkTree
from codex_orchestrator.checks.worktree_files import opened
from codex_orchestrator.dataclass import dataclass

_ATTRIBUTES_FILE = ".gitattributes"
_HEAD_BYTES = 4_096


@dataclass(frozen=True)
class GeneratedFiles:
    """The generated files of a change, which do not count.

    Attributes:
        left_out: The files.
        marking_files: The changed ``.gitattributes``, where attributes decided on a file.
    """

    left_out: tuple[LeftOut, ...]
    marking_files: tuple[str, ...]


def find_generated(tree: WorkTree, counting: CountingRules, paths: Iterable[str]) -> GeneratedFiles:
    """Find the generated files among changed ones: by attributes, else by name, else by their first lines.

    Raises:
        UsageError: A file cannot be read.
    """
    paths = tuple(paths)
    attributes = _attributes(tree, paths)
    said = {path: generated_by_attributes(attributes.get(path, {})) for path in paths}
    left_out = tuple(
        LeftOut(path, ExclusionReason.GENERATED, by)
        for path in paths
        if not counting.counts_anyway(path) and (by := _told_by(tree.root, path, said=said[path]))
    )
    speaks = any(value is not None for value in said.values())
    itself = (path for path in paths if speaks and path.rpartition("/")[2] == _ATTRIBUTES_FILE)
    return GeneratedFiles(left_out, tuple(itself))


def _told_by(root: Path, path: str, *, said: bool | None) -> str:
    """The evidence that a file was generated; empty where there is none."""
    if said is not None:
        return _ATTRIBUTES_FILE if said else ""
    if is_generated_name(path):
        return "its name"
    with opened(root, path) as found:
        head = b"" if found is None else found[0].read(_HEAD_BYTES)
    return "its first lines" if is_marked_generated(head) else ""


def _attributes(tree: WorkTree, paths: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """The attributes of files by path."""
    given = b"".join(os.fsencode(path) + b"\0" for path in paths)
    words = tree.output("check-attr", "-z", "--stdin", *ATTRIBUTES, given=given).split(b"\0")
    found: dict[str, dict[str, str]] = {}
    for path, name, value in zip(words[::3], words[1::3], words[2::3], strict=False):
        found.setdefault(os.fsdecode(path), {})[os.fsdecode(name)] = os.fsdecode(value)
    return found
