#!/usr/bin/env python3
"""Sets the project up and runs its tools: standard library only, nothing to install first.

``python3 dev.py setup`` makes ``.venv`` beside this file; every other command does that too where it is
missing or out of date, then runs its tool from there.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Python 3.6 and newer can parse this whole file, so that each gets this line and no traceback.
if sys.version_info < (3, 11):
    print("dev.py: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ".", file=sys.stderr)
    sys.exit(2)

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "dev-stamp"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / "python"
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"

USAGE = """usage: python3 dev.py COMMAND [ARGUMENT...]

  setup        make .venv with the project and its tools, where missing or out of date
  diagnostics  run this repository's diagnostics pipeline (arguments go to `start`)
  gate         run this repository's own implementation gate (arguments go to `start`)
  check        everything that must pass: lint, types, imports, docs, test
  test         pytest (arguments go to pytest)
  coverage     pytest under coverage, then the report
  lint         ruff check and ruff format --check
  types        mypy --strict
  imports      the import rules
  docs         the documentation, warnings as errors
  build        wheel and sdist into dist/
  faults       all of the fault suite, of which `test` runs a sample (arguments go to pytest)
  versions     the functional tests with each supported pytest, and without xdist (arguments go to pytest)
  bench        whole processes timed side by side with their peers (arguments go to it)
  schemas      write the generated JSON Schemas anew
  changelog    show what the next release's changelog says (arguments go to towncrier)
"""


class Refused(Exception):
    """This machine lacks something; the text says what to install."""


def main(arguments: Sequence[str]) -> int:
    """Run one command and answer with its exit code."""
    name, extra = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    if name in {"-h", "--help", "help"}:
        print(USAGE, end="")
        return 0
    if name not in COMMANDS:
        print(f"dev.py: unknown command {name!r}\n\n{USAGE}" if name else USAGE, end="", file=sys.stderr)
        return 2
    try:
        set_up()
        return COMMANDS[name](extra)
    except Refused as refusal:
        print(f"dev.py: {refusal}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


# ---------------------------------------------------------------- setting up


def set_up() -> None:
    """Make the environment, or return at once where it is what the stamp says.

    A working environment of another Python is kept: a pipeline's stage may call this file with whatever
    ``python3`` it finds, and must not pull the environment away from under the run.
    """
    stamp = STAMP.read_text(encoding="utf-8") if STAMP.is_file() and PYTHON.exists() else ""
    if stamp == stamp_for(VERSION):
        return
    version = version_inside()
    if not version:
        say("making .venv")
        make_environment()
        version = VERSION
    elif stamp == stamp_for(version):
        say(f".venv is of Python {version} and stays so; remove it to change to {VERSION}")
        return
    say("installing the project and its tools into .venv (the first time takes a minute)")
    STAMP.unlink(missing_ok=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check"]
    code = run([*pip, "install", "--quiet", "--progress-bar", "off", "--editable", ".[dev]"])
    if code:
        raise Refused(f"pip could not install the project (exit code {code}), its reasons are above.")
    STAMP.write_text(stamp_for(version), encoding="utf-8")


def stamp_for(version: str) -> str:
    """What an environment depends on: the requirements, its Python, and the place."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return f"{digest}\n{version}\n{ROOT}\n"


def version_inside() -> str:
    """The Python version of ``.venv``; empty where it does not run, lacks pip or was made elsewhere."""
    if not PYTHON.exists():
        return ""
    probe = "import sys, pip; print('%d.%d' % sys.version_info[:2], sys.prefix)"
    command = [str(PYTHON), "-c", probe]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    version, _, prefix = done.stdout.strip().partition(" ")
    return version if done.returncode == 0 and prefix == str(VENV) else ""


def make_environment() -> None:
    """Make ``.venv`` with pip in it, by the first way that this Python offers."""
    here = [sys.executable, "-m"]
    if importlib.util.find_spec("ensurepip"):
        steps = [[*here, "venv", "--clear", str(VENV)]]
    elif importlib.util.find_spec("virtualenv"):
        steps = [[*here, "virtualenv", "--quiet", "--clear", str(VENV)]]
    elif importlib.util.find_spec("pip") and importlib.util.find_spec("venv"):
        pip = [*here, "pip", "--python", str(PYTHON), "--disable-pip-version-check"]
        steps = [
            [*here, "venv", "--clear", "--without-pip", str(VENV)],
            [*pip, "install", "--quiet", "pip"],
        ]
    else:
        raise Refused(
            "this Python cannot make a virtual environment with pip: install python3-venv "
            "(Debian, Ubuntu: apt install python3-venv) or pip, then run the command again."
        )
    for step in steps:
        code = run(step)
        if code:
            raise Refused(f"making .venv failed with exit code {code}, the reasons are above.")


