"""How large a change is: added and deleted lines of every changed file.

Counted as git counts them (docs/reference/guards.md, "Diff budget").
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import StorageError, UsageError
from codex_orchestrator.text import printable

from .git import Changes, WorkTree, below, locate, read_changes
from .gitcommand import git_environment

# Where git too stops looking for lines: core.bigFileThreshold.
_LARGEST_BYTES = 512 * 1024 * 1024
# How far git looks for a zero byte before it takes a file for text.
_LOOKED_AT_BYTES = 8_000
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class FileChange:
    """One changed file.

    Attributes:
        path: Relative to the guarded folder.
        added: Lines added since the base.
        deleted: Lines deleted since then.
        binary: Whether it has no lines to count.
    """

    path: str
    added: int
    deleted: int
    binary: bool = False

    @property
    def lines(self) -> int:
        """Added and deleted ones together."""
        return self.added + self.deleted


@dataclass(frozen=True)
class Difference:
    """A change by its files, sorted by path; none where `changes` has no base."""

    changes: Changes
    files: tuple[FileChange, ...]


def read_difference(root: Path, environ: Mapping[str, str], base: str | None) -> Difference:
    """Measure what changed since the base, committed or not.

    Args:
        root: The guarded folder.
        environ: Environment for git, and where BASE_SHA is looked up.
        base: The value of ``--base``, or None.

    Raises:
        UsageError: As in `read_changes`, or a new file cannot be read.
    """
    changes = read_changes(root, environ, base)
    tree = locate(root, git_environment(environ)) if changes.base is not None else ""
    if isinstance(tree, str) or changes.base is None:
        return Difference(changes, ())
    measured = {change.path: change for change in _tracked(tree, changes.base.commit)}
    for change in _untracked(tree):
        earlier = measured.get(change.path, FileChange(change.path, 0, 0))
        measured[change.path] = FileChange(
            change.path, change.added, earlier.deleted, change.binary or earlier.binary
        )
    files = (measured.get(path) or FileChange(path, 0, 0) for path in changes.paths)
    return Difference(changes, tuple(files))


def parse_numstat(output: bytes) -> dict[bytes, tuple[int | None, int | None]]:
    """``git … --numstat -z --no-renames`` by path: lines added and deleted, None for a binary file."""
    found = {}
    for entry in filter(None, output.split(b"\0")):
        added, deleted, path = entry.split(b"\t", 2)
        found[path] = (_number(added), _number(deleted))
    return found


def count_lines(chunks: Iterable[bytes]) -> int | None:
    """How many lines a file has, the last of which may lack its end; None for a binary file.

    Args:
        chunks: Its content in order, in pieces of any size.
    """
    lines, last, looked_at = 0, b"\n", 0
    for chunk in chunks:
        if looked_at < _LOOKED_AT_BYTES and b"\0" in chunk[: _LOOKED_AT_BYTES - looked_at]:
            return None
        looked_at += len(chunk)
        lines += chunk.count(b"\n")
        last = chunk[-1:] or last
    return lines + (last != b"\n")


def _number(digits: bytes) -> int | None:
    return None if digits == b"-" else int(digits)


def _tracked(tree: WorkTree, base: str) -> Iterable[FileChange]:
    """Tracked files that differ from the base, as they lie in the work tree."""
    # Plumbing, so that no setting of the user changes what is counted.
    kind = (
        *("--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv"),
        "--ignore-submodules=dirty",
    )
    counts = parse_numstat(tree.output("diff-index", *kind, base, "--", "."))
    for name in below(tree.prefix, tuple(counts)):
        added, deleted = counts[os.fsencode(tree.prefix + name)]
        yield FileChange(name, added or 0, deleted or 0, binary=added is None)


def _untracked(tree: WorkTree) -> Iterable[FileChange]:
    """New files: all their lines are added."""
    output = tree.output("ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    for name in filter(None, output.split(b"\0")):
        lines = _lines_of(tree.root / os.fsdecode(name), tree.root)
        yield FileChange(os.fsdecode(name), lines or 0, 0, binary=lines is None)


def _lines_of(path: Path, root: Path) -> int | None:
    try:
        status = places.status(path, below=root)
        if status is None:
            return 0  # Removed since git listed it.
        kind = places.kind_of(status)
        if kind == "link":
            return 1  # git stores where it leads: one line without an end.
        # A repository inside this one, or what was put in the file's place meanwhile.
        if kind != "file" or status.st_size > _LARGEST_BYTES:
            return None
        with places.open_stream(path, below=root) as stream:
            return count_lines(iter(lambda: stream.read(_READ_BYTES), b""))
    except StorageError as error:
        raise UsageError(error.message, hint=error.hint) from error
    except FileNotFoundError:
        return 0  # Removed since git listed it.
    except OSError as error:
        raise UsageError(f"{printable(str(path))} cannot be read: {error.strerror}.") from error
