"""Whether a path that a page names exists, and whether it must.

The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

import posixpath
import re

from codex_orchestrator import named
from codex_orchestrator.checks.packages import Packages
from codex_orchestrator.checks.paths import Reach, is_kind_of_media, similar_path
from codex_orchestrator.checks.repository_files import RepositoryFiles
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.text import printable

# Made by tools: documents name what will be there.
_MADE = frozenset(
    {".cache", ".eggs", ".git", ".mypy_cache", ".next", ".nox", ".pytest_cache", ".ruff_cache"}
    | {".runs", ".tox", ".turbo", ".venv", "__pycache__", "_build", "build", "coverage", "dist"}
    | {"htmlcov", "node_modules", "out", "site", "site-packages", "target", "venv"}
)
_MADE_ENDS = (".dist-info", ".egg-info")
# Folders that most projects have: on a page for users, those of the reader's own project.
_COMMON = frozenset(
    {".github", ".vscode", "app", "apps", "assets", "bin", "conf", "config", "data", "doc"}
    | {"docs", "lib", "migrations", "package", "packages", "plugins", "public", "script", "scripts"}
    | {"server", "spec", "src", "static", "tasks", "templates", "test", "tests", "tools", "web"}
)
# Of these, those that a page for contributors means of its own repository, even where they are gone.
_OURS = frozenset({".github", "docs", "lib", "scripts", "src", "test", "tests", "tools"})
_OF_PAGES, _PAGES = ("doc", "docs"), (".markdown", ".md", ".rst")
_SOURCES = "src"
_EXTENSION = re.compile(r"\.[A-Za-z]\w{0,9}$")


@dataclass(frozen=True)
class NamedPath:
    """A path that a page names.

    Attributes:
        path: As written, without ``./``.
        page: The page that names it.
    """

    path: str
    page: str

    @property
    def whole(self) -> str:
        """The path from the root; one that begins with ``..`` is taken from the page's folder."""
        beside = posixpath.dirname(self.page) if self.path.startswith("..") else ""
        return posixpath.normpath(posixpath.join(beside, self.path))

    @property
    def first(self) -> str:
        """The first folder of the path."""
        return self.whole.partition("/")[0]

    @property
    def is_common(self) -> bool:
        """Whether most projects have its first folder; a documentation page counts as this project's own."""
        name, extension = posixpath.splitext(posixpath.basename(self.whole))
        is_page = self.first in _OF_PAGES and extension in _PAGES and not name.isupper()
        return self.first in _COMMON and not is_page

    @property
    def is_of_host(self) -> bool:
        """Whether its first folder has a dot in it, so that it may be the name of a host."""
        return "." in self.first.removeprefix(".")

    @property
    def is_file(self) -> bool:
        """Whether it ends with a file extension."""
        return _EXTENSION.search(self.path) is not None


