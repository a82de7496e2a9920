"""Helpers for other tools that read manifests (docs/reference/python-api.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codex_orchestrator import named, places
from codex_orchestrator.errors import Misplaced, UnknownRun
from codex_orchestrator.model.codec import Mismatch, from_json, loads
from codex_orchestrator.model.manifest import Manifest


def load_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest; keys of other tools and later versions are ignored.

    Args:
        path: ``manifest.json`` or the run's folder.

    Raises:
        UnknownRun: There is no readable manifest there.
    """
    file = _file(path)
    document = _document(file)
    try:
        return from_json(Manifest, document, strict=False)
    except Mismatch as error:
        raise UnknownRun(f"{file} is not a run manifest: {'; '.join(_problems(document))}.") from error


def validate_manifest(manifest: str | os.PathLike[str] | dict[str, Any]) -> list[str]:
    """Everything that is wrong with a manifest, strictly: unknown keys too. Empty where nothing is.

    Args:
        manifest: A path as for `load_manifest`, or the parsed document.

    Raises:
        UnknownRun: There is no readable manifest at that path.
    """
    return _problems(manifest if isinstance(manifest, dict) else _document(_file(manifest)))


def read_document(file: Path, *, below: Path) -> Any:
    """The parsed JSON of a run's file, whatever it holds.

    Args:
        file: The file.
        below: The folder above it that the user has chosen.

    Raises:
        UnknownRun: It is missing, unreadable, not to be opened, or not JSON.
    """
    return _parsed(file, lambda: places.read(file, below=below))


def _document(file: Path) -> Any:
    return _parsed(file, lambda: named.read(file))


def _parsed(file: Path, read: Callable[[], bytes]) -> Any:
    try:
        return loads(read())
    except Misplaced as error:
        raise UnknownRun(f"Cannot read {file}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise UnknownRun(f"Cannot read {file}: {error.strerror or error}.") from error
    except ValueError as error:
        raise UnknownRun(f"{file} is not JSON: {error}.") from error


def _problems(document: Any) -> list[str]:
    from codex_orchestrator.model.explain import explain

    return [f"{problem.where()}: {problem.message}" for problem in explain(Manifest, document)]


def _file(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path / "manifest.json" if named.kind(path) == "folder" else path
