"""The id of a work tree as it is: the git tree of all files in it that are not ignored.

It is found without touching anything of the user's: git looks at the work tree through the user's index, or
through a private one that is kept beside the runs for what it knows of files already looked at. Only where
the work tree differs from its commit is anything written, to that private index and a store of trees of our
own. No blob is stored: ids of files are enough (docs/explanation/evidence.md, "Which source").
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from codex_orchestrator import named
from codex_orchestrator.checks.git import git_environment, locate
from codex_orchestrator.checks.identified_tree import IdentifiedTree
from codex_orchestrator.checks.tree_status import TreeStatus
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import OrchestratorError, ToolMissing, UsageError
from codex_orchestrator.model.source import ChangedPath


@dataclass(frozen=True)
class TreeState:
    """What a work tree is at a moment.

    Attributes:
        vcs: ``git``, or ``none`` where there is no work tree of git.
        commit: What is checked out; None before the first commit.
        branch: None on a detached head.
        tree: The id of the work tree; None where it is not known.
        dirty: Whether it differs from its commit; None where that is not known.
        changed: In which files, from the run's root.
        root: The root, from the top of the work tree.
        problem: Why the tree is not known though there is a repository.
    """

    vcs: str
    commit: str | None = None
    branch: str | None = None
    tree: str | None = None
    dirty: bool | None = None
    changed: tuple[ChangedPath, ...] = ()
    root: str | None = None
    problem: str | None = None


class WorkTreeId:
    """Finds the id of the work tree around a root, as often as it is asked for.

    Nothing that it can fail by is raised: a run does not depend on it.
    """

    def __init__(self, environment: Environment) -> None:
        """Nothing is asked yet.

        Args:
            environment: Where things are.
        """
        self._environment = environment
        self._variables = git_environment(environment.variables)
        self._place: IdentifiedTree | None = None
        self._seen: tuple[TreeStatus, str | None] | None = None

    def look(self) -> None:
        """Ask git what can be asked without writing anything; `state` then has less to do."""
        if _is_in_repository(self._environment.root):
            try:
                self._look()
            except OrchestratorError:
                self._seen = None  # `state` meets it again, and tells.

    def state(self) -> TreeState:
        """What the work tree is now, or was at the last `look`."""
        if not _is_in_repository(self._environment.root):
            return TreeState("none")
        try:
            seen = self._seen or self._look()
            self._seen = None
            return self._identified(*seen)
        except _NoRepository:
            return TreeState("none")
        except ToolMissing:
            return TreeState("none", problem="git is not installed.")
        except OrchestratorError as error:
            return TreeState("git", problem=error.in_a_line)

    def tree_of(self, ref: str) -> str | None:
        """The id of a commit's or a tree's files, without those of runs; None where git knows no such.

        Raises:
            OrchestratorError: git cannot say.
        """
        place = self._located()
        found = place.tree.run("rev-parse", "--verify", "--quiet", "--end-of-options", ref + "^{tree}")
        if found.exit_code != 0:
            return None
        tree_id = _text(found.stdout)
        if not place.excluded:
            return tree_id
        inside = place.tree.output("ls-tree", "-r", "-z", "--full-tree", "--name-only", tree_id)
        ours = [path for path in inside.split(b"\0") if path and place.is_ours(path)]
        return place.private().tree_without(tree_id, ours) if ours else tree_id

    def differences(self, one: str, other: str) -> list[ChangedPath] | None:
        """In which files two trees differ, from the root; None where one of them is not known any more.

        Raises:
            OrchestratorError: git cannot say.
        """
        return self._located().differences(one, other)

    def _located(self) -> IdentifiedTree:
        if self._place is None:
            found = locate(self._environment.root, self._variables)
            if isinstance(found, str):
                raise _NoRepository(found)
            self._place = IdentifiedTree.of(self._environment, found)
        return self._place

    def _look(self) -> tuple[TreeStatus, str | None]:
        place = self._located()
        status = place.status()
        self._seen = status, place.head_tree(status.commit)
        return self._seen

    def _identified(self, status: TreeStatus, head_tree: str | None) -> TreeState:
        place = self._located()
        known = TreeState(
            "git",
            status.commit,
            status.branch,
            dirty=bool(status.changes),
            changed=place.from_root(status.changes),
            root=place.root_from_top,
        )
        try:
            tree_id = head_tree
            is_clean = not (status.changes or status.stale or place.tracked_ours or place.is_filtered)
            if not is_clean or head_tree is None:
                tree_id = place.written(status)
        except OrchestratorError as error:
            return replace(known, problem=error.in_a_line)
        return replace(known, tree=tree_id, dirty=tree_id != head_tree)


class _NoRepository(UsageError):
    """There is no work tree of git."""


def _is_in_repository(root: Path) -> bool:
    return any(named.is_there(folder / ".git") for folder in (root.resolve(), *root.resolve().parents))


def _text(output: bytes) -> str:
    return output.decode("ascii", "replace").strip()