class PathChecker:
    """Checks paths that pages name against the files and folders of the repository."""

    def __init__(self, environment: Environment, repository: RepositoryFiles, packages: Packages) -> None:
        """Check against nothing yet.

        Args:
            environment: Where the repository is.
            repository: Its files and folders.
            packages: The packages that it makes.
        """
        self._environment = environment
        self._repository = repository
        self._packages = packages

    def has(self, path: str, page: str) -> bool:
        """Whether a path exists: as written, with an extension added, or below the name of our package."""
        named_path = NamedPath(path, page)
        if self._repository.has(path, page) or self._repository.has_without_extension(named_path.whole):
            return True
        rest = named_path.whole.partition("/")[2]
        return (
            bool(rest)
            and self._packages.has_import(named_path.first)
            and self._repository.lies_at(rest, "") is True
        )

    def may_lie_here(self, path: str, page: str) -> bool:
        """Whether it looks like a path of this repository: by its first folder, or by an extension."""
        named_path = NamedPath(path, page)
        return not self._lies_elsewhere(named_path) and (
            self._begins_here(named_path) or (named_path.is_file and not named_path.is_of_host)
        )

    def must_exist(self, path: str, page: str, *, is_ours: bool, mostly_found: bool) -> bool:
        """Whether a path that does not exist would be an error.

        Args:
            path: As written.
            page: The page that names it.
            is_ours: Whether the page speaks of this repository.
            mostly_found: Whether most of what the page names exists.
        """
        named_path = NamedPath(path, page)
        if self._lies_elsewhere(named_path):
            return False
        if self._packages.has_import(named_path.first):
            # Without a file it may as well be an owner, or a named_path in a repository of that name.
            return named_path.is_file and self._is_in_a_folder(named_path)
        return (
            self._must_be_here(named_path, mostly_found=mostly_found)
            if is_ours
            else self._is_of_this_project(named_path)
        )

    def fault(self, path: str, page: str, *, is_ours: bool, mostly_found: bool) -> str | None:
        """What is wrong with a path that does not exist, in one sentence; None where it need not."""
        named_path = NamedPath(path, page)
        similar = None if self._lies_elsewhere(named_path) else self._similar(named_path, is_ours=is_ours)
        if similar is None and not self.must_exist(path, page, is_ours=is_ours, mostly_found=mostly_found):
            return None
        if self._repository.ignores(path):
            return None
        return f"There is no {printable(path)}" + (f"; there is {printable(similar)}." if similar else ".")

    def _similar(self, named_path: NamedPath, *, is_ours: bool) -> str | None:
        """The existing path that was probably meant; None where there is none."""
        if not is_ours and named_path.first in _COMMON and not self._begins_here(named_path):
            return None
        reach = Reach.ALL if is_ours else Reach.NONE if named_path.is_common else Reach.ONE
        lookalikes = self._repository.lookalikes(named_path.whole, named_path.page)
        similar = similar_path(named_path.whole + "/" * named_path.path.endswith("/"), lookalikes, reach)
        # Git lists what is deleted and not committed yet.
        return similar if similar is not None and self._repository.lies_at(similar, "") else None

    def _must_be_here(self, named_path: NamedPath, *, mostly_found: bool) -> bool:
        """Whether a path on a page about this repository must exist."""
        is_file = named_path.is_file and not named_path.is_of_host
        return self._begins_here(named_path) or (is_file and (mostly_found or named_path.first in _OURS))

    def _is_of_this_project(self, named_path: NamedPath) -> bool:
        """Whether a path on a page about any project is one of this one: few others have that folder."""
        # Two words without an extension may be anything, such as owner and repository.
        is_path = named_path.is_file or named_path.path.endswith("/") or named_path.whole.count("/") > 1
        return (
            is_path
            and not named_path.is_common
            and self._begins_at(named_path, *self._roots(named_path))
            and self._is_in_a_folder(named_path)
        )

    def _begins_here(self, named_path: NamedPath) -> bool:
        """Whether its first folder is in the root, beside the page, or (for a file) in ``src``."""
        return self._begins_at(named_path, posixpath.dirname(named_path.page), *self._roots(named_path))

    def _begins_at(self, named_path: NamedPath, *starts: str) -> bool:
        return any(named.is_there(self._environment.root / start / named_path.first) for start in starts)

    def _is_in_a_folder(self, named_path: NamedPath) -> bool:
        """Whether its folder exists."""
        folder = posixpath.dirname(named_path.whole)
        return any(
            named.is_there(self._environment.root / start / folder) for start in self._roots(named_path)
        )

    def _roots(self, named_path: NamedPath) -> tuple[str, ...]:
        return ("", _SOURCES) if named_path.is_file else ("",)

    def _lies_elsewhere(self, named_path: NamedPath) -> bool:
        """Whether it is made by tools, lies outside of the repository, or is no path at all."""
        if named_path.first == ".." or self._is_made(named_path.whole):
            return True
        if any(self._repository.is_only_a_file(part) for part in named_path.whole.split("/")[:-1]):
            return True  # Two files: this/that.
        is_module = self._packages.has_module(named_path.path) and not self._begins_at(named_path, "")
        return is_module or is_kind_of_media(named_path.path)

    def _is_made(self, whole: str) -> bool:
        """Whether it lies in a folder that tools make and that is not part of the repository."""
        folders = (self._environment.runs_dir, self._environment.out_dir)
        if any((self._environment.root / whole).is_relative_to(folder) for folder in folders):
            return True
        parts = whole.split("/")
        return any(
            (part in _MADE or part.endswith(_MADE_ENDS))
            and "/".join(parts[: number + 1]) not in self._repository
            for number, part in enumerate(parts)
        )
