"""Helpers for other tools that read manifests (docs/reference/python-api.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .errors import UnknownRun
from .records import Mismatch, from_json
from .run.shapes import Manifest


def load_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest; keys of other tools and later versions are ignored.

    Args:
        path: ``manifest.json`` or the run's folder.

    Raises:
        UnknownRun: There is no readable manifest there.
    """
    file = _file(path)
    document = read_document(file)
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
    return _problems(manifest if isinstance(manifest, dict) else read_document(_file(manifest)))


def read_document(file: Path) -> Any:
    """The parsed JSON of a run's file, whatever it holds.

    Raises:
        UnknownRun: It is missing, unreadable or not JSON.
    """
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise UnknownRun(f"Cannot read {file}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UnknownRun(f"{file} is not JSON: {error}.") from error


def _problems(document: Any) -> list[str]:
    from .validation import explain

    return [f"{problem.where()}: {problem.message}" for problem in explain(Manifest, document)]


def _file(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path / "manifest.json" if path.is_dir() else path
