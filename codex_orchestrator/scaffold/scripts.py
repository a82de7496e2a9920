"""The scripts that replace those of the MCP runner, for repositories that still call them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from codex_orchestrator import resources
from codex_orchestrator.evidence import files
from codex_orchestrator.repository.tree import Tree
from codex_orchestrator.scaffold.placing import StarterFile

TEMPLATES = Path(__file__).parents[1] / "templates"
_PART = re.compile(r"^\S+ @(?P<name>[\w.]+)@\n", re.MULTILINE)
_CALLERS = ("package.json", "Makefile", "justfile", "Taskfile.yml", "AGENTS.md", "docs/AGENTS.md")
_WORKFLOWS = ".github/workflows"


def script_files() -> Iterator[StarterFile]:
    """All scripts, each complete: parts that several share are filled in."""
    for path in _templates():
        yield StarterFile(f"scripts/{path.name}", _rendered(path), files.EXECUTABLE)


def find_caller(tree: Tree) -> str | None:
    """A file of the repository that is such a script or calls one; None where there is none."""
    names = [path.name for path in _templates()]
    if there := tree.first(*(f"scripts/{name}" for name in names)):
        return there
    pages = (*_CALLERS, *tree.found(_WORKFLOWS, "*.y*ml"))
    return next((page for page in pages if any(name in (tree.text(page) or "") for name in names)), None)


def _templates() -> list[Path]:
    return resources.files_in(TEMPLATES / "scripts")


def _rendered(template: Path) -> str:
    def part(mark: re.Match[str]) -> str:
        return resources.read_text(TEMPLATES / "parts" / mark["name"])

    return _PART.sub(part, resources.read_text(template))
