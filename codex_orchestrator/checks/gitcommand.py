"""Command lines for git with which it reads a repository and executes nothing that comes with it.

A repository's own settings may name programs: for its file system monitor, its hooks, its filters, what
fetches from where. git runs them whenever it sees fit, also to answer a question
(docs/reference/guards.md, "What git executes").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import UsageError
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
