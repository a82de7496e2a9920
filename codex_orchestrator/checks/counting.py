"""Which changed files count: not those that tools have installed, built, locked or generated.

Pure: names go in, and what is left out and why comes out (docs/reference/guards.md, "What counts").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.globs import Glob
from codex_orchestrator.text import printable

PACKAGES_FOLDER = "node_modules"
# What folders are called that tools make anew; only ones without a file that git tracks are left out.
BUILD_FOLDERS = frozenset(
    {
        *("build", "dist", "target", "coverage", "htmlcov", "_build", "builddir", "dist-newstyle"),
        *("cmake-build-debug", "cmake-build-release", "DerivedData", "elm-stuff", "zig-out", "__pycache__"),
        *(".build", ".dart_tool", ".eggs", ".gradle", ".hypothesis", ".ipynb_checkpoints", ".mypy_cache"),
        *(".next", ".nox", ".nuxt", ".nyc_output", ".parcel-cache", ".pytest_cache", ".pytype"),
        *(".ruff_cache", ".stack-work", ".svelte-kit", ".terraform", ".tox", ".turbo", ".zig-cache"),
    }
)
BUILD_ENDING = ".egg-info"
# Written by package managers: long, and nobody reviews them line by line.
LOCK_FILES = frozenset(
    {
        *("Cargo.lock", "Gemfile.lock", "MODULE.bazel.lock", "Package.resolved", "Pipfile.lock"),
        *("Podfile.lock", "bun.lock", "bun.lockb", "buildscript-gradle.lockfile", "composer.lock"),
        *("conda-lock.yml", "deno.lock", "flake.lock", "go.sum", "go.work.sum", "gradle.lockfile"),
        *("mix.lock", "npm-shrinkwrap.json", "package-lock.json", "packages.lock.json", "paket.lock"),
        *("pdm.lock", "pixi.lock", "pnpm-lock.yaml", "poetry.lock", "pubspec.lock", "pylock.toml"),
        *("uv.lock", "yarn.lock", ".terraform.lock.hcl"),
    }
)
GENERATED_ENDINGS = (
    *(".min.js", ".min.css", ".js.map", ".mjs.map", ".cjs.map", ".css.map", ".d.ts.map"),
    *("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", ".pb.go", ".pb.cc", ".pb.h"),
)
# What .gitattributes may say of a file, and what there means that it counts.
ATTRIBUTES = ("linguist-generated", "linguist-vendored")
_NO = ("unset", "false")
# Near the beginning, in a comment of its own.
_MARKED_LINES = 40
_MARK = re.compile(
    rb"[ \t]*(?://+!?|#+|--+|;+|%+|/?\*+|<!--)[ \t]*(?:@generated\b|Code generated\b.*\bDO NOT EDIT\b)"
)
_NAMES_TOLD = 5


class ExclusionReason(Enum):
    """Why a file does not count, as a noun and its plural."""

    RUNS = ("folder of runs", "folders of runs")
    CONFIGURED = ("file that guards.leftOut names", "files that guards.leftOut names")
    ENVIRONMENT = ("environment that git does not track", "environments that git does not track")
    PACKAGES = ("folder of installed packages", "folders of installed packages")
    BUILD = ("build folder that git does not track", "build folders that git does not track")
    LOCK = ("lock file", "lock files")
    GENERATED = ("generated file", "generated files")


@dataclass(frozen=True)
class LeftOut:
    """A file or whole folder that does not count.

    Attributes:
        path: Relative to the guarded folder.
        reason: Why.
        by: What says so of a generated file: ``its name``, ``its first lines``, ``.gitattributes``.
    """

    path: str
    reason: ExclusionReason
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class CountingRules:
    """The rules that decide whether a path counts.

    Attributes:
        left_out: Further patterns of what does not count.
        counted: Patterns of what counts all the same.
        runs: The folders that runs write to.
        untracked: Folders in which git tracks nothing, without those in them; ``.`` for the guarded one.
        environments: Those of them, and in them, that are environments.
    """

    left_out: tuple[Glob, ...] = ()
    counted: tuple[Glob, ...] = ()
    runs: tuple[str, ...] = ()
    untracked: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()

    def leaves_out(self, path: str) -> LeftOut | None:
        """The entry by which a changed path is left out, by names alone; None where it counts."""
        folders = tuple(_folders(path))
        for folder in folders:
            if folder in self.runs:
                return LeftOut(folder, ExclusionReason.RUNS)
        if self.counts_anyway(path):
            return None
        if any(glob.matches(path) for glob in self.left_out):
            return LeftOut(path, ExclusionReason.CONFIGURED)
        untracked = "." in self.untracked
        for folder in folders:
            untracked = untracked or folder in self.untracked
            if (reason := self._of_folder(folder, untracked=untracked)) is not None:
                return LeftOut(folder, reason)
        return LeftOut(path, ExclusionReason.LOCK) if _name(path) in LOCK_FILES else None

    def counts_anyway(self, path: str) -> bool:
        """Whether the repository itself says that a path counts."""
        return any(glob.matches(path) for glob in self.counted)

    def _of_folder(self, folder: str, *, untracked: bool) -> ExclusionReason | None:
        name = _name(folder)
        if name == PACKAGES_FOLDER:
            return ExclusionReason.PACKAGES
        if untracked and folder in self.environments:
            return ExclusionReason.ENVIRONMENT
        return (
            ExclusionReason.BUILD
            if untracked and (name in BUILD_FOLDERS or name.endswith(BUILD_ENDING))
            else None
        )


def environments_among(paths: Iterable[str]) -> frozenset[str]:
    """The folders that are environments of Python or conda, by the files in them."""
    found = set()
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name == "pyvenv.cfg":
            found.add(folder)
        elif _name(folder) == "conda-meta":
            found.add(folder.rpartition("/")[0])
    return frozenset(found - {""})


def is_generated_name(path: str) -> bool:
    """Whether only generated files have such a name."""
    return path.endswith(GENERATED_ENDINGS)


def is_marked_generated(head: bytes) -> bool:
    """Whether the beginning of a file says that it was generated."""
    return any(_MARK.match(line) for line in head.splitlines()[:_MARKED_LINES])


def generated_by_attributes(attributes: Mapping[str, str]) -> bool | None:
    """Whether ``.gitattributes`` mark a file as generated; None where they say nothing."""
    values = [attributes.get(name, "unspecified") for name in ATTRIBUTES]
    if any(value not in ("unspecified", *_NO) for value in values):
        return True
    return False if any(value in _NO for value in values) else None


def left_out_notices(left_out: Iterable[LeftOut]) -> tuple[str, ...]:
    """A sentence for each reason for which files are left out; folders of runs are not mentioned."""
    found: dict[ExclusionReason, list[str]] = {}
    for each in dict.fromkeys(left_out):
        name = f"{printable(each.path)} (by {each.by})" if each.by else printable(each.path)
        found.setdefault(each.reason, []).append(name)
    return tuple(
        _told(reason, found[reason])
        for reason in ExclusionReason
        if reason is not ExclusionReason.RUNS and reason in found
    )


def _told(reason: ExclusionReason, names: list[str]) -> str:
    one, many = reason.value
    more = f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else ""
    noun = one if len(names) == 1 else many
    return f"Left out {len(names)} {noun}: {', '.join(names[:_NAMES_TOLD])}{more}."


def _folders(path: str) -> Iterator[str]:
    """The folders that a path is in, outermost first; its own too where it is one."""
    end = path.find("/")
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)


def _name(path: str) -> str:
    return path.rpartition("/")[2]
