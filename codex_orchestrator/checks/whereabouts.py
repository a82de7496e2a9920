"""Whether a path that a page names leads somewhere, and whether it has to.

The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

import posixpath
import re

from codex_orchestrator import named
from codex_orchestrator.checks.packages import Packages
from codex_orchestrator.checks.paths import is_kind_of_media
from codex_orchestrator.checks.repository_files import RepositoryFiles
from codex_orchestrator.checks.similar_paths import Reach, similar_path
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
# Of these, those that a page for work means of its own repository, even where they are gone.
_OURS = frozenset({".github", "docs", "lib", "scripts", "src", "test", "tests", "tools"})
_OF_PAGES, _PAGES = ("doc", "docs"), (".markdown", ".md", ".rst")
_SOURCES = "src"
_EXTENSION = re.compile(r"\.[A-Za-z]\w{0,9}$")


@dataclass(frozen=True)
class NamedPath:
    """A path as a page means it.

    Attributes:
        path: As written, without ``./``.
        page: The page that names it.
    """

    path: str
    page: str

    @property
    def whole(self) -> str:
        """From the root; what begins with ``..`` is meant from the page's folder."""
        beside = posixpath.dirname(self.page) if self.path.startswith("..") else ""
        return posixpath.normpath(posixpath.join(beside, self.path))

    @property
    def first(self) -> str:
        """The folder that it begins with."""
        return self.whole.partition("/")[0]

    @property
    def is_common(self) -> bool:
        """Whether most projects have such a folder; a page in one, unless in capitals, is of this project."""
        name, extension = posixpath.splitext(posixpath.basename(self.whole))
        is_page = self.first in _OF_PAGES and extension in _PAGES and not name.isupper()
        return self.first in _COMMON and not is_page

    @property
    def is_of_host(self) -> bool:
        """Whether its first folder may be the name of a host."""
        return "." in self.first.removeprefix(".")

    @property
    def is_file(self) -> bool:
        """Whether it says by its end that it is a file."""
        return _EXTENSION.search(self.path) is not None


class PathChecker:
    """Knows the files and folders of a repository, and which of those that pages name must be among them."""

    def __init__(self, environment: Environment, inventory: RepositoryFiles, packages: Packages) -> None:
        """Args: where the repository is, what lies in it, and what it is as a package."""
        self._environment = environment
        self._inventory = inventory
        self._packages = packages

    def has(self, path: str, page: str) -> bool:
        """Whether a path leads somewhere: as it is, with an extension, or below the repository's own name."""
        place = NamedPath(path, page)
        if self._inventory.has(path, page) or self._inventory.has_without_extension(place.whole):
            return True
        rest = place.whole.partition("/")[2]
        return (
            bool(rest)
            and self._packages.has_import(place.first)
            and self._inventory.lies_at(rest, "") is True
        )

    def may_lie_here(self, path: str, page: str) -> bool:
        """Whether it looks like a path of this repository: by its first folder, or as it ends like a file."""
        place = NamedPath(path, page)
        return not self._lies_elsewhere(place) and (
            self._begins_here(place) or (place.is_file and not place.is_of_host)
        )

    def must_lead_somewhere(self, path: str, page: str, *, is_ours: bool, at_home: bool) -> bool:
        """Whether a path would be wrong if there were nothing.

        Args:
            path: As written.
            page: The page that names it.
            is_ours: Whether what the page says is said of this repository.
            at_home: Whether most of what the page names is there.
        """
        place = NamedPath(path, page)
        if self._lies_elsewhere(place):
            return False
        if self._packages.has_import(place.first):
            # Without a file it may as well be an owner, or a place in a repository of that name.
            return place.is_file and self._is_in_a_folder(place)
        return self._must_be_here(place, at_home=at_home) if is_ours else self._is_of_this_project(place)

    def fault(self, path: str, page: str, *, is_ours: bool, at_home: bool) -> str | None:
        """What is wrong with a path that leads nowhere, in one sentence; None where it need not be there."""
        place = NamedPath(path, page)
        meant = None if self._lies_elsewhere(place) else self._meant(place, is_ours=is_ours)
        if meant is None and not self.must_lead_somewhere(path, page, is_ours=is_ours, at_home=at_home):
            return None
        if self._inventory.ignores(path):
            return None
        return f"There is no {printable(path)}" + (f"; there is {printable(meant)}." if meant else ".")

    def _meant(self, place: NamedPath, *, is_ours: bool) -> str | None:
        """What lies here and was meant by it."""
        if not is_ours and place.first in _COMMON and not self._begins_here(place):
            return None
        reach = Reach.ALL if is_ours else Reach.NONE if place.is_common else Reach.ONE
        kin = self._inventory.kin(place.whole, place.page)
        meant = similar_path(place.whole + "/" * place.path.endswith("/"), kin, reach)
        # Git lists what is deleted and not committed yet.
        return meant if meant is not None and self._inventory.lies_at(meant, "") else None

    def _must_be_here(self, place: NamedPath, *, at_home: bool) -> bool:
        """Whether a path said of this repository is one that can be looked for."""
        is_file = place.is_file and not place.is_of_host
        return self._begins_here(place) or (is_file and (at_home or place.first in _OURS))

    def _is_of_this_project(self, place: NamedPath) -> bool:
        """Whether a path said of some project is one of this: its folder is here, and few have such."""
        # Two words without an extension may be anything, such as owner and repository.
        is_path = place.is_file or place.path.endswith("/") or place.whole.count("/") > 1
        return (
            is_path
            and not place.is_common
            and self._begins_at(place, *self._roots(place))
            and self._is_in_a_folder(place)
        )

    def _begins_here(self, place: NamedPath) -> bool:
        """Whether its first folder is in the root or beside the page, or for a file among the sources."""
        return self._begins_at(place, posixpath.dirname(place.page), *self._roots(place))

    def _begins_at(self, place: NamedPath, *starts: str) -> bool:
        return any(named.is_there(self._environment.root / start / place.first) for start in starts)

    def _is_in_a_folder(self, place: NamedPath) -> bool:
        """Whether the folder is there that it should lie in."""
        folder = posixpath.dirname(place.whole)
        return any(named.is_there(self._environment.root / start / folder) for start in self._roots(place))

    def _roots(self, place: NamedPath) -> tuple[str, ...]:
        return ("", _SOURCES) if place.is_file else ("",)

    def _lies_elsewhere(self, place: NamedPath) -> bool:
        """Whether it is made by tools, lies out of the repository, or is the name of something else."""
        if place.first == ".." or self._is_made(place.whole):
            return True
        if any(self._inventory.is_only_a_file(part) for part in place.whole.split("/")[:-1]):
            return True  # Two files: this/that.
        is_module = self._packages.has_module(place.path) and not self._begins_at(place, "")
        return is_module or is_kind_of_media(place.path)

    def _is_made(self, whole: str) -> bool:
        """Whether it lies in a folder that tools make, where no such folder is part of the repository."""
        folders = (self._environment.runs_dir, self._environment.out_dir)
        if any((self._environment.root / whole).is_relative_to(folder) for folder in folders):
            return True
        parts = whole.split("/")
        return any(
            (part in _MADE or part.endswith(_MADE_ENDS))
            and "/".join(parts[: number + 1]) not in self._inventory
            for number, part in enumerate(parts)
        )
