"""How a Python repository is built, linted and tested: by what it is configured for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from codex_orchestrator.repository.commands import BuildStep, Candidate, Requirement
from codex_orchestrator.repository.runners import NAMES
from codex_orchestrator.repository.tree import PYPROJECT, Tree

MARKS = (PYPROJECT, "setup.cfg", "setup.py")
PRE_COMMIT = ".pre-commit-config.yaml"
_ENVIRONMENT = Requirement("environment", "", "")
# What most Python repositories would have for each step.
USUAL: Mapping[BuildStep, str] = {
    "build": "{python} -m build",
    "lint": "ruff check .",
    "types": "mypy .",
    "test": "{python} -m pytest",
}
_LINT_NAMES = ("lint", "linters", "style", "check", "checks", "pre-commit", "pre_commit", "ruff", "flake8")
_TYPE_NAMES = ("types", "typing", "typecheck", "type-check", "mypy", "pyright")
_NAMES: Mapping[BuildStep, tuple[str, ...]] = {**NAMES, "lint": _LINT_NAMES, "types": _TYPE_NAMES}
# What flake8 itself does not know to be no code of the repository.
_NOT_OURS = ".venv,venv,node_modules,build,dist"
_SESSION = re.compile(
    r"^@(?:nox\.)?session\b(?:\((?P<options>[^)]*)\))?[^\n]*\n(?:@[^\n]*\n)*(?:async )?def (?P<name>\w+)",
    re.MULTILINE,
)
_SESSION_NAME = re.compile(r"""\bname\s*=\s*["']([^"']+)["']""")
_WALKED = 2_000  # folders and files, for a test somewhere in them


class PythonProject:
    """A Python project and its commands; files are read when they are first asked about."""

    def __init__(self, tree: Tree) -> None:
        """Nothing is read yet."""
        self._tree = tree

    def candidates(self, step: BuildStep) -> Iterator[Candidate]:
        """The commands that may do a step, the best first."""
        yield from self._script_candidates(step)
        if step == "build":
            yield from self._build_candidates()
        elif step == "lint":
            yield from self._lint_candidates()
        elif step == "types":
            yield from self._type_candidates()
        else:
            yield from self._test_candidates()

    def why_none(self, step: BuildStep) -> str:
        """Why there is no candidate for a step."""
        if step == "build":
            return f"{PYPROJECT} describes no package"
        if step == "types":
            return "no type checker is configured"
        return "there are no tests: no file test_*.py or *_test.py"

    @cached_property
    def declared(self) -> tuple[str, ...]:
        """The names of the packages that it needs on every machine, as they are written."""
        dependencies = self._project.get("dependencies")
        found = dependencies if isinstance(dependencies, list) else []
        # What is for some machines only, its marker says after a semicolon.
        texts = [text for text in found if isinstance(text, str) and ";" not in text and "@" not in text]
        return tuple(match[0] for text in texts if (match := re.match(r"[A-Za-z0-9][\w.-]*", text.strip())))

    @cached_property
    def manager(self) -> str | None:
        """The program that keeps its environment: uv, poetry or pdm; None for pip."""
        tree, tools = self._tree, self._tools
        for name, lock in (("uv", "uv.lock"), ("poetry", "poetry.lock"), ("pdm", "pdm.lock")):
            if tree.first(lock):
                return name
        return next((name for name in ("poetry", "pdm") if name in tools), None)

    def bring(self, package: str = "") -> str:
        """The command that installs all that the project needs, or one more package."""
        if self.manager is not None:
            return {"uv": "uv sync", "poetry": "poetry install", "pdm": "pdm install"}[self.manager]
        return f"{{python}} -m pip install {package or '-e .'}"

    # How.

    @property
    def _project(self) -> Mapping[str, Any]:
        return _table(self._tree.pyproject, "project")

    @property
    def _tools(self) -> Mapping[str, Any]:
        return _table(self._tree.pyproject, "tool")

    @property
    def _packages(self) -> Requirement:
        """What the project declares, installed, and the project itself where tests cannot do without."""
        return Requirement("python-packages", "", self.bring())

    @cached_property
    def needs_itself(self) -> str | None:
        """The project's own name, where it must be installed to be imported, as from below ``src``."""
        name = self._project.get("name")
        sources = self._tree.folders("src")
        below = any(self._tree.first(f"{folder}/__init__.py") for folder in sources)
        return name if isinstance(name, str) and below else None

    def _script_candidates(self, step: BuildStep) -> Iterator[Candidate]:
        """Scripts that pyproject.toml gives names to, by pdm or hatch."""
        scripts = _table(_table(self._tools, "pdm"), "scripts")
        for name in _NAMES[step]:
            if name in scripts:
                why = f'{PYPROJECT} has the pdm script "{name}"'
                yield Candidate(f"pdm run {name}", why, (_program("pdm", "pipx install pdm"),))
        for environment, options in _table(_table(self._tools, "hatch"), "envs").items():
            scripts = _table(options, "scripts") if isinstance(options, dict) else {}
            for name in _NAMES[step]:
                if name in scripts:
                    called = name if environment == "default" else f"{environment}:{name}"
                    why = f'{PYPROJECT} has the hatch script "{called}"'
                    yield Candidate(f"hatch run {called}", why, (_program("hatch", "pipx install hatch"),))

    def _environment_candidates(self, step: BuildStep) -> Iterator[Candidate]:
        """Sessions of nox and environments of tox."""
        sessions = self._sessions
        for name in _NAMES[step]:
            if name in sessions:
                why = f'noxfile.py has the session "{name}"'
                yield Candidate(f"{{tool:nox}} -s {name}", why, (_program("nox", "pipx install nox"),))
                break
        tox = _program("tox", "pipx install tox")
        found = next((name for name in _NAMES[step] if name in self._tox_environments), None)
        if found is not None:
            yield Candidate(
                f"{{tool:tox}} -e {found}", f'{self._tox_file} has the environment "{found}"', (tox,)
            )
        elif step == "test" and self._tox_file:
            yield Candidate("{tool:tox} -e py", f"there is a {self._tox_file}", (tox,))

    def _build_candidates(self) -> Iterator[Candidate]:
        if not self._is_package:
            return
        why = "it is a Python package"
        module = Requirement("module", "build", self._in_environment("build"))
        yield Candidate("{python} -m build", why, (_ENVIRONMENT, module))
        if self.manager is not None:
            program = _program(self.manager, f"pipx install {self.manager}")
            yield Candidate(f"{self.manager} build", f"its environment is kept by {self.manager}", (program,))
        yield Candidate("{python} -m build", why, (module,))

    def _lint_candidates(self) -> Iterator[Candidate]:
        if self._tree.first(PRE_COMMIT):
            why = f"there is a {PRE_COMMIT}"
            # It knows which versions of which linters are configured: none of them is called beside it.
            needs = (_program("pre-commit", "pipx install pre-commit"),)
            yield Candidate("{tool:pre-commit} run --all-files", why, needs)
            yield from self._environment_candidates("lint")
            return
        said = [*self._environment_candidates("lint"), *self._configured_linters()]
        # Where nothing is: what most use by now, as it is.
        yield from said or self._tool_candidates(
            "ruff", "check .", "no linter is configured", configured=False
        )

    def _configured_linters(self) -> Iterator[Candidate]:
        if file := self._configured("ruff", "ruff.toml", ".ruff.toml"):
            yield from self._tool_candidates("ruff", "check .", f"ruff is configured in {file}")
        elif file := self._section("flake8", ".flake8", "setup.cfg", "tox.ini"):
            words = f"--extend-exclude {_NOT_OURS}"
            yield from self._tool_candidates("flake8", words, f"flake8 is configured in {file}")

    def _type_candidates(self) -> Iterator[Candidate]:
        yield from self._environment_candidates("types")
        if file := self._configured("mypy", "mypy.ini", ".mypy.ini") or self._section("mypy", "setup.cfg"):
            settings = self._tree.text(file) or ""
            # Told nowhere what to look at, it wants to be told here.
            told = re.search(r"^[ \t]*(?:files|packages|modules)[ \t]*=", settings, re.MULTILINE)
            yield from self._tool_candidates("mypy", "" if told else ".", f"mypy is configured in {file}")
        elif file := self._configured("pyright", "pyrightconfig.json"):
            yield from self._tool_candidates("pyright", "", f"pyright is configured in {file}")

    def _test_candidates(self) -> Iterator[Candidate]:
        pytest = Requirement("module", "pytest", self._in_environment("pytest"))
        tested = self._tests is not None or self._names_pytest
        found = f"there are tests in {self._tests}" if self._tests else "pytest is installed"
        yield Candidate("{python} -m pytest", found, (_ENVIRONMENT, pytest, self._packages), tested)
        if not tested:
            return
        if self.manager is not None and self._names_pytest:
            program = _program(self.manager, f"pipx install {self.manager}")
            yield Candidate(
                f"{self.manager} run pytest", f"its environment is kept by {self.manager}", (program,)
            )
        yield from self._environment_candidates("test")
        if self._is_unittest:
            yield Candidate(self._unittest, f"the tests in {self._tests} are of unittest", (self._packages,))
        yield Candidate("{python} -m pytest", found, (pytest, self._packages))

    def _tool_candidates(
        self, tool: str, words: str, why: str, *, configured: bool = True
    ) -> Iterator[Candidate]:
        """A tool in the project's environment, by what keeps that, and wherever else it is."""
        needs = (_program(tool, self._in_environment(tool)),)
        direct = f"{{tool:{tool}}} {words}".strip()
        yield Candidate(direct, why, (_ENVIRONMENT, *needs), configured)
        if self.manager is not None and re.search(rf"[\"']{tool}\b", self._tree.text(PYPROJECT) or ""):
            program = _program(self.manager, f"pipx install {self.manager}")
            yield Candidate(f"{self.manager} run {tool} {words}".strip(), why, (program,), configured)
        yield Candidate(direct, why, needs, configured)

    def _in_environment(self, package: str) -> str:
        """The command that brings a tool into the project's environment."""
        return f"uv add --dev {package}" if self.manager == "uv" else self.bring(package)

    # What the files say.

    @cached_property
    def _is_package(self) -> bool:
        poetry, uv = _table(self._tools, "poetry"), _table(self._tools, "uv")
        if poetry.get("package-mode") is False or uv.get("package") is False:
            return False
        described = {"project", "build-system"} & self._tree.pyproject.keys() or "name" in poetry
        # A file that only holds settings of tools makes no package of its folder.
        return (
            bool(described)
            or not self._tree.pyproject
            or self._tree.first("setup.py", "setup.cfg") is not None
        )

    @cached_property
    def _names_pytest(self) -> bool:
        """Whether pytest is configured, or asked for."""
        if self._tree.first("pytest.ini", "conftest.py", "tests/conftest.py"):
            return True
        required = [path for folder in ("", "requirements") for path in self._tree.found(folder, "*.txt")]
        asking = (PYPROJECT, "setup.cfg", "setup.py", "tox.ini", "noxfile.py", "Pipfile", *required)
        return any("pytest" in (self._tree.text(path) or "") for path in asking)

    @cached_property
    def _tests(self) -> str | None:
        """A file of tests; None where there is none."""
        return next(_files_of_tests(self._tree), None)

    @property
    def _is_unittest(self) -> bool:
        if self._names_pytest or self._tests is None:
            return False
        return (
            re.search(r"^[ \t]*(?:import|from) unittest\b", self._tree.text(self._tests) or "", re.MULTILINE)
            is not None
        )

    @property
    def _unittest(self) -> str:
        folder = (self._tests or "").rpartition("/")[0]
        if not folder:
            return "{python} -m unittest"
        top = " -t ." if self._tree.first(f"{folder}/__init__.py") else ""
        return f"{{python}} -m unittest discover -s {folder.partition('/')[0]}{top}"

    def _configured(self, tool: str, *files: str) -> str | None:
        """The file that a tool is configured in: one of its own, or pyproject.toml."""
        return self._tree.first(*files) or (PYPROJECT if tool in self._tools else None)

    def _section(self, section: str, *files: str) -> str | None:
        """The first of some ini files that has such a section, or one that belongs to it."""
        pattern = re.compile(rf"^\[{section}\]", re.MULTILINE)
        return next((path for path in files if pattern.search(self._tree.text(path) or "")), None)

    @cached_property
    def _sessions(self) -> frozenset[str]:
        text = self._tree.text("noxfile.py") or ""
        found = []
        for match in _SESSION.finditer(text):
            named = _SESSION_NAME.search(match["options"] or "")
            found.append(named[1] if named else match["name"])
        return frozenset(found)

    @cached_property
    def _tox_file(self) -> str | None:
        if file := self._tree.first("tox.ini", "tox.toml"):
            return file
        if "tox" in self._tools:
            return PYPROJECT
        return self._section("tox:tox", "setup.cfg")

    @cached_property
    def _tox_environments(self) -> frozenset[str]:
        text = (self._tree.text(self._tox_file) or "") if self._tox_file else ""
        named = re.findall(r"^\[testenv:([\w.-]+)\]|^\[(?:tool\.tox\.)?env\.([\w-]+)\]", text, re.MULTILINE)
        return frozenset(one or other for one, other in named)


