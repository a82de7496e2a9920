"""The public names, with all that programs may rely on: a change of these is a change for other people.

``python tests/contract/test_api.py`` writes down what there is; the difference is then for reviewers to see.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import codex_orchestrator
from codex_orchestrator import api

EXPORTS = Path(__file__).parent / "api.txt"
DOCS = Path(__file__).parents[2] / "docs"


def described(name: str) -> list[str]:
    """A name with its bases, fields and signature."""
    value = getattr(api, name)
    if inspect.isfunction(value):
        return [f"def {name}{inspect.signature(value)}"]
    if is_dataclass(value):
        return [f"class {name}", *(f"    {each.name}: {_type(each.type)}" for each in fields(value))]
    if isinstance(value, type):
        bases = ", ".join(base.__name__ for base in value.__bases__)
        return [f"class {name}({bases}): code={value.code} exit_code={value.exit_code}"]
    return [f"{name} = {' | '.join(sorted(member.__name__ for member in get_args(value)))}"]


def _type(annotation: Any) -> str:
    """A type in words that do not depend on where it lives."""
    arguments, origin = get_args(annotation), get_origin(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin in (Union, UnionType):
        return " | ".join(map(_type, arguments))
    if arguments:
        return f"{origin.__name__}[{', '.join(map(_type, arguments))}]"
    if annotation in (None, type(None)):
        return "None"
    return "..." if annotation is ... else getattr(annotation, "__name__", str(annotation))


def exported() -> str:
    """All public names, described."""
    return "\n".join(line for name in api.__all__ for line in described(name)) + "\n"


def test_the_public_names_are_those_that_are_written_down():
    assert exported() == EXPORTS.read_text(encoding="utf-8")


def test_each_name_is_declared_where_it_lives_and_the_package_has_it_too():
    homes = {name: home for home, names in api._HOMES.items() for name in names}
    assert sorted(homes) == sorted(api.__all__)
    for name in api.__all__:
        assert getattr(codex_orchestrator, name) is getattr(api, name)
    assert sorted(dir(api)) == sorted(api.__all__)


def test_what_there_is_not_is_no_attribute():
    assert not hasattr(api, "TaskManager")
    assert not hasattr(codex_orchestrator, "TaskManager")
    assert not hasattr(codex_orchestrator, "manager_of_tasks")


def test_the_package_is_cheap_and_a_name_loads_no_more_than_it_needs():
    code = "import sys, codex_orchestrator; print(sum(name.startswith('codex') for name in sys.modules))"
    words = [sys.executable, "-c", code]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "1\n"


def test_pages_teach_the_public_names_alone():
    deep = [
        f"{page.relative_to(DOCS)}: {line.strip()}"
        for page in sorted(DOCS.rglob("*.md"))
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith(("from codex_orchestrator.", "import codex_orchestrator."))
    ]
    assert deep == []


if __name__ == "__main__":
    EXPORTS.write_text(exported(), encoding="utf-8")
