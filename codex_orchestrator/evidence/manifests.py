"""Reads manifests: those of runs, brought up to their logs, and any that a user names.

A manifest may be a moment behind its log (docs/reference/event-logs.md, "After a crash"). While its run
lives that moment is short; where the owner is dead it lasts, and every reader makes it good.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codex_orchestrator import named, places
from codex_orchestrator.errors import Misplaced, StorageError, UnknownRun
from codex_orchestrator.evidence.owner import is_of_this_host, is_owned_here, liveness_of, read_owner
from codex_orchestrator.model.codec import Mismatch, T, from_json, loads, to_json
from codex_orchestrator.model.manifest import TERMINAL, Manifest
from codex_orchestrator.rules.layout import RunLayout


def load_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest, and of a run that has not ended the log beside it as well.

    Keys of other tools and later versions are ignored.

    Args:
        path: ``manifest.json`` or the run's folder.

    Raises:
        UnknownRun: There is no readable manifest there.
    """
    file = _file(path)
    document = _document(file)
    if isinstance(document, dict) and str(document.get("status")) not in TERMINAL:
        folder = named.place(file).parent
        document = _caught_up(document, folder / "runner.ndjson", below=folder)
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


def read_manifest(layout: RunLayout) -> dict[str, Any]:
    """The manifest of a run, unknown keys included.

    Raises:
        UnknownRun: It is missing, unreadable or no manifest.
    """
    path = layout.manifest
    manifest = read_document(path, below=layout.base)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("run_id"), str):
        raise UnknownRun(f"{path} is not a run manifest.")
    commands = manifest.get("commands")
    if not isinstance(commands, list) or not all(isinstance(entry, dict) for entry in commands):
        raise UnknownRun(f"{path} is not a run manifest: it has no commands.")
    if str(manifest.get("status")) in TERMINAL or is_owned_here(layout):
        return manifest
    return _caught_up(manifest, layout.runner_log, below=layout.base)


def stored_manifest(layout: RunLayout) -> dict[str, Any] | None:
    """A run's manifest as it is on disk, not brought up to its log; None where none can be read.

    For whoever changes a part of it, or asks only about that part.

    Raises:
        Misplaced: What is there is not to be opened.
    """
    try:
        document = loads(places.read(layout.manifest, below=layout.base))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def is_owned_elsewhere(layout: RunLayout, *, now: float) -> bool:
    """Whether a run without a lock that this machine can test is alive: the Node CLI's, another host's."""
    owner = read_owner(layout.lock, below=layout.base)
    if owner is not None and is_of_this_host(owner):
        return False  # The lock itself will tell.
    manifest = stored_manifest(layout)
    return manifest is not None and liveness_of(layout, manifest, now=now) == "alive"


def read_document(file: Path, *, below: Path) -> Any:
    """The parsed JSON of a run's file, whatever it holds.

    Args:
        file: The file.
        below: The folder above it that the user has chosen.

    Raises:
        UnknownRun: It is missing, unreadable, not to be opened, or not JSON.
    """
    return _parsed(file, lambda: places.read(file, below=below))


def object_in(file: Path, *, below: Path) -> dict[str, Any]:
    """What the JSON object in a run's file says; nothing where there is none that can be read.

    Args:
        file: The file.
        below: The folder above it that the user has chosen.
    """
    try:
        document = read_document(file, below=below)
    except UnknownRun:
        return {}
    return document if isinstance(document, dict) else {}


def shape_in(file: Path, shape: type[T], *, below: Path) -> T | None:
    """What a run's file says, or None where it is not there, cannot be read or is not of the shape.

    Args:
        file: The file.
        shape: A dataclass.
        below: The folder above it that the user has chosen.
    """
    try:
        return from_json(shape, read_document(file, below=below), strict=False)
    except (UnknownRun, Mismatch):
        return None


def _caught_up(document: dict[str, Any], log: Path, *, below: Path) -> dict[str, Any]:
    """A manifest with what its log has and it lacks; as it is where either cannot be read."""
    # Of a run that has ended, none of this is needed.
    from codex_orchestrator.rules.replay import catch_up, parse_log

    try:
        manifest = from_json(Manifest, document, strict=False)
        known = catch_up(manifest, parse_log(places.lines(log, below=below)))
    except (Mismatch, OSError, StorageError):
        return document
    if known == manifest:
        return document
    before, after = to_json(manifest), to_json(known)
    return {**document, **{key: value for key, value in after.items() if value != before.get(key)}}


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
