"""The files of a run that are sealed, by size and digest: all in its folder but what lives on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import file_digest, sha256
from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.errors import Misplaced
from codex_orchestrator.evidence import files
from codex_orchestrator.model.seal import SealedFile
from codex_orchestrator.rules.layout import RunLayout

LIVES_ON = frozenset(
    {".heartbeat", "run.lock", "run.lock.held", "resume-token.json", "seal.json", "seal.dsse.json"}
)


def sealed_files(layout: RunLayout) -> Iterator[SealedFile]:
    """Each of them, by path; links by what they say, and nothing of what can be neither read nor followed.

    Raises:
        OSError: One cannot be read.
    """
    for path in sealed_paths(layout):
        found = sealed_file(layout, path)
        if found is not None:
            yield found


def sealed_paths(layout: RunLayout) -> list[Path]:
    """Their paths, sorted.

    Raises:
        OSError: A folder cannot be listed.
    """
    found = list(places.walked(layout.folder, below=layout.base))
    left = set(files.temporaries((path.name, kind) for path, kind in found))
    return sorted(
        path
        for path, kind in found
        if kind in ("file", "link")
        and path.name not in left
        and not (path.parent == layout.folder and path.name in LIVES_ON)
    )


def sealed_file(layout: RunLayout, path: Path) -> SealedFile | None:
    """Size and digest of a file, of a link itself; None where there is nothing of these.

    Raises:
        OSError: It cannot be read.
    """
    name = sealed_name(layout, path)
    try:
        with places.open_stream(path, below=layout.base) as stream:
            digest = file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
            return SealedFile(name, stream.tell(), digest)
    except FileNotFoundError:
        return None
    except Misplaced:
        target = places.link_target(path, below=layout.base)
        return (
            None if target is None else SealedFile(name, len(target), sha256(b"link:" + target).hexdigest())
        )


def sealed_name(layout: RunLayout, path: Path) -> str:
    """A file's path as seals have it: that of artefacts, in which no byte is no text."""
    return os.fsencode(layout.relative(path)).decode("utf-8", "replace")
