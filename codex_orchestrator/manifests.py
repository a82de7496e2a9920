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
    try:
        return from_json(Manifest, _read(path), strict=False)
    except Mismatch as error:
        problems = "; ".join(validate_manifest(path))
        raise UnknownRun(f"{_file(path)} is not a run manifest: {problems}.") from error


def validate_manifest(manifest: str | os.PathLike[str] | dict[str, Any]) -> list[str]:
    """Everything that is wrong with a manifest, strictly: unknown keys too. Empty where nothing is.

    Args:
        manifest: A path as for `load_manifest`, or the parsed document.

    Raises:
        UnknownRun: There is no readable manifest at that path.
    """
    from .validation import explain

    document = manifest if isinstance(manifest, dict) else _read(manifest)
    return [f"{problem.where()}: {problem.message}" for problem in explain(Manifest, document)]


def _file(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path / "manifest.json" if path.is_dir() else path


def _read(path: str | os.PathLike[str]) -> Any:
    file = _file(path)
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise UnknownRun(f"Cannot read {file}: {error.strerror or error}.") from error
    except ValueError as error:
        raise UnknownRun(f"{file} is not JSON: {error}.") from error
