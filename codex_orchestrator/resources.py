"""Files that come with the package: pipelines, schemas, templates. They lie where the package does."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str:
    """The text of a file of the package.

    Raises:
        FileNotFoundError: There is none.
    """
    return path.read_text(encoding="utf-8")


def files_in(folder: Path, pattern: str = "*") -> list[Path]:
    """The files of a folder of the package, sorted; none where there is no such folder."""
    return sorted(path for path in folder.glob(pattern) if path.is_file())
