"""Where to look for the base of a change, in order (pure).

What somebody asked for comes first, then what CI systems say, then the branches around HEAD
(docs/reference/guards.md, section "Base and changed paths").
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import UsageError
from codex_orchestrator.text import printable

BASE_FLAG = "--base"
BASE_VARIABLE = "BASE_SHA"
BASE_SETTING = "guards.base"
HEADS, REMOTES = "refs/heads/", "refs/remotes/"

_ORIGIN = "origin"
_DEFAULT_BRANCHES = ("main", "master")
_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
# What git takes in no name of a branch, and would read as a question about one.
_NO_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|[/.]$")
# In the order in which they are looked at, each with what has its CI system fetch more.
CI_BASES = {
    "GITHUB_BASE_REF": "in actions/checkout: fetch-depth: 0",
    "CI_MERGE_REQUEST_DIFF_BASE_SHA": "in GitLab: GIT_DEPTH: 0",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": None,
    "SYSTEM_PULLREQUEST_TARGETBRANCH": "in Azure Pipelines: fetchDepth: 0",
    "BITBUCKET_PR_DESTINATION_COMMIT": "in Bitbucket: clone: depth: full",
    "BITBUCKET_PR_DESTINATION_BRANCH": "in Bitbucket: clone: depth: full",
    "BUILDKITE_PULL_REQUEST_BASE_BRANCH": None,
}
_CI_COMMITS = frozenset({"CI_MERGE_REQUEST_DIFF_BASE_SHA", "BITBUCKET_PR_DESTINATION_COMMIT"})


@dataclass(frozen=True, kw_only=True)
class NamedBase:
    """The sources that may name the base: the flag, the configured ``guards.base``, and the environment."""

    environ: Mapping[str, str]
    flag: str | None = None
    setting: str | None = None


@dataclass(frozen=True, kw_only=True)
class BaseCandidate:
    """One place to look for the base.

    Attributes:
        source: What the base is called when it comes from there.
        refs: Names of the commit, of which the first that is here counts.
        missing: What is to be said where none is here; None where that is nothing to speak of.
        branch: The local branch that it is, or None.
        published: Whether it is the branch's own copy on a remote.
    """

    source: str
    refs: tuple[str, ...]
    missing: str | None = None
    branch: str | None = None
    published: bool = False


@dataclass(frozen=True, kw_only=True)
class Branches:
    """The branches around HEAD.

    Attributes:
        current: The branch that HEAD is at; None where it is at none.
        upstream: The full name of the branch that this one follows, or None.
        followed: What that branch is called where it comes from; empty where there is none.
        remotes: Names of remotes.
    """

    current: str | None = None
    upstream: str | None = None
    followed: str = ""
    remotes: tuple[str, ...] = ()

    @property
    def remote(self) -> str:
        """The remote whose branches are looked at: origin, or what stands for it where it is the only one."""
        return self.remotes[0] if len(self.remotes) == 1 else _ORIGIN

    @property
    def follows_itself(self) -> bool:
        """Whether the branch follows its own published copy, which may have a prefix, as in ``ada/fix``."""
        return self.current is not None and f"/{self.followed}".endswith(f"/{self.current}")


def explicit_base(named: NamedBase) -> BaseCandidate | None:
    """The base that flag, variable or configuration names, which must then exist; None where none does.

    Raises:
        UsageError: It can be no revision at all.
    """
    variable = named.environ.get(BASE_VARIABLE, "").strip()
    if named.flag is not None:
        return _revision(BASE_FLAG, named.flag)
    if variable and not is_null_hash(variable):
        return _revision(BASE_VARIABLE, variable)
    return None if named.setting is None else _revision(BASE_SETTING, named.setting)


def ci_candidates(environ: Mapping[str, str], remote: str) -> Iterator[BaseCandidate]:
    """The bases that variables of CI systems name: the target branch on the remote, else here."""
    for variable, advice in CI_BASES.items():
        value = environ.get(variable, "").strip().removeprefix(HEADS)
        if value and not is_branch_name(value):
            yield BaseCandidate(
                source=variable, refs=(), missing=f"{variable} names no branch: {quoted(value)}."
            )
        elif value and variable in _CI_COMMITS:
            yield from _ci_commit(variable, value, remote, advice)
        elif value:
            refs = (f"{REMOTES}{remote}/{value}", HEADS + value)
            yield BaseCandidate(
                source=variable,
                refs=refs,
                missing=_unfetched(variable, value, fetch_command(remote, value), advice),
            )


def branch_candidates(branches: Branches) -> Iterator[BaseCandidate]:
    """The branches that a change may have started from, the likeliest first."""
    remote, current = branches.remote, branches.current
    followed = branches.upstream
    if followed is not None and not branches.follows_itself:
        yield BaseCandidate(source=f"upstream {_short(followed)}", refs=(followed,))
    for name in ("HEAD", *_DEFAULT_BRANCHES):
        yield _branch(f"{REMOTES}{remote}/{name}")
    if followed is not None and branches.follows_itself:
        yield _branch(followed, published=True)
    elif current is not None:
        yield _branch(f"{REMOTES}{remote}/{current}", published=True)
    for name in _DEFAULT_BRANCHES:
        yield BaseCandidate(source=name, refs=(HEADS + name,), branch=name)


def _ci_commit(variable: str, value: str, remote: str, advice: str | None) -> Iterator[BaseCandidate]:
    if is_null_hash(value):
        return
    if _COMMIT.fullmatch(value):
        missing = _unfetched(variable, value, f"git fetch {shlex.quote(remote)} {value}", advice)
        yield BaseCandidate(source=variable, refs=(value,), missing=missing)
    else:
        yield BaseCandidate(source=variable, refs=(), missing=f"{variable} names no commit: {quoted(value)}.")


def _unfetched(variable: str, value: str, command: str, advice: str | None) -> str:
    more = f" ({advice})" if advice else ""
    return f"{variable} names {quoted(value)}, which is not here. To have it, call: {command}{more}"


def is_branch_name(name: str) -> bool:
    """Whether a branch may be called so."""
    return _NO_BRANCH.search(name) is None


def fetch_command(remote: str, branch: str) -> str:
    """The git command that fetches a branch to the ref where it is looked for."""
    words = ("git", "fetch", remote, f"{branch}:{REMOTES}{remote}/{branch}")
    return printable(shlex.join(words))


def _revision(source: str, ref: str) -> BaseCandidate:
    # git takes no ref that starts with "-" or is empty, and would read the former as an option.
    if not ref.strip() or ref.startswith("-") or "\0" in ref:
        raise UsageError(f"{source}: {quoted(ref)} is not a revision.", hint="Name a branch, tag or commit.")
    return BaseCandidate(source=source, refs=(ref,))


def _branch(ref: str, *, published: bool = False) -> BaseCandidate:
    return BaseCandidate(source=_short(ref), refs=(ref,), published=published)


def _short(ref: str) -> str:
    return printable(ref.removeprefix(REMOTES).removeprefix(HEADS))


def quoted(value: str) -> str:
    """A value from outside, quoted for a sentence."""
    return f'"{printable(value)}"'


def is_null_hash(value: str) -> bool:
    """CI systems write this for "no earlier commit", when a branch is pushed for the first time."""
    return re.fullmatch(r"0{40}|0{64}", value) is not None