# ---------------------------------------------------------------- running tools


def environment() -> dict[str, str]:
    """This process's environment as an activated ``.venv`` would have it."""
    # Without bytecode every one of the tests' processes would compile the product anew.
    left_out = {"PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH"}
    variables = {key: value for key, value in os.environ.items() if key not in left_out}
    variables["VIRTUAL_ENV"] = str(VENV)
    variables["PATH"] = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
    return variables


def run(command: Sequence[str]) -> int:
    """Run one tool in the project's folder and wait for it."""
    return subprocess.run(list(command), cwd=ROOT, env=environment(), check=False).returncode


def say(text: str) -> None:
    """One line about what happens; stdout belongs to the tools."""
    print(f"== {text}", file=sys.stderr, flush=True)


def python(*arguments: str) -> int:
    """Run the environment's Python."""
    return run([str(PYTHON), *arguments])


def tool(name: str, *arguments: str) -> int:
    """Run a program that the environment has."""
    return run([str(BIN / name), *arguments])


# ---------------------------------------------------------------- commands


def setup(_: list[str]) -> int:
    """Say that all is there: every command sets up before it starts."""
    say(".venv is ready")
    return 0


def diagnostics(extra: list[str]) -> int:
    """The product on its own repository."""
    return tool("codex-orchestrator", "start", "diagnostics", *extra)


def gate(extra: list[str]) -> int:
    """The core lane on this repository."""
    return tool("codex-orchestrator", "start", "implementation-gate", *extra)


def lint(extra: list[str]) -> int:
    """Style and likely mistakes."""
    return tool("ruff", "check", *extra, ".") or tool("ruff", "format", "--check", *extra, ".")


def types(extra: list[str]) -> int:
    """Types, strictly."""
    return tool("mypy", *extra)


def imports(extra: list[str]) -> int:
    """Who may import whom."""
    return tool("lint-imports", *extra)


def docs(extra: list[str]) -> int:
    """The pages as HTML; a warning is an error."""
    options = ["--quiet", "-W", "--keep-going", "-b", "html"]
    return python("-m", "sphinx", *options, *extra, "docs", "docs/_build/html")


def test(extra: list[str]) -> int:
    """The tests, on all cores: none needs another one's leavings."""
    return python("-m", "pytest", "-n", "auto", "--dist", "worksteal", *extra)


def coverage(extra: list[str]) -> int:
    """The tests under coverage, started from outside so that the plugin's own import is seen."""
    code = python("-m", "coverage", "run", "-m", "pytest", *extra)
    return code or python("-m", "coverage", "report")


def build(extra: list[str]) -> int:
    """Wheel and sdist, with the environment's hatchling."""
    return python("-m", "build", "--no-isolation", *extra)


def faults(extra: list[str]) -> int:
    """Kills, refusing and full disks, crowds, hostile repositories: every point and trap that is known."""
    os.environ["FAULTS"] = "all"
    return python("-m", "pytest", "tests/crash", "tests/hostile", *extra)


def versions(extra: list[str]) -> int:
    """The sessions of noxfile.py about pytest and pytest-xdist, each in an environment of its own."""
    return tool("nox", "--session", "versions", "without_xdist", "--", *extra)


def bench(extra: list[str]) -> int:
    """The benchmarks."""
    return python("-m", "tests.bench", *extra)


def schemas(extra: list[str]) -> int:
    """The JSON Schemas, from the models."""
    return python("-m", "codex_orchestrator.schemas", *extra)


def changelog(extra: list[str]) -> int:
    """The next release's notes: shown, or written where towncrier's own arguments say so."""
    return tool("towncrier", "build", "--version", project_version(), *(extra or ["--draft"]))


def project_version() -> str:
    """The version that pyproject.toml states."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def check(_: list[str]) -> int:
    """Every step in turn, quick ones first and the tests last; the first that fails ends it."""
    for name in CHECKS:
        say(name)
        code = COMMANDS[name]([])
        if code:
            say(f"{name} failed with exit code {code}")
            return code
    say("all checks passed: " + ", ".join(CHECKS))
    return 0


CHECKS = ("lint", "types", "imports", "docs", "test")
COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "setup": setup,
    "diagnostics": diagnostics,
    "gate": gate,
    "check": check,
    "test": test,
    "coverage": coverage,
    "lint": lint,
    "types": types,
    "imports": imports,
    "docs": docs,
    "build": build,
    "faults": faults,
    "versions": versions,
    "bench": bench,
    "schemas": schemas,
    "changelog": changelog,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
