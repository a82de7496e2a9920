"""What ``init`` writes into a repository (docs/reference/command-line.md, "init")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from codex_orchestrator import places, resources, sources
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import CONFIG_NAME, Environment, choose_task
from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.pipelines.project import Project
from codex_orchestrator.records import dumps, loads
from codex_orchestrator.store import files
from codex_orchestrator.store.lines import append

Outcome = Literal["written", "replaced", "extended", "unchanged", "left", "failed"]

TEMPLATES = Path(__file__).parent / "templates"
IGNORED = ("/.runs/", "/out/")
_IGNORE_COMMENT = "# What runs of codex-orchestrator leave"
_PART = re.compile(r"^\S+ @(?P<name>[\w.]+)@\n", re.MULTILINE)
_SCRIPTS = ("build", "lint", "test")
# What `npm init` puts where the test script belongs.
_NO_TESTS = "no test specified"


@dataclass(frozen=True)
class StarterFile:
    """A file for the repository: its path from the root, its text, and its permissions before the umask."""

    path: str
    text: str
    mode: int = files.PUBLIC
    detail: str | None = None


@dataclass(frozen=True)
class Placed:
    """What became of a file, and what there is to say about it."""

    path: str
    outcome: Outcome
    detail: str | None = None


def starter_files(environment: Environment) -> Iterator[StarterFile]:
    """The files for this repository, but for its ``.gitignore``, and definitions where it has some elsewhere.

    Raises:
        UsageError: The task id of the environment, or the one that the root's name would give, is not valid.
    """
    if environment.config_name == CONFIG_NAME:
        document, detail = _configuration(environment)
        yield StarterFile(CONFIG_NAME, dumps(document), detail=detail)
    for path in resources.files_in(TEMPLATES / "scripts"):
        yield StarterFile(f"scripts/{path.name}", _rendered(path), files.EXECUTABLE)


def place(root: Path, file: StarterFile, *, force: bool) -> Placed:
    """Write a file, unless (without ``force``) there is another one in its place."""
    data = file.text.encode()
    try:
        # A link in the file's own place is not followed, but replaced.
        home, folder = _inside(root, Path(file.path).parent)
        path = folder / Path(file.path).name
        files.make_folder(path.parent, below=home)
        if files.create(path, data, below=home, mode=file.mode):
            return Placed(file.path, "written", file.detail)
        if _holds(path, data, home):
            return Placed(file.path, "unchanged")
        if not force:
            return Placed(file.path, "left", "it is another one; --force replaces it")
        files.replace(path, data, below=home, mode=file.mode)
    except StorageError as error:
        return Placed(file.path, "failed", error.message)
    return Placed(file.path, "replaced", file.detail)


def ignore(root: Path) -> Placed:
    """Have git leave runs alone: lines that ``.gitignore`` lacks are added at its end."""
    name = ".gitignore"
    before: bytes | None = None
    try:
        home, path = _inside(root, name)
        with suppress(FileNotFoundError):
            before = places.read(path, below=home)
    except Misplaced as error:
        return Placed(name, "failed", error.message)
    except OSError as error:
        return Placed(name, "failed", f"Cannot read {root / name}: {error.strerror or error}.")
    text = (before or b"").decode("utf-8", "replace")
    known = {_pattern(line) for line in text.splitlines()}
    missing = [line for line in IGNORED if _pattern(line) not in known]
    if not missing:
        return Placed(name, "unchanged")
    apart = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    try:
        append(path, (apart + "\n".join([_IGNORE_COMMENT, *missing, ""])).encode(), below=home)
    except StorageError as error:
        return Placed(name, "failed", error.message)
    return Placed(name, "written" if before is None else "extended", ", ".join(missing))


def _configuration(environment: Environment) -> tuple[dict[str, Any], str | None]:
    """The definition file, and what there is to say about it."""
    document = {"taskId": choose_task(environment).task_id, "defaultPipeline": "diagnostics"}
    if Project(environment).kind != "npm":
        return document, None
    present = _npm_scripts(environment.root)
    missing = [name for name in _SCRIPTS if name not in present]
    if not missing:
        return document, None
    stages: list[dict[str, str]] = [
        {"kind": "command", "id": name, "title": name.title(), "command": f"npm run {name}"}
        for name in present
    ]
    pipeline = {
        "id": "diagnostics",
        "title": "Diagnostics",
        "guardrailsRequired": True,
        "stages": [*stages, {"kind": "stage-set", "ref": "spec-guard"}],
    }
    detail = f"diagnostics without {', '.join(missing)}: package.json has no such scripts"
    return {**document, "pipelines": [pipeline]}, detail


def _npm_scripts(root: Path) -> list[str]:
    """Those of the scripts of the packaged pipeline that package.json has."""
    try:
        document = loads(sources.read(root / "package.json", root=root))
        scripts = document.get("scripts") if isinstance(document, dict) else None
    except (OSError, ValueError, Misplaced):
        scripts = None  # npm will say what is wrong with it.
    scripts = scripts if isinstance(scripts, dict) else {}
    return [name for name in _SCRIPTS if scripts.get(name) and _NO_TESTS not in str(scripts[name])]


def _rendered(template: Path) -> str:
    """A script with the parts that it shares with others filled in, so that each stands alone."""

    def part(mark: re.Match[str]) -> str:
        return resources.read_text(TEMPLATES / "parts" / mark["name"])

    return _PART.sub(part, resources.read_text(template))


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
