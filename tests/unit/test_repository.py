"""What the files of a repository say of how it is built, linted and tested; pure, over trees in memory."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from codex_orchestrator.places import Kind
from codex_orchestrator.repository.project import BUILD_STEPS, candidates_for, kind_of
from codex_orchestrator.repository.python import missing_packages
from codex_orchestrator.repository.tree import Tree

# Reading them must not take longer than they are.
SPACES = " " * 200_000
LINES = "\n" * 500_000
WORDS = "a " * 100_000


class Written(Tree):
    """A tree of texts by path."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def listed(self, folder: str = "") -> Mapping[str, Kind]:
        at = f"{folder}/" if folder else ""
        below = [path.removeprefix(at) for path in self._files if path.startswith(at)]
        return {path.partition("/")[0]: "folder" if "/" in path else "file" for path in below}

    def text(self, path: str) -> str | None:
        return self._files.get(path)


def commands(files: Mapping[str, str], step) -> list[str]:
    return [way.command for way in candidates_for(Written(files), step).ordered]


@pytest.mark.parametrize(
    ("files", "step", "expected"),
    [
        ({"Makefile": "a b test: c\n"}, "test", ["make test"]),
        ({"Makefile": "test := x\ntest = y\n"}, "test", []),
        ({"makefile": "test:", "Makefile": "build:"}, "test", ["make test"]),
        ({"justfile": "test := 'x'\n"}, "test", []),
        ({"justfile": "test *args='': build\n  x\n"}, "test", ["just test"]),
        ({"Taskfile.yml": "tasks:\n  a:\n    test: x\n"}, "test", []),
        ({"Taskfile.dist.yaml": "tasks: # all\n\n  # one\n    test: x\n"}, "test", ["task test"]),
        (
            {"noxfile.py": "@nox.session\n@other\ndef lint(s): ...\n", "setup.py": ""},
            "lint",
            ["{tool:nox} -s lint"],
        ),
        (
            {"noxfile.py": "@session(python='3.11', name='lint')\ndef other(s): ...\n", "setup.py": ""},
            "lint",
            ["{tool:nox} -s lint"],
        ),
        ({"tox.toml": "[env.lint]\n", "setup.py": ""}, "lint", ["{tool:tox} -e lint"]),
        (
            {"pyproject.toml": "[tool.tox.env.style]\n[tool.ruff]\n"},
            "lint",
            ["{tool:tox} -e style", "{tool:ruff} check .", "{tool:ruff} check ."],
        ),
        ({"setup.cfg": "[mypy]\nfiles = src\n"}, "types", ["{tool:mypy}", "{tool:mypy}"]),
        ({"setup.cfg": "[mypy]\n"}, "types", ["{tool:mypy} .", "{tool:mypy} ."]),
        ({"pyproject.toml": "[tool.pyright]\n"}, "types", ["{tool:pyright}", "{tool:pyright}"]),
        ({"pyproject.toml": "[tool.mypy]\n", "Makefile": "lint:\n"}, "types", []),
        ({"pyproject.toml": "[tool.poetry]\npackage-mode = false\n"}, "build", []),
        ({"pyproject.toml": "not toml at all ["}, "build", ["{python} -m build"] * 2),
    ],
)
def test_ways(files, step, expected):
    assert commands(files, step) == expected


@pytest.mark.parametrize(
    "text", ["", SPACES, LINES, WORDS, "\t\n" * 100_000, "- " * 100_000, "[" * 100_000, "\0"]
)
def test_files_that_say_nothing_are_read_in_no_more_time_than_they_are_long(text):
    names = (
        *("package.json", "pnpm-workspace.yaml", "Makefile", "justfile", "Taskfile.yml", "pyproject.toml"),
        *("setup.cfg", "tox.ini", "noxfile.py", ".pre-commit-config.yaml", "Cargo.toml", "requirements.txt"),
    )
    files = {name: f"tasks:\n{text}" if name == "Taskfile.yml" else text for name in names}
    files["pnpm-workspace.yaml"] = f"packages:\n{text}"
    tree = Written(files)
    assert kind_of(tree) == "npm"
    assert all(isinstance(candidates_for(tree, step).none, str) for step in BUILD_STEPS)


def test_unmet_packages_are_compared_as_packages_are():
    assert missing_packages(["Some_Thing", "other", "x.y"], ["some-thing", "X-Y"]) == ["other"]
