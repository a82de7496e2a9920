"""What changed since the base: the paths that count, and what is left out.

The rules are in docs/reference/guards.md, sections "Base and changed paths" and "What counts".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.checks.base import Base, locate_base
from codex_orchestrator.checks.base_candidates import NamedBase
from codex_orchestrator.checks.counting import CountingRules, LeftOut, environments_among
from codex_orchestrator.checks.git import WorkTree, paths_below, status_paths
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import CONFIG_NAME, Environment
from codex_orchestrator.errors import StorageError, UsageError
from codex_orchestrator.globs import parse_globs
from codex_orchestrator.model.definitions import GuardSettings
from codex_orchestrator.text import printable


@dataclass(frozen=True, kw_only=True)
class ChangeRequest:
    """Which change to read.

    Attributes:
        root: The guarded folder; it may lie below the top of its git work tree.
        environ: Environment for git, and where BASE_SHA and the variables of CI systems are looked up.
        base: The value of ``--base``, or None.
        settings: The configured base, and what counts and what does not.
        runs: The folders that runs write to, relative to the root.
        definitions: The file that has the settings, relative to the root.
    """

    root: Path
    environ: Mapping[str, str]
    base: str | None = None
    settings: GuardSettings = GuardSettings()
    runs: tuple[str, ...] = ()
    definitions: str = CONFIG_NAME

    @classmethod
    def of(cls, environment: Environment, settings: GuardSettings, base: str | None) -> ChangeRequest:
        """The change in the repository of an environment."""
        return cls(
            root=environment.root,
            environ=environment.variables,
            base=base,
            settings=settings,
            runs=tuple(map(environment.relative, (environment.runs_dir, environment.out_dir))),
            definitions=environment.config_name,
        )

    @property
    def named_base(self) -> NamedBase:
        """The sources that may name its base."""
        return NamedBase(environ=self.environ, flag=self.base, setting=self.settings.base)


@dataclass(frozen=True)
class Changes:
    """What changed since the base.

    Attributes:
        base: The commit compared with; None where there was nothing to compare with (a notice says why).
        paths: Changed paths that count, relative to the guarded folder, sorted; bytes that are not UTF-8 are
            surrogates. A file that was renamed is there under both names.
        notices: What the reader must know about the comparison, one sentence each.
        left_out: What does not count by its name or place.
        untracked: Those of the paths that git does not track.
        uncommitted_only: Whether the base is HEAD for want of another.
    """

    base: Base | None
    paths: tuple[str, ...]
    notices: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    untracked: tuple[str, ...] = ()
    uncommitted_only: bool = False

    @property
    def unchecked(self) -> str | None:
        """Why nothing was compared, in one sentence; None where something was."""
        if self.base is None:
            return "there is no commit to compare with."
        if self.uncommitted_only and not self.paths:
            return "there is no base to compare commits with, and nothing is uncommitted."
        return None


def read_changes(request: ChangeRequest) -> Changes:
    """Find the base and every path under the root that differs from it, committed or not.

    Raises:
        UsageError: What names the base names no commit, a pattern is none, or git refuses to read the
            repository.
    """
    return survey(request)[1]


def survey(request: ChangeRequest) -> tuple[WorkTree | None, Changes]:
    """The changes, and the work tree that they are in; None where there are none to be seen.

    Raises:
        UsageError: As in `read_changes`.
    """
    counting = counting_rules(request)
    settings = request.settings
    tree, found = locate_base(request.root, request.named_base)
    if tree is None or found.base is None:
        return None, Changes(found.base, (), found.notices)
    new, counting, left_out = _untracked(tree, counting)
    tracked = _tracked(tree, found.base)
    counted = []
    for path in sorted({*tracked, *new}):
        if (out := counting.leaves_out(path)) is None:
            counted.append(path)
        else:
            left_out.append(out)
    used = settings.base or settings.left_out or settings.counted
    file = request.definitions
    itself = (own_rules_notice(file),) if used and file in {*tracked, *new} else ()
    return tree, Changes(
        found.base,
        tuple(counted),
        (*found.notices, *itself),
        tuple(dict.fromkeys(left_out)),
        tuple(path for path in counted if path in new),
        found.uncommitted_only,
    )


def counting_rules(request: ChangeRequest) -> CountingRules:
    """The rules for what counts, as far as they are known before git is asked.

    Raises:
        UsageError: A pattern is none.
    """
    return CountingRules(
        left_out=parse_globs("guards.leftOut", request.settings.left_out),
        counted=parse_globs("guards.counted", request.settings.counted),
        runs=request.runs,
    )


def own_rules_notice(path: str) -> str:
    """The notice that a change itself changes the rules that it is measured by."""
    return f"{printable(path)} is part of this change, which so says itself what of it counts."


def _tracked(tree: WorkTree, base: Base) -> tuple[str, ...]:
    """Paths that git tracks: changed since the base, or not committed."""
    # Renames are not detected, so that a file moved out of a code folder counts at both its ends.
    listing = ("-z", "--no-renames", "--name-only", base.commit, "HEAD", "--", ".")
    committed = tree.output("diff-tree", "-r", *listing).split(b"\0")
    # Not into submodules: git would run another git there, with settings of theirs.
    kind = (
        *("--porcelain=v1", "-z", "--no-renames", "--no-branch"),
        *("--untracked-files=no", "--ignore-submodules=dirty"),
    )
    uncommitted = status_paths(tree.output("status", *kind, "--", "."))
    return paths_below(tree.prefix, (*filter(None, committed), *uncommitted))


def _untracked(
    tree: WorkTree, counting: CountingRules
) -> tuple[frozenset[str], CountingRules, list[LeftOut]]:
    """New files, and what is left out of them: folders are left out whole, without being listed."""
    # First only which folders git tracks nothing in: an environment has thousands of files.
    listed = _others(tree, "--directory", "--no-empty-directory")
    tops = [name[:-1] for name in listed if name.endswith("/")]
    environments = frozenset(top for top in tops if _is_environment(tree.root / top, tree.root))
    counting = replace(counting, untracked=frozenset(tops), environments=environments)
    left_out = [
        out for top in tops if (out := counting.leaves_out(f"{top}/")) is not None and out.path == top
    ]
    # What patterns have count may lie in there.
    whole = () if counting.counted else tuple(out.path for out in left_out)
    new = frozenset(_others(tree, *(f"--exclude=/{_escaped(tree.prefix + folder)}/" for folder in whole)))
    counting = replace(counting, environments=environments | environments_among(new))
    return new, counting, [out for out in left_out if out.path in whole]


def _others(tree: WorkTree, *words: str) -> Iterator[str]:
    output = tree.output("ls-files", "--others", "--exclude-standard", "-z", *words, "--", ".")
    return (os.fsdecode(name) for name in output.split(b"\0") if name)


def _escaped(folder: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\*?[! #" else letter for letter in folder)


def _is_environment(folder: Path, root: Path) -> bool:
    try:
        return (
            places.status(folder / "pyvenv.cfg", below=root) is not None
            or places.status(folder / "conda-meta", below=root) is not None
        )
    except StorageError as error:
        raise UsageError(error.message, hint=error.hint) from error
