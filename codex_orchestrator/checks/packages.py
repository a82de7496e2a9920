"""The packages of a repository: their scripts, their modules, and whether they are published."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from codex_orchestrator import sources
from codex_orchestrator.checks.repository_files import RepositoryFiles
from codex_orchestrator.errors import Misplaced, UsageError
from codex_orchestrator.model.codec import loads

_PACKAGE = "package.json"
_DEPENDENCIES = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
_FOR_OTHERS = ("setup.py", "setup.cfg", "Cargo.toml", "composer.json", "go.mod")
_DEEPEST = 2  # folders that a workspace lies below, as in packages/name


class Packages:
    """The packages that a repository makes, as far as its files say."""

    def __init__(self, root: Path, repository: RepositoryFiles) -> None:
        """Args: the guarded folder, and what lies in it."""
        self._root = root
        self._repository = repository

    @cached_property
    def scripts(self) -> frozenset[str] | None:
        """The scripts of package.json; None without one.

        Raises:
            UsageError: It cannot be read, or is no JSON object.
        """
        try:
            scripts = loads(sources.read(self._root / _PACKAGE, root=self._root)).get("scripts", {})
            return frozenset(scripts) if isinstance(scripts, dict) else frozenset()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"{_PACKAGE} cannot be read: {error.strerror}.") from error
        except (ValueError, AttributeError) as error:
            raise UsageError(
                f"{_PACKAGE} is not a JSON object, so that its scripts are not known."
            ) from error

    def may_have_script(self, name: str) -> bool:
        """Whether there is such a script, in the root or in a workspace, whose folder a page may speak of."""
        others = (one.get("scripts") for one in self._of_npm)
        return name in (self.scripts or ()) or any(name in _keys(scripts) for scripts in others)

    @cached_property
    def are_published(self) -> bool:
        """Whether a package is published, so that pages speak to its users and not only to contributors."""
        if any(name in self._repository.files for name in _FOR_OTHERS):
            return True
        public = ({"name", "version"} <= one.keys() and not one.get("private") for one in self._of_npm)
        return any(public) or not self._python.keys().isdisjoint({"project", "build-system"})

    def has_module(self, path: str) -> bool:
        """Whether a path is a module of a package that is known here, as in ``import "name/part.js"``."""
        first, _, rest = path.partition("/")
        return first in self._modules and bool(rest)

    def has_import(self, name: str) -> bool:
        """Whether Python imports a package of this repository by that name."""
        return any(f"{start}{name}/__init__.py" in self._repository for start in ("", "src/"))

    @cached_property
    def _modules(self) -> frozenset[str]:
        names: set[object] = set()
        for one in self._of_npm:
            names.add(one.get("name"))
            for key in _DEPENDENCIES:
                names.update(_keys(one.get(key)))
        return frozenset(name for name in names if isinstance(name, str) and not name.startswith("@"))

    @cached_property
    def _of_npm(self) -> tuple[dict[str, object], ...]:
        """The package.json of the root and of workspaces."""
        return tuple(
            document
            for path in self._repository.files
            if (path == _PACKAGE or path.endswith("/" + _PACKAGE)) and path.count("/") <= _DEEPEST
            for document in self._read(path)
        )

    @cached_property
    def _python(self) -> dict[str, object]:
        try:
            text = sources.read(self._root / "pyproject.toml", root=self._root).decode("utf-8", "replace")
            return tomllib.loads(text)
        except (OSError, ValueError, RecursionError, Misplaced):
            return {}  # Whoever needs it is told so; to the pages it says nothing.

    def _read(self, path: str) -> Iterator[dict[str, object]]:
        try:
            document = loads(sources.read(self._root / path, root=self._root))
        except (OSError, ValueError, Misplaced):
            return
        if isinstance(document, dict):
            yield document


def _keys(value: object) -> Iterable[object]:
    return value.keys() if isinstance(value, dict) else ()
