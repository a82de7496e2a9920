"""Which commit a change is measured against, and why that one.

Of the places to look, git says which are here (docs/reference/guards.md, section "Base and changed paths").
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from codex_orchestrator.checks.base_candidates import (
    BASE_FLAG,
    BASE_SETTING,
    BASE_VARIABLE,
    HEADS,
    REMOTES,
    BaseCandidate,
    Branches,
    NamedBase,
    branch_candidates,
    ci_candidates,
    explicit_base,
    fetch_command,
    is_branch_name,
    is_null_hash,
    quoted,
)
from codex_orchestrator.checks.git import WorkTree, git_environment, locate
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import ToolMissing, UsageError
from codex_orchestrator.text import printable

NO_OTHER = "HEAD"
_NAME_ONE = f"with {BASE_FLAG}, {BASE_VARIABLE} or {BASE_SETTING}"
_FETCH_ALL = "git fetch --unshallow (in actions/checkout: fetch-depth: 0)"


@dataclass(frozen=True)
class Base:
    """The commit that a change is measured against.

    Attributes:
        commit: Full hash.
        source: What named it: ``--base``, ``BASE_SHA``, ``guards.base``, a variable of a CI system, a branch
            (``upstream origin/develop``, ``origin/HEAD``, ``main``), or ``HEAD`` where nothing did.
    """

    commit: str
    source: str


@dataclass(frozen=True)
class FoundBase:
    """The result of looking for the base.

    Attributes:
        base: The base; None where there is nothing to compare with (a notice says why).
        notices: What one must know about it, one sentence each.
        uncommitted_only: Whether it is HEAD for want of another, so that no commit is part of the change.
    """

    base: Base | None
    notices: tuple[str, ...] = ()
    uncommitted_only: bool = False


def describe_base(root: Path, named: NamedBase) -> FoundBase:
    """The base that changes below `root` would be measured against.

    Raises:
        UsageError: What was asked for names no commit, or git refuses to read the repository.
    """
    return locate_base(root, named)[1]


def locate_base(root: Path, named: NamedBase) -> tuple[WorkTree | None, FoundBase]:
    """The work tree around `root` and the base in it; None for a work tree in which nothing can be compared.

    Raises:
        UsageError: As in `describe_base`.
    """
    explicit_base(named)  # What can be no revision is bad use, wherever one is.
    try:
        tree = locate(root, git_environment(named.environ))
    except ToolMissing:
        tree = "git is not installed"
    if isinstance(tree, str):
        if named.flag is not None:
            raise UsageError(f'{BASE_FLAG}: "{printable(named.flag)}" names no commit, for {tree}.')
        return None, FoundBase(None, (f"Changes were not checked: {tree}.",))
    found = _find(tree, named)
    return (tree if found.base else None), found


def _find(tree: WorkTree, named: NamedBase) -> FoundBase:
    head = tree.commit("HEAD")
    asked = explicit_base(named)
    # The settings of a repository are there before its first commit is; flag and variable speak of one.
    if asked is not None and (head is not None or asked.source != BASE_SETTING):
        commit = tree.commit(asked.refs[0])
        if commit is None:
            raise _not_here(tree, asked)
        if head is not None:
            return _told(_fork_point(tree, commit, asked.source), _unset_notices(named))
    if head is None:
        _refuse_broken_head(tree)
        return FoundBase(None, ("Changes were not checked: the repository has no commit yet.",))
    branches = _branches(tree)
    candidates = (*ci_candidates(named.environ, branches.remote), *branch_candidates(branches))
    return _told(_first_of(tree, head, branches, candidates), _unset_notices(named))


def _first_of(
    tree: WorkTree, head: str, branches: Branches, candidates: Iterable[BaseCandidate]
) -> FoundBase:
    notices: list[str] = []
    looked_for = []
    for candidate in candidates:
        looked_for.append(candidate.source)
        commit = next(filter(None, map(tree.commit, candidate.refs)), None)
        if commit is None:
            if candidate.missing is not None:
                notices.append(candidate.missing)
            elif _is_broken(tree, candidate.refs):
                notices.append(f"{candidate.source} names a commit that cannot be read: it is passed over.")
        elif candidate.branch is not None and _is_at(head, commit, branches, candidate.branch):
            why = f"HEAD is at {candidate.source} itself"
            return _uncommitted_only(tree, head, candidate.source, why, notices)
        else:
            if candidate.published:
                notices.append(f"{candidate.source} is this branch itself: what was pushed is not measured.")
            return _told(_fork_point(tree, commit, candidate.source), notices)
    listed = f"{', '.join(looked_for[:-1])} and {looked_for[-1]}"
    return _uncommitted_only(tree, head, NO_OTHER, f"no base was found among {listed}", notices)


def _is_at(head: str, commit: str, branches: Branches, branch: str) -> bool:
    return branches.current == branch or (branches.current is None and head == commit)


def _uncommitted_only(tree: WorkTree, head: str, source: str, why: str, notices: Iterable[str]) -> FoundBase:
    notice = f"Only what is not committed is measured, as {why}. Name another base {_NAME_ONE}."
    if tree.shallow:
        notice += f" This clone is shallow: to have its history, call: {_FETCH_ALL}."
    return FoundBase(Base(head, source), (*notices, notice), uncommitted_only=True)


def _fork_point(tree: WorkTree, commit: str, source: str) -> FoundBase:
    """The commit where HEAD left the line of `commit`: what others did there since is not this change."""
    result = tree.run("merge-base", commit, "HEAD")
    if result.exit_code == 0:
        return FoundBase(Base(result.stdout.decode("ascii").strip(), source))
    why, advice = "their histories are unrelated", ""
    if tree.shallow:
        why, advice = "the clone is shallow", f" To have its history, call: {_FETCH_ALL}."
    notice = f"HEAD and {source} have no common commit here ({why}): they are compared directly.{advice}"
    return FoundBase(Base(commit, source), (notice,))


def _told(found: FoundBase, before: Iterable[str]) -> FoundBase:
    return FoundBase(found.base, (*before, *found.notices), found.uncommitted_only)


def _unset_notices(named: NamedBase) -> tuple[str, ...]:
    if named.flag is None and is_null_hash(named.environ.get(BASE_VARIABLE, "").strip()):
        return (f"{BASE_VARIABLE} is all zeros, which means no earlier commit: it counts as unset.",)
    return ()


def _branches(tree: WorkTree) -> Branches:
    at = tree.run("symbolic-ref", "--quiet", "HEAD")
    ref = _line(at.stdout) if at.exit_code == 0 else ""
    current = ref.removeprefix(HEADS) if ref.startswith(HEADS) else None
    remotes = tuple(os.fsdecode(tree.output("remote")).splitlines())
    if current is None:
        return Branches(remotes=remotes)
    words = tree.output("for-each-ref", "--format=%(upstream)%00%(upstream:remoteref)", ref)
    upstream, _, followed = _line(words).partition("\0")
    return Branches(
        current=current,
        upstream=upstream or None,
        followed=followed.removeprefix(HEADS),
        remotes=remotes,
    )


def _line(output: bytes) -> str:
    return os.fsdecode(output.removesuffix(b"\n"))


def _not_here(tree: WorkTree, asked: BaseCandidate) -> UsageError:
    """The error that the base asked for is not in this clone, and how to fetch it."""
    ref = asked.refs[0]
    hint = "Name a branch, tag or commit that was fetched (shallow clone: git fetch --unshallow)."
    remotes = _branches(tree).remotes
    name = ref.removeprefix(REMOTES)
    for remote in remotes:
        branch = name.removeprefix(f"{remote}/")
        if branch != name and is_branch_name(branch):
            command = fetch_command(remote, branch)
            hint = f"Where {quoted(branch)} is a branch of {printable(remote)}, call: {command}"
        elif tree.commit(f"{REMOTES}{remote}/{ref}") is not None:
            hint = f"There is {quoted(f'{remote}/{ref}')}: name that."
    return UsageError(f"{asked.source}: {quoted(ref)} names no commit in this repository.", hint=hint)


def _is_broken(tree: WorkTree, refs: Iterable[str]) -> bool:
    """Whether one of the refs exists but names a commit that does not."""
    return any(tree.run("rev-parse", "--verify", "--quiet", ref).exit_code == 0 for ref in refs)


def _refuse_broken_head(tree: WorkTree) -> None:
    # A branch without commits has no hash at all; one whose commit is lost has a hash that leads nowhere.
    if _is_broken(tree, ("HEAD",)):
        where = printable(str(tree.root))
        raise UsageError(f"The commit that HEAD names cannot be read in {where}.", hint="Run git fsck.")
