"""What git says about a work tree: the commit to compare with, and the paths changed since.

The rules are in docs/reference/guards.md, section "Base and changed paths".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import OrchestratorError, ToolMissing, UsageError
from codex_orchestrator.execution.process import ToolResult, run_tool
from codex_orchestrator.text import printable

from .gitcommand import ALWAYS, SETTINGS, Setting, git_environment, overrides, parse_settings

BASE_FLAG = "--base"
BASE_VARIABLE = "BASE_SHA"
DEFAULT_BRANCH = "origin/main"
FIRST_COMMIT = "first commit"

# Enough for the untracked files of a very large tree; a git that takes longer is stuck.
GIT_TIMEOUT_SECONDS = 120.0
_NO_SUCH_SETTING = 1
_NOT_BARE = "Guards look at work trees, and a folder that looks like a repository hides the one around it."
# What versions of git say where a partial clone lacks something and may not fetch it.
_LACKING = (b"unable to read ", b"promisor", b"lazy fetching disabled", b"' not allowed")
_FETCH_FIRST = "Guards fetch nothing: where this is a partial clone, have git fetch it first (git diff, say)."


@dataclass(frozen=True)
class Base:
    """The commit that a change is measured against.

    Attributes:
        commit: Full hash.
        source: Where it comes from: ``--base``, ``BASE_SHA``, ``origin/main`` or ``first commit``.
    """

    commit: str
    source: str


@dataclass(frozen=True)
class Changes:
    """What changed since the base.

    Attributes:
        base: The commit compared with; None where there was nothing to compare with (a notice says why).
        paths: Changed paths relative to the guarded folder, sorted; bytes that are not UTF-8 are surrogates.
        notices: What the reader must know about the comparison, one sentence each.
    """

    base: Base | None
    paths: tuple[str, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class BaseCandidate:
    """One place to look for the base; ``required`` ones were asked for and must exist."""

    source: str
    ref: str
    required: bool


@dataclass(frozen=True)
class WorkTree:
    """One folder inside a git work tree, and how to ask git about it.

    Attributes:
        root: The folder.
        environ: The environment for git.
        prefix: The folder as git names it from the top of the work tree: empty or ``a/b/``.
        shallow: Whether the history was fetched in part only.
        overrides: Words that keep git from running what this repository's settings name.
    """

    root: Path
    environ: Mapping[str, str]
    prefix: str = ""
    shallow: bool = False
    overrides: tuple[str, ...] = ()

    def run(self, *arguments: str) -> ToolResult:
        """Whatever git answers; raises ToolMissing without git, UsageError when it does not end or start."""
        argv = ("git", *ALWAYS, *self.overrides, *arguments)
        try:
            return run_tool(argv, cwd=self.root, environ=self.environ, timeout_seconds=GIT_TIMEOUT_SECONDS)
        except ToolMissing:
            raise
        except OrchestratorError as error:
            # A guard's exit code 1 says that there are findings: one that could not look must not say so.
            raise UsageError(error.message, hint=error.hint) from error

    def output(self, *arguments: str) -> bytes:
        """What git prints; raises UsageError when git fails."""
        result = self.run(*arguments)
        if result.exit_code != 0:
            complaint = git_complaint(result)
            where = printable(str(self.root))
            hint = _FETCH_FIRST if any(word in result.stderr for word in _LACKING) else None
            raise UsageError(f"git {arguments[0]} failed in {where}: {complaint}", hint=hint)
        return result.stdout

    def commit(self, ref: str) -> str | None:
        """The full hash of the commit that `ref` names, or None."""
        result = self.run("rev-parse", "--verify", "--quiet", ref + "^{commit}")
        return result.stdout.decode("ascii").strip() if result.exit_code == 0 else None


def read_changes(root: Path, environ: Mapping[str, str], base: str | None) -> Changes:
    """Find the base and every path under `root` that differs from it, committed or not.

    Args:
        root: The guarded folder; it may lie below the top of its git work tree.
        environ: Environment for git, and where BASE_SHA is looked up.
        base: The value of ``--base``, or None.

    Raises:
        UsageError: `base` or BASE_SHA names no commit, or git refuses to read the repository.
    """
    candidates = base_candidates(base, environ)
    try:
        tree = locate(root, git_environment(environ))
    except ToolMissing:
        tree = "git is not installed"
    if isinstance(tree, str):
        if base is not None:
            raise UsageError(f'{BASE_FLAG}: "{printable(base)}" names no commit, for {tree}.')
        return Changes(None, (), (f"Changes were not checked: {tree}.",))
    found, notices = _find_base(tree, candidates)
    if found is None:
        return Changes(None, (), notices)
    unset = _unset_notices(environ) if base is None else ()
    return Changes(found, _changed_paths(tree, found), (*unset, *notices))


def locate(root: Path, environ: Mapping[str, str]) -> WorkTree | str:
    """The work tree around `root`, or in a few words why there is none.

    Args:
        root: The guarded folder.
        environ: What `git_environment` gave.

    Raises:
        ToolMissing: git is not installed.
        UsageError: git refuses to read the repository.
    """
    asked = WorkTree(root, environ)
    result = asked.run("rev-parse", "--is-inside-work-tree", "--is-shallow-repository", "--show-prefix")
    if result.exit_code != 0:
        if (refusal := _refusal(root, result)) is not None:
            raise refusal
        return "this folder is not in a git repository"
    # The prefix comes last and may hold line breaks of its own.
    inside, shallow, prefix = result.stdout.split(b"\n", 2)
    if inside != b"true":
        return "this folder is not in a git work tree"
    own = overrides(_filter_settings(asked))
    return WorkTree(root, environ, os.fsdecode(prefix.removesuffix(b"\n")), shallow == b"true", own)


def why_unread(root: Path, environ: Mapping[str, str]) -> UsageError | None:
    """Why git refuses to read the repository around a folder; None where it reads it, or there is none.

    Args:
        root: The folder.
        environ: What `git_environment` gave.

    Raises:
        ToolMissing: git is not installed.
        UsageError: It does not end or start.
    """
    result = WorkTree(root, environ).run("rev-parse", "--is-inside-work-tree")
    return _refusal(root, result) if result.exit_code != 0 else None


def _refusal(root: Path, result: ToolResult) -> UsageError | None:
    """What git's failing to look at a repository means; None where there is none."""
    complaint = git_complaint(result)
    if complaint.startswith("not a git repository"):
        return None
    hint = _NOT_BARE if complaint.startswith("cannot use bare repository") else _advice(result)
    return UsageError(f"git cannot read the repository at {printable(str(root))}: {complaint}", hint=hint)