def _files_of_tests(tree: Tree) -> Iterator[str]:
    """Files whose names say that tests are in them, those of the usual folders first."""
    waiting = [folder for folder in ("tests", "test", "testing") if tree.kind(folder) == "folder"]
    waiting += ["", *(folder for folder in tree.folders() if folder not in waiting)]
    seen = 0
    for folder in waiting:
        if folder.rpartition("/")[2].startswith(".") or folder.endswith(("node_modules", "venv")):
            continue
        if tree.first(f"{folder}/pyvenv.cfg" if folder else "pyvenv.cfg"):
            continue
        yield from tree.found(folder, "test_*.py")
        yield from tree.found(folder, "*_test.py")
        seen += 1 + len(tree.listed(folder))
        if folder and seen < _WALKED:
            waiting.extend(tree.folders(folder))


def _program(name: str, remedy: str) -> Requirement:
    return Requirement("program", name, remedy)


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def normalized(name: str) -> str:
    """A package's name in the form that all its spellings share."""
    return re.sub(r"[-_.]+", "-", name).lower()


def missing_packages(declared: Iterable[str], installed: Iterable[str]) -> list[str]:
    """The declared packages that are not installed."""
    there = {normalized(name) for name in installed}
    return [name for name in declared if normalized(name) not in there]
