"""What is remembered of files from one run to the next, so that few of them are read or written again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.evidence import files

from .rules import path_problem
from .scan import Scanned, Signature
from .snapshot import Entry, Kind, is_digest

_FORMAT = 1
_LARGEST = 64 * 1024 * 1024
# Kernels tell time in steps of up to 10 ms, some file systems in whole seconds, or two.
_TICK_NS, _COARSE_TICK_NS, _SECOND_NS = 50_000_000, 2_500_000_000, 1_000_000_000


def settled(scanned: Mapping[str, Scanned], began: float) -> dict[str, Scanned]:
    """What may be believed later: of files that were written long enough before they were looked at.

    One that was written in the same tick of the clock as it was read may have been written once more in it,
    and would look as it did.

    Args:
        scanned: What was found, by path.
        began: When looking at it began, in seconds since the epoch.
    """
    return {
        path: one
        for path, one in scanned.items()
        if one.entry.has_content and not _is_young(one.signature, int(began * _SECOND_NS))
    }


def _is_young(signature: Signature, began_ns: int) -> bool:
    written = max(signature.mtime_ns, signature.ctime_ns)
    return written >= began_ns - (_TICK_NS if written % _SECOND_NS else _COARSE_TICK_NS)


def load(folder: Path, name: str) -> dict[str, Scanned]:
    """What was saved last under a name; nothing where it cannot be read, as it is only to save time."""
    try:
        data = json.loads(places.read(folder / name, below=folder, at_most=_LARGEST))
        if data["version"] != _FORMAT:
            return {}
        return {path: _scanned(path, values) for path, values in data["files"].items()}
    except (OSError, OrchestratorError, ValueError, TypeError, KeyError):
        return {}


def save(folder: Path, name: str, scanned: Mapping[str, Scanned]) -> None:
    """Remember files; what is no file is left out.

    Raises:
        StorageError: The disk refuses.
    """
    values = {
        path: [one.entry.sha256, one.entry.kind == "executable", *one.signature]
        for path, one in scanned.items()
        if one.entry.has_content
    }
    text = json.dumps({"version": _FORMAT, "files": values}, separators=(",", ":"))
    files.replace(folder / name, text.encode("ascii") + b"\n", below=folder, durable=False)


def _scanned(path: str, values: list[int | str]) -> Scanned:
    sha256, executable, *rest = values
    if path_problem(path) or not isinstance(sha256, str) or not is_digest(sha256):
        raise ValueError(path)
    signature = Signature(*map(int, rest))
    kind: Kind = "executable" if executable else "file"
    return Scanned(Entry(path, kind, signature.size, sha256), signature)