def _filter_settings(tree: WorkTree) -> list[Setting]:
    result = tree.run(*SETTINGS)
    if result.exit_code == _NO_SUCH_SETTING:
        return []
    if result.exit_code != 0:
        raise UsageError(
            f"git cannot tell where its settings come from in {printable(str(tree.root))}: "
            f"{git_complaint(result)}",
            hint="Guards need git 2.26 or newer.",
        )
    return parse_settings(result.stdout)


def base_candidates(base: str | None, environ: Mapping[str, str]) -> tuple[BaseCandidate, ...]:
    """Where to look for the base, in order; after these comes the first commit.

    Raises:
        UsageError: `base` cannot be a revision at all.
    """
    if base is not None:
        return (_asked_for(BASE_FLAG, base),)
    variable = environ.get(BASE_VARIABLE, "").strip()
    if variable and not _is_null_hash(variable):
        return (_asked_for(BASE_VARIABLE, variable),)
    # The full name, so that a local branch that is called "origin/main" is not mistaken for it.
    return (BaseCandidate(DEFAULT_BRANCH, f"refs/remotes/{DEFAULT_BRANCH}", required=False),)


def status_paths(output: bytes) -> tuple[bytes, ...]:
    """The paths in ``git status --porcelain=v1 -z --no-renames``, each after two letters and a space."""
    return tuple(entry[3:] for entry in output.split(b"\0") if entry)


def below(prefix: str, paths: tuple[bytes, ...]) -> tuple[str, ...]:
    """Paths of the work tree as paths of its subfolder `prefix` (empty or ``a/b/``), sorted, once each."""
    names = {os.fsdecode(path) for path in paths}
    return tuple(sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix)))


