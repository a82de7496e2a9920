"""The size of a change: lines of text and bytes of binary files, of every changed file that counts.

Counted as git counts them (docs/reference/guards.md, "Diff budget").
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from codex_orchestrator.checks.changes import ChangeRequest, Changes, counting_rules, own_rules_notice, survey
from codex_orchestrator.checks.counting import LeftOut, left_out_notices
from codex_orchestrator.checks.generated import find_generated
from codex_orchestrator.checks.git import WorkTree
from codex_orchestrator.checks.report import encodable
from codex_orchestrator.checks.tracked_changes import (
    TrackedChange,
    blob_id,
    pair_renames,
    parse_diff,
    parse_sizes,
)
from codex_orchestrator.checks.worktree_files import count_lines, kind_and_size, opened, readable_size
from codex_orchestrator.dataclass import dataclass

# Where git too stops looking for lines: core.bigFileThreshold.
_LARGEST_BYTES = 512 * 1024 * 1024
_READ_BYTES = 1024 * 1024
# Above this many of either, git pairs only files of the same content.
_MOST_COMPARED = 1_000


@dataclass(frozen=True)
class FileChange:
    """One changed file.

    Attributes:
        path: Relative to the guarded folder.
        added: Lines added since the base.
        deleted: Lines deleted since then.
        binary: Whether it has no lines to count.
        size: The bytes of a binary file that is new or has another content; else 0.
        renamed_from: Its path in the base, where that was another.
    """

    path: str
    added: int
    deleted: int
    binary: bool = False
    size: int = 0
    renamed_from: str | None = None

    @property
    def lines(self) -> int:
        """Lines added and deleted together."""
        return self.added + self.deleted

    @property
    def name(self) -> str:
        """The path; of a renamed file the old path and the new one."""
        return self.path if self.renamed_from is None else f"{self.renamed_from} → {self.path}"

    @property
    def measure(self) -> str:
        """``+3 -1``, or for a binary file its size."""
        if not self.binary:
            return f"+{self.added} -{self.deleted}"
        return f"binary, {readable_size(self.size)}" if self.size else "binary"

    def to_json(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "path": encodable(self.path),
            "renamed_from": self.renamed_from and encodable(self.renamed_from),
            "added": self.added,
            "deleted": self.deleted,
            "binary": self.binary,
            "bytes": self.size,
        }


@dataclass(frozen=True)
class Difference:
    """The size of a change, file by file.

    Attributes:
        changes: The change.
        files: The files that count, sorted by path; none where `changes` has no base.
        left_out: What does not count.
        marking_files: Changed files that themselves say which files count, as ``.gitattributes`` do.
    """

    changes: Changes
    files: tuple[FileChange, ...]
    left_out: tuple[LeftOut, ...] = ()
    marking_files: tuple[str, ...] = ()

    @property
    def notices(self) -> tuple[str, ...]:
        """What the reader must know about the comparison, one sentence each."""
        itself = map(own_rules_notice, self.marking_files)
        return (*self.changes.notices, *left_out_notices(self.left_out), *itself)


def read_difference(request: ChangeRequest) -> Difference:
    """Measure what changed since the base, committed or not.

    Raises:
        UsageError: As in `read_changes`, or a new file cannot be read.
    """
    tree, changes = survey(request)
    if tree is None or changes.base is None:
        return Difference(changes, ())
    found = find_generated(tree, counting_rules(request), changes.paths)
    generated = {out.path for out in found.left_out}
    counted = [path for path in changes.paths if path not in generated]
    tracked = _tracked(tree, changes.base.commit, frozenset(counted))
    new = [path for path in changes.untracked if path not in generated]
    files = {path: _measured(tree, change) for path, change in tracked.items()}
    for path in new:
        added = _new_file(tree.root, path)
        earlier = files.get(path, FileChange(path, 0, 0))
        files[path] = FileChange(
            path, added.added, earlier.deleted, added.binary or earlier.binary, added.size
        )
    moved = _moved(tree, changes.base.commit, tracked, new)
    for path, old in moved.items():
        files[path] = FileChange(path, 0, 0, files[path].binary, 0, old)
    gone = {file.renamed_from for file in files.values()}
    return Difference(
        changes,
        tuple(files.get(path) or FileChange(path, 0, 0) for path in counted if path not in gone),
        (*changes.left_out, *found.left_out),
        found.marking_files,
    )


# ---------------------------------------------------------------- what git tracks


def _tracked(tree: WorkTree, base: str, counted: frozenset[str]) -> dict[str, TrackedChange]:
    """Tracked files that count and differ from the base as they lie in the work tree, renamed ones once."""
    found = _diff(tree, base, "--no-renames")
    kinds = {change.kind for change in found.values()}
    if {"A", "D"} <= kinds:
        pairs = _diff(tree, base, "-M", f"-l{_MOST_COMPARED}", "--diff-filter=R")
        for path, change in pairs.items():
            # Where one end does not count, the other does for all that it is.
            if {path, _below(tree, change.earlier)} <= counted:
                found[path] = change
                del found[_below(tree, change.earlier)]
    return {path: change for path, change in found.items() if path in counted}


def _diff(tree: WorkTree, base: str, *words: str) -> dict[str, TrackedChange]:
    # Plumbing, so that no setting of the user changes what is counted.
    kind = (
        "--raw",
        "--numstat",
        "-z",
        "--no-abbrev",
        "--no-ext-diff",
        "--no-textconv",
        "--ignore-submodules=dirty",
    )
    found = parse_diff(tree.output("diff-index", *kind, *words, base, "--", "."))
    return {_below(tree, path): change for path, change in found.items()}


def _below(tree: WorkTree, path: bytes | None) -> str:
    return os.fsdecode(path or b"").removeprefix(tree.prefix)


def _measured(tree: WorkTree, change: TrackedChange) -> FileChange:
    path = _below(tree, change.path)
    earlier = None if change.earlier is None else _below(tree, change.earlier)
    binary = change.added is None
    size = _size_unless(tree.root, path, change.blob) if binary and not change.same else 0
    return FileChange(path, change.added or 0, change.deleted or 0, binary, size, earlier)


def _moved(tree: WorkTree, base: str, tracked: Mapping[str, TrackedChange], new: list[str]) -> dict[str, str]:
    """The old paths of new files that git does not track yet, and has the content of under a lost name."""
    there = frozenset(new)
    gone = {
        path: change.blob
        for path, change in tracked.items()
        if change.kind == "D" and change.regular and path not in there
    }
    new = [path for path in new if path not in tracked]
    if not gone or not new:
        return {}
    given = "".join(f"{blob}\n" for blob in dict.fromkeys(gone.values())).encode("ascii")
    sizes = set(parse_sizes(tree.output("cat-file", "--batch-check", given=given)).values())
    blobs = {}
    for path in new:
        with opened(tree.root, path) as found:
            if found is not None and found[1] in sizes:
                blobs[path] = blob_id(found[0], found[1], base)
    return pair_renames(gone, blobs)


# ------------------------------------------------------------------ what is new


def _new_file(root: Path, path: str) -> FileChange:
    """A new file: all its lines are added."""
    kind, size = kind_and_size(root, path)
    if kind is None:
        return FileChange(path, 0, 0)  # Removed since git listed it.
    if kind == "link":
        return FileChange(path, 1, 0)  # git stores where it leads: one line without an end.
    if kind != "file":
        # A repository inside this one, or what was put in the file's place meanwhile.
        return FileChange(path, 0, 0, binary=True)
    lines = None
    if size <= _LARGEST_BYTES:
        with opened(root, path) as found:
            chunks = iter(()) if found is None else iter(lambda: found[0].read(_READ_BYTES), b"")
            lines = count_lines(chunks)
    return FileChange(path, lines or 0, 0, lines is None, size if lines is None else 0)


def _size_unless(root: Path, path: str, blob: str) -> int:
    """The size of a file that has another content than `blob`; 0 where it has that, or is gone."""
    with opened(root, path) as found:
        if found is None:
            return 0
        stream, size = found
        return size if size > _LARGEST_BYTES or blob_id(stream, size, blob) != blob else 0
