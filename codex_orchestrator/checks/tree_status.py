"""What git says of a work tree, compared with its commit: ``git status --porcelain=v2 --branch -z``."""

from __future__ import annotations

from collections.abc import Mapping

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.source import ChangeStatus

STATUS = (
    "status",
    *("--porcelain=v2", "--branch", "-z", "--no-renames"),
    *("--untracked-files=all", "--ignored=no", "--ignore-submodules=dirty"),
)


@dataclass(frozen=True)
class TreeStatus:
    """What git says of a work tree.

    Attributes:
        commit: What is checked out, or None.
        branch: Its name, or None.
        changes: By path from the top, how the work tree differs from its commit.
        stale: The paths of which the index does not have what lies in the work tree.
    """

    commit: str | None
    branch: str | None
    changes: Mapping[bytes, ChangeStatus]
    stale: tuple[bytes, ...]


def parse_status(output: bytes) -> TreeStatus:
    """What ``git status --porcelain=v2 --branch -z`` says."""
    headers: dict[str, str] = {}
    changes: dict[bytes, ChangeStatus] = {}
    stale: list[bytes] = []
    for entry in output.split(b"\0"):
        kind, _, rest = entry.partition(b" ")
        if kind == b"#":
            name, _, value = rest.decode("utf-8", "replace").partition(" ")
            headers[name] = value
        elif kind == b"?":
            stale.append(rest)
            changes[rest] = "modified" if changes.get(rest) == "deleted" else "added"
        elif kind in (b"1", b"u"):
            fields = rest.split(b" ", 7 if kind == b"1" else 9)
            path, index, work_tree = fields[-1], rest[:1], rest[1:2]
            if kind == b"u" or work_tree != b".":
                stale.append(path)
            change = "unmerged" if kind == b"u" else _change(index, work_tree)
            if change is not None:
                changes[path] = change
    commit, branch = headers.get("branch.oid"), headers.get("branch.head")
    return TreeStatus(
        commit=None if commit in (None, "(initial)") else commit,
        branch=None if branch in (None, "(detached)") else branch,
        changes=changes,
        stale=tuple(stale),
    )


def _change(index: bytes, work_tree: bytes) -> ChangeStatus | None:
    """How a file differs from the commit, by git's letters for the index and for the work tree."""
    is_new = index == b"A" or (index == b"." and work_tree == b"A")
    if work_tree == b"D":
        return None if is_new else "deleted"
    if is_new:
        return "added"
    return "deleted" if index == b"D" else "modified"