def git_complaint(result: ToolResult) -> str:
    """Why git gave up: the first line of its stderr that says so, without its ``fatal:``."""
    lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
    fatal = [line for line in lines if line.startswith("fatal:")] or lines
    return printable(fatal[0].removeprefix("fatal:").strip()) if fatal else f"exit code {result.exit_code}"


def _advice(result: ToolResult) -> str | None:
    """What git says to call where a repository is somebody else's."""
    lines = map(str.strip, result.stderr.decode("utf-8", "replace").splitlines())
    command = next((line for line in lines if line.startswith("git config ")), None)
    return command and printable(f"If you trust whoever owns it, call: {command}")


def _asked_for(source: str, ref: str) -> BaseCandidate:
    # git takes no ref that starts with "-" or is empty, and would read the former as an option.
    if not ref.strip() or ref.startswith("-") or "\0" in ref:
        message = f'{source}: "{printable(ref)}" is not a revision.'
        raise UsageError(message, hint="Name a branch, tag or commit.")
    return BaseCandidate(source, ref, required=True)


def _is_null_hash(value: str) -> bool:
    """CI systems write this for "no earlier commit", when a branch is pushed for the first time."""
    return re.fullmatch(r"0{40}|0{64}", value) is not None


def _unset_notices(environ: Mapping[str, str]) -> tuple[str, ...]:
    if _is_null_hash(environ.get(BASE_VARIABLE, "").strip()):
        return (f"{BASE_VARIABLE} is all zeros, which means no earlier commit: it counts as unset.",)
    return ()


def _find_base(tree: WorkTree, candidates: tuple[BaseCandidate, ...]) -> tuple[Base | None, tuple[str, ...]]:
    head = tree.commit("HEAD")
    for candidate in candidates:
        commit = tree.commit(candidate.ref)
        if commit is None and candidate.required:
            raise UsageError(
                f'{candidate.source}: "{printable(candidate.ref)}" names no commit in this repository.',
                hint="Name a branch, tag or commit that was fetched (shallow clone: git fetch --unshallow).",
            )
        if commit is not None and head is not None:
            return _fork_point(tree, commit, candidate.source)
    if head is None:
        _refuse_broken_head(tree)
        return None, ("Changes were not checked: the repository has no commit yet.",)
    # One root only: a history with merged-in roots began where its first parents lead.
    roots = tree.output("rev-list", "--max-parents=0", "--first-parent", "HEAD").decode("ascii").split()
    notice = "This clone is shallow: changes are counted from the oldest commit that was fetched."
    return Base(roots[-1], FIRST_COMMIT), (notice,) if tree.shallow else ()


def _refuse_broken_head(tree: WorkTree) -> None:
    # A branch without commits has no hash at all; one whose commit is lost has a hash that leads nowhere.
    if tree.run("rev-parse", "--verify", "--quiet", "HEAD").exit_code == 0:
        where = printable(str(tree.root))
        raise UsageError(f"The commit that HEAD names cannot be read in {where}.", hint="Run git fsck.")


def _fork_point(tree: WorkTree, commit: str, source: str) -> tuple[Base, tuple[str, ...]]:
    """Where HEAD left the line of `commit`: what others did there since is not this change."""
    result = tree.run("merge-base", commit, "HEAD")
    if result.exit_code == 0:
        return Base(result.stdout.decode("ascii").strip(), source), ()
    why = "the clone is shallow" if tree.shallow else "their histories are unrelated"
    notice = f"HEAD and {source} have no common commit here ({why}): they are compared directly."
    return Base(commit, source), (notice,)


def _changed_paths(tree: WorkTree, base: Base) -> tuple[str, ...]:
    """Committed since the base, staged, changed and untracked."""
    # Renames are not detected, so that a file moved out of a code folder counts at both its ends.
    listing = ("-z", "--no-renames", "--name-only", base.commit, "HEAD", "--", ".")
    committed = tree.output("diff-tree", "-r", *listing).split(b"\0")
    # Not into submodules: git would run another git there, with settings of theirs.
    kind = (
        *("--porcelain=v1", "-z", "--no-renames", "--no-branch"),
        *("--untracked-files=all", "--ignore-submodules=dirty"),
    )
    uncommitted = status_paths(tree.output("status", *kind, "--", "."))
    return below(tree.prefix, (*filter(None, committed), *uncommitted))
