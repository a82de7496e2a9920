"""Bundles, read and made anew with something else in them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from codex_orchestrator.archives.writing import ArchiveWriter
from codex_orchestrator.evidence.bundles import opened_bundle
from codex_orchestrator.rules.flaws import Flaw
from codex_orchestrator.views.bundles import bundle_flaws


def contents(path: Path) -> dict[str, bytes]:
    """What is in a zip file, by the standard library."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files: Mapping[str, bytes]) -> bytes:
    """A zip file as bundles are, its names in their order."""
    stream = io.BytesIO()
    writer = ArchiveWriter(stream)
    for name in sorted(files, key=str.encode):
        writer.add(name, io.BytesIO(files[name]))
    writer.finish()
    return stream.getvalue()


def listed(path: Path) -> dict:
    """The list of a bundle."""
    return json.loads(contents(path)["bundle.json"])


def flaws_in(path: Path) -> list[Flaw]:
    """What `verify` finds in a bundle, in this process."""
    with opened_bundle(path) as bundle:
        return list(bundle_flaws(bundle, now=0.0))
