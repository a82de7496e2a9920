"""Writes files into a repository; existing ones are only overwritten on request."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

from codex_orchestrator import places, sources
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.lines import append

PlacementOutcome = Literal["written", "replaced", "extended", "unchanged", "left", "failed"]

IGNORED = ("/.runs/", "/out/")
_IGNORE_COMMENT = "# What runs of codex-orchestrator leave"


@dataclass(frozen=True)
class StarterFile:
    """A file for the repository: its path from the root, its text, and its permissions before the umask."""

    path: str
    text: str
    mode: int = files.PUBLIC


@dataclass(frozen=True)
class PlacedFile:
    """The outcome of writing a file, or of a dry run, and a detail to show."""

    path: str
    outcome: PlacementOutcome
    detail: str | None = None


def write_starter_file(root: Path, file: StarterFile, *, force: bool, dry_run: bool = False) -> PlacedFile:
    """Write a file, unless another one is in its place and ``force`` is not set.

    Args:
        root: The repository.
        file: What belongs there.
        force: Replace another file.
        dry_run: Only say what would become of it.
    """
    data = file.text.encode()
    try:
        # A link in the file's own place is not followed, but replaced.
        home, folder = _inside(root, Path(file.path).parent)
        path = folder / Path(file.path).name
        if dry_run:
            if places.status(path, below=home) is None:
                return PlacedFile(file.path, "written")
        else:
            files.make_folder(path.parent, below=home)
            if files.create(path, data, below=home, mode=file.mode):
                return PlacedFile(file.path, "written")
        if _holds(path, data, home):
            return PlacedFile(file.path, "unchanged")
        if not force:
            return PlacedFile(file.path, "left", "it is another one; --force replaces it")
        if not dry_run:
            files.replace(path, data, below=home, mode=file.mode)
    except StorageError as error:
        return PlacedFile(file.path, "failed", error.message)
    return PlacedFile(file.path, "replaced")


def ignore_runs(root: Path, *, dry_run: bool = False) -> PlacedFile:
    """Have git ignore runs: append the lines that ``.gitignore`` lacks, with its own line ends.

    Args:
        root: The repository.
        dry_run: Only say what would become of it.
    """
    name = ".gitignore"
    before: bytes | None = None
    try:
        home, path = _inside(root, name)
        with suppress(FileNotFoundError):
            before = places.read(path, below=home)
    except Misplaced as error:
        return PlacedFile(name, "failed", error.message)
    except OSError as error:
        return PlacedFile(name, "failed", f"Cannot read {root / name}: {error.strerror or error}.")
    text = (before or b"").decode("utf-8", "replace")
    known = {_pattern(line) for line in text.splitlines()}
    missing = [line for line in IGNORED if _pattern(line) not in known]
    if not missing:
        return PlacedFile(name, "unchanged")
    apart = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    added = apart + "\n".join([_IGNORE_COMMENT, *missing, ""])
    if "\r\n" in text:
        added = added.replace("\n", "\r\n")
    try:
        if not dry_run:
            append(path, added.encode(), below=home)
    except StorageError as error:
        return PlacedFile(name, "failed", error.message)
    return PlacedFile(name, "written" if before is None else "extended", ", ".join(missing))


def _inside(root: Path, name: str | Path) -> tuple[Path, Path]:
    """The root and the place of a file in it, links followed as far as they stay inside."""
    return sources.within(root, root), sources.within(root / name, root)


def _holds(path: Path, data: bytes, below: Path) -> bool:
    try:
        return places.read(path, below=below) == data
    except (OSError, Misplaced):
        return False


def _pattern(line: str) -> str:
    """A line of ``.gitignore`` as far as it matters here: ``.runs`` for each way to ignore that folder."""
    return line.strip().removeprefix("**").lstrip("/").rstrip("*").rstrip("/")
