"""What ``init`` writes into a repository (docs/reference/command-line.md, "init")."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import CONFIG_NAME, Environment, choose_task
from codex_orchestrator.errors import StorageError
from codex_orchestrator.pipelines.project import Project
from codex_orchestrator.records import dumps
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
    """The files for this repository, but for its ``.gitignore``.

    Raises:
        UsageError: The task id of the environment, or the one that the root's name would give, is not valid.
    """
    document, detail = _configuration(environment)
    yield StarterFile(CONFIG_NAME, dumps(document), detail=detail)
    for path in sorted((TEMPLATES / "scripts").iterdir()):
        yield StarterFile(f"scripts/{path.name}", _rendered(path), files.EXECUTABLE)


def place(root: Path, file: StarterFile, *, force: bool) -> Placed:
    """Write a file, unless (without ``force``) there is another one in its place."""
    path, data = root / file.path, file.text.encode()
    try:
        files.make_folder(path.parent)
        if files.create(path, data, mode=file.mode):
            return Placed(file.path, "written", file.detail)
        if _holds(path, data):
            return Placed(file.path, "unchanged")
        if not force:
            return Placed(file.path, "left", "it is another one; --force replaces it")
        files.replace(path, data, mode=file.mode)
    except StorageError as error:
        return Placed(file.path, "failed", error.message)
    return Placed(file.path, "replaced", file.detail)


def ignore(root: Path) -> Placed:
    """Have git leave runs alone: lines that ``.gitignore`` lacks are added at its end."""
    path = root / ".gitignore"
    try:
        before = path.read_bytes()
    except FileNotFoundError:
        before = None
    except OSError as error:
        return Placed(path.name, "failed", f"Cannot read {path}: {error.strerror or error}.")
    text = (before or b"").decode("utf-8", "replace")
    known = {_pattern(line) for line in text.splitlines()}
    missing = [line for line in IGNORED if _pattern(line) not in known]
    if not missing:
        return Placed(path.name, "unchanged")
    apart = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    try:
        append(path, (apart + "\n".join([_IGNORE_COMMENT, *missing, ""])).encode())
    except StorageError as error:
        return Placed(path.name, "failed", error.message)
    return Placed(path.name, "written" if before is None else "extended", ", ".join(missing))


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
        scripts = json.loads((root / "package.json").read_bytes()).get("scripts")
    except (OSError, ValueError, AttributeError, RecursionError):
        scripts = None  # npm will say what is wrong with it.
    scripts = scripts if isinstance(scripts, dict) else {}
    return [name for name in _SCRIPTS if scripts.get(name) and _NO_TESTS not in str(scripts[name])]


def _rendered(template: Path) -> str:
    """A script with the parts that it shares with others filled in, so that each stands alone."""

    def part(mark: re.Match[str]) -> str:
        return (TEMPLATES / "parts" / mark["name"]).read_text(encoding="utf-8")

    return _PART.sub(part, template.read_text(encoding="utf-8"))


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def _pattern(line: str) -> str:
    """A line of ``.gitignore`` as far as it matters here: ``.runs`` for each way to ignore that folder."""
    return line.strip().removeprefix("**").lstrip("/").rstrip("*").rstrip("/")
