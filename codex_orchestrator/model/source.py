"""The shape of ``source.json``: of which source a run's evidence is (docs/reference/files.md, "Source")."""

from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import STRICT, Bounds

MOST_CHANGED = 200

ChangeStatus = Literal["added", "modified", "deleted", "unmerged"]


@dataclass(frozen=True)
class ChangedPath:
    """A file in which the work tree differs from its commit; one that git does not track is ``added``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    path: str
    status: ChangeStatus


@dataclass(frozen=True, kw_only=True)
class Source:
    """``source.json``.

    Attributes:
        vcs: Whether the root lies in a work tree of git.
        commit: The commit that was checked out when the run began; None before the first one.
        branch: The branch then; None on a detached head.
        start_tree: The id of the work tree before the run's first command; None where it is not known.
        end_tree: The same after its last command.
        dirty: Whether the work tree differed from its commit before the first command.
        changed: In which files, at most `MOST_CHANGED`.
        changed_total: How many files those were.
        root: The run's root, from the top of the work tree.
        recorded_at: When this was written.
        problem: Why a tree is not known though there is a repository; None where it is.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    vcs: Literal["git", "none"]
    commit: str | None
    branch: str | None
    start_tree: str | None
    end_tree: str | None
    dirty: bool | None
    changed: tuple[ChangedPath, ...]
    changed_total: Annotated[int, Bounds(ge=0)]
    root: str | None
    recorded_at: str
    problem: str | None = None
