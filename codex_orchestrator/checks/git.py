"""Queries to git about a work tree, in command lines that execute nothing that comes with it.

A repository's own settings may name programs: for its file system monitor, its hooks, its filters, what
fetches from where. git runs them whenever it sees fit, also to answer a question
(docs/reference/guards.md, section "What git executes").
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import OrchestratorError, ToolMissing, UsageError
from codex_orchestrator.execution.process import ToolResult, run_tool
from codex_orchestrator.text import printable

ALWAYS = (
    "--no-pager",
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    # A folder that lies in a work tree, and looks like a repository of its own, was put there by a commit.
    *("-c", "safe.bareRepository=explicit"),
    *("-c", "submodule.recurse=false"),
    *("-c", "protocol.allow=never"),
)
# What of the settings `overrides` has to know, with where each comes from.
SETTINGS = ("config", "-z", "--show-scope", "--get-regexp", r"^(filter|lfs\.extension)\.")

_QUIET = {
    # What is asked is in English.
    "LC_ALL": "C",
    # Without optional locks a reader never disturbs a git command that runs at the same time.
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # A partial clone fetches what it lacks, by programs that its settings may name; older versions of git
    # do not know the first of these.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
}
# Set by git for hooks (and by scripts around git): they name another repository, index or object store
# than the one around the guarded folder. GIT_CONFIG_* stays: CI systems pass safe.directory through it.
_RELOCATING_VARIABLES = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
_OF_THE_REPOSITORY = frozenset({"local", "worktree"})
# What `git lfs install --local` writes, as CI systems have it do: a program of the machine's.
_LFS = {
    "filter.lfs.clean": ("git-lfs clean -- %f",),
    "filter.lfs.smudge": ("git-lfs smudge -- %f", "git-lfs smudge --skip -- %f"),
    "filter.lfs.process": ("git-lfs filter-process", "git-lfs filter-process --skip"),
    "filter.lfs.required": ("true",),
}
# Enough for the untracked files of a very large tree; a git that takes longer is stuck.
GIT_TIMEOUT_SECONDS = 120.0
_NO_SUCH_SETTING = 1
_NOT_BARE = "Guards look at work trees, and a folder that looks like a repository hides the one around it."
# What versions of git say where a partial clone lacks something and may not fetch it.
_LACKING = (b"unable to read ", b"promisor", b"lazy fetching disabled", b"' not allowed")
_FETCH_FIRST = "Guards fetch nothing: where this is a partial clone, have git fetch it first (git diff, say)."


@dataclass(frozen=True)
class Setting:
    """A setting of git: its scope in git's words, its key and its value."""

    scope: str
    key: str
    value: str


def git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a git that only reads the repository around its working folder."""
    kept = {name: value for name, value in environ.items() if name not in _RELOCATING_VARIABLES}
    return {**kept, **_QUIET}


def parse_settings(output: bytes) -> list[Setting]:
    """What git answers to `SETTINGS`, in order: of settings with one key, the last counts."""
    scopes, settings = output.split(b"\0")[::2], output.split(b"\0")[1::2]
    found = []
    for scope, setting in zip(scopes, settings, strict=False):
        key, _, value = setting.decode("utf-8", "surrogateescape").partition("\n")
        found.append(Setting(scope.decode("ascii", "replace"), key, value))
    return found


def overrides(settings: Iterable[Setting]) -> tuple[str, ...]:
    """Words for git's command line that have it run no filter of the repository's.

    Filters that the user or the machine has set up stay, and so does Git LFS as its own command sets it up:
    without it, each file that it keeps would count as changed.

    Args:
        settings: All that concern filters.

    Raises:
        UsageError: A filter has a name that git's command line cannot take.
    """
    settings = list(settings)
    own = [setting for setting in settings if setting.scope in _OF_THE_REPOSITORY]
    trusted = {setting.key: setting.value for setting in settings if setting.scope not in _OF_THE_REPOSITORY}
    extended = any(setting.key.startswith("lfs.extension.") for setting in own)
    for setting in own:
        if not extended and setting.value in _LFS.get(setting.key, ()):
            trusted[setting.key] = setting.value
    words: list[str] = []
    for key in dict.fromkeys(setting.key for setting in own if setting.key.startswith("filter.")):
        if "=" in key:
            raise UsageError(
                f'The repository\'s git settings have a filter "{printable(key)}", which cannot be left out.',
                hint="Remove it from .git/config.",
            )
        nothing = "false" if key.endswith(".required") else ""
        words += ["-c", f"{key}={trusted.get(key, nothing)}"]
    return tuple(words)


@dataclass(frozen=True)
class WorkTree:
    """A folder inside a git work tree, and queries to git about it.

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

    def run(self, *arguments: str, given: bytes = b"") -> ToolResult:
        """Whatever git answers to words and what it reads on standard input.

        Raises:
            ToolMissing: git is not installed.
            UsageError: It does not end or start.
        """
        argv = ("git", *ALWAYS, *self.overrides, *arguments)
        try:
            return run_tool(
                argv,
                cwd=self.root,
                environ=self.environ,
                timeout_seconds=GIT_TIMEOUT_SECONDS,
                given=given,
            )
        except ToolMissing:
            raise
        except OrchestratorError as error:
            # A guard's exit code 1 says that there are findings: one that could not look must not say so.
            raise UsageError(error.message, hint=error.hint) from error

    def output(self, *arguments: str, given: bytes = b"") -> bytes:
        """What git prints; raises UsageError when git fails."""
        result = self.run(*arguments, given=given)
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


def locate(root: Path, environ: Mapping[str, str]) -> WorkTree | str:
    """The work tree around `root`, or in a few words why it cannot be used.

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


def refusal_reason(root: Path, environ: Mapping[str, str]) -> UsageError | None:
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
    """The reason why git refused to read a repository; None where there is no repository."""
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


def status_paths(output: bytes) -> tuple[bytes, ...]:
    """The paths in ``git status --porcelain=v1 -z --no-renames``, each after two letters and a space."""
    return tuple(entry[3:] for entry in output.split(b"\0") if entry)


def paths_below(prefix: str, paths: tuple[bytes, ...]) -> tuple[str, ...]:
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
