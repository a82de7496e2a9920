#!/usr/bin/env python3
"""Sets the project up and hands over to nox: standard library only, nothing to install first.

``python3 dev.py setup`` makes ``.venv`` beside this file; every other word does that too where it is missing
or out of date, and is then a session of noxfile.py, run from there.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
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

USAGE = """usage: python3 dev.py SESSION [ARGUMENT...]

  setup        make .venv with the project and its tools, where missing or out of date
  diagnostics  run this repository's diagnostics pipeline: build, lint, types, a fast selection of the tests
  check        everything that must pass: lint, types, imports, docs, test
  help         list all sessions of noxfile.py
"""


class Refused(Exception):
    """This machine lacks something; the text says what to install."""


def main(arguments: Sequence[str]) -> int:
    """Set up, run one session and answer with its exit code."""
    name, extra = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    if name in {"", "-h", "--help"}:
        print(USAGE, end="", file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    try:
        set_up()
    except Refused as refusal:
        print(f"dev.py: {refusal}", file=sys.stderr)
        return 2
    try:
        if name == "setup":
            say(".venv is ready")
            return 0
        if name == "help":
            return nox("--list")
        return nox("--session", name, *(["--", *extra] if extra else []))
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


def nox(*arguments: str) -> int:
    """Run nox of the environment, which knows what there is to run."""
    return run([str(BIN / "nox"), "--noxfile", str(ROOT / "noxfile.py"), *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
