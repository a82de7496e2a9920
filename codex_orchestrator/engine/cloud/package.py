"""Our own code as it travels to workers: what `runner` needs of it, in a zip that the same code has again."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

from codex_orchestrator import resources
from codex_orchestrator.dataclass import dataclass

_ROOT = Path(__file__).parents[3]
_PACKAGE = _ROOT / "codex_orchestrator"
_FOLDERS = (
    ".",
    "execution",
    "model",
    "privacy",
    "rules",
    "definitions",
    "engine",
    "engine/cloud",
    "evidence",
    "workspace",
)
# The same for every file, so that the zip tells nothing but what is in them.
_MOMENT = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Package:
    """A zip, and the digest that workers keep it by."""

    digest: str
    data: bytes


@cache
def package() -> Package:
    """The package of this process's code."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in _FOLDERS:
            for path in resources.files_in(_PACKAGE / folder, "*.py"):
                name = path.relative_to(_ROOT).as_posix()
                text = resources.read_text(path)
                archive.writestr(zipfile.ZipInfo(name, _MOMENT), text, zipfile.ZIP_DEFLATED)
    data = buffer.getvalue()
    return Package(hashlib.sha256(data).hexdigest()[:16], data)


@cache
def worker_module() -> tuple[str, str]:
    """The name by which workers have `at_worker`, which is its own for each version of it; and its source."""
    source = resources.read_text(_PACKAGE / "engine" / "cloud" / "at_worker.py")
    return f"codex_orchestrator_at_worker_{hashlib.sha256(source.encode()).hexdigest()[:16]}", source
