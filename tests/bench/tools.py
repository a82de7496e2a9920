"""Finds what is measured: this project under the running interpreter, the Node CLI, GNU make."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .work import TASK_ID, Work

NODE_PACKAGE = "@kbediako/codex-orchestrator"
NODE_VERSION = "0.2.1"
REPOSITORY = Path(__file__).resolve().parents[2]
# By the names of their entry points: the plugins that an installation of this project has.
_OUR_PLUGINS = ("codex", "xdist", "xdist.looponfail")

NodeEntry = Literal["bin", "dist"]


class OursMissingError(Exception):
    """This project does not start under the running interpreter; the text says how it failed."""


class NodeUnavailableError(Exception):
    """The Node CLI cannot be had on this machine; the text is the reason, and only our figures are taken."""


class NodeFolderError(Exception):
    """The folder given for the Node CLI does not hold it."""


class MakeUnavailableError(Exception):
    """There is no GNU make on this machine; the text is the reason, and only our figures are taken."""


@dataclass(frozen=True)
class Tool:
    """A command line's beginning, its whole environment, and where it comes from (path and version)."""

    name: Literal["ours", "pytest", "node", "make"]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    origin: str


@dataclass(frozen=True)
class Tools:
    """What there is to measure; None where it is not needed or cannot be had.

    ``ours`` is our command line and ``pytest`` pytest with our plugin; ``node`` and ``make`` are peers.
    """

    ours: Tool
    pytest: Tool
    node: Tool | None = None
    make: Tool | None = None

    def for_contributors(self, work: Work) -> Tool:
        """The way in to our own tool that ``work`` asks for."""
        return self.pytest if work.through_pytest else self.ours

    def found(self) -> list[Tool]:
        """Those that there are."""
        return [tool for tool in (self.ours, self.pytest, self.node, self.make) if tool is not None]


def find_ours(home: Path) -> Tool:
    """This project as ``python -m codex_orchestrator``: installed from this checkout or put on the path.

    Raises OursMissingError with the interpreter's own message.
    """
    environment = neutral_environment(home)
    if _package_file(environment, home) is None:
        environment["PYTHONPATH"] = str(REPOSITORY)
    command = (sys.executable, "-m", "codex_orchestrator")
    # Not the checkout as the working directory: that alone would put the package within reach of `-m`.
    probe = _capture((*command, "--help"), environment, home)
    if probe.returncode != 0:
        raise OursMissingError(
            f"`{' '.join(command)} --help` ended with exit code {probe.returncode}: nothing to measure. "
            f"Set the project up for this interpreter first (README.md).\n{probe.stderr.strip()}"
        )
    return Tool(
        "ours", command, environment, f"{_package_file(environment, home)} (Python {_python_version()})"
    )


def find_pytest(ours: Tool, home: Path) -> Tool:
    """``python -m pytest`` with our plugin, pytest-xdist and no other that happens to be installed here.

    Raises OursMissingError with the interpreter's own message.
    """
    code = (
        "from importlib.metadata import entry_points, version; "
        "print(version('pytest'), version('pytest-xdist'), *entry_points(group='pytest11').names)"
    )
    probe = _capture((sys.executable, "-c", code), ours.environment, home)
    if probe.returncode != 0:
        raise OursMissingError(f"pytest or pytest-xdist is not installed.\n{probe.stderr.strip()}")
    pytest_version, xdist_version, *installed = probe.stdout.split()
    others = sorted(name for name in installed if name not in _OUR_PLUGINS)
    options = [f"-pno:{name}" for name in others]
    if "codex" not in installed:
        options.append("-ppytest_codex.plugin")
    origin = f"pytest {pytest_version}, pytest-xdist {xdist_version}; without {', '.join(others) or 'none'}"
    return Tool("pytest", (sys.executable, "-m", "pytest", *options), ours.environment, origin)


def find_make(home: Path) -> Tool:
    """GNU make, as ``gmake`` or ``make``; raises MakeUnavailableError."""
    for name in ("gmake", "make"):
        path = shutil.which(name)
        if path is not None:
            version = _capture((path, "--version"), neutral_environment(home), home).stdout.partition("\n")[0]
            if version.startswith("GNU Make"):
                return Tool("make", (path,), neutral_environment(home), version)
    raise MakeUnavailableError("neither gmake nor make on the PATH is GNU make")


def find_node(home: Path, install_dir: Path, node_dir: Path | None, entry: NodeEntry) -> Tool:
    """The Node CLI started by ``node`` itself: from ``node_dir``, else from npm into ``install_dir``.

    The entry ``bin`` is the program that npm links, a launcher that starts a second Node process; ``dist`` is
    that second program alone. Raises NodeUnavailableError without Node or npm, and NodeFolderError where
    ``node_dir`` does not hold the package.
    """
    node = shutil.which("node")
    if node is None:
        raise NodeUnavailableError("node is not on the PATH")
    # Version managers put a wrapper on the PATH, whose cost is not the Node CLI's.
    executable = _capture((node, "-p", "process.execPath"), dict(os.environ), home).stdout.strip()
    if not executable:
        raise NodeUnavailableError(f"{node} does not run")
    package = (node_dir or install_dir).resolve() / "node_modules" / NODE_PACKAGE
    if node_dir is None:
        _npm_install(install_dir)
    script = package.joinpath(*(("bin",) if entry == "bin" else ("dist", "bin")), "codex-orchestrator.js")
    if not script.is_file():
        raise NodeFolderError(f"no Node CLI in {node_dir or install_dir}: {script} does not exist")
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    environment = neutral_environment(home)
    # Its default mode first looks for another program and falls back; this one starts the stages at once.
    environment["CODEX_ORCHESTRATOR_RUNTIME_MODE"] = "cli"
    return Tool("node", (executable, str(script)), environment, f"{NODE_PACKAGE}@{version}, {entry} entry")


def neutral_environment(home: Path) -> dict[str, str]:
    """The environment of every measured process: nothing of the caller's but PATH."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "CI": "1",
        "MCP_RUNNER_TASK_ID": TASK_ID,
    }


def _package_file(environment: Mapping[str, str], cwd: Path) -> str | None:
    code = "import codex_orchestrator, sys; sys.stdout.write(codex_orchestrator.__file__)"
    found = _capture((sys.executable, "-c", code), environment, cwd).stdout
    # A copy installed from elsewhere, such as an old wheel, is not what this checkout's benchmark is about.
    return found if found and Path(found).resolve().is_relative_to(REPOSITORY) else None


def _python_version() -> str:
    return ".".join(str(part) for part in sys.version_info[:3])


def _npm_install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NodeUnavailableError("npm is not on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = f"{NODE_PACKAGE}@{NODE_VERSION}"
    # The caller's environment stays: registry and proxy settings live there.
    done = _capture(
        (npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", wanted), dict(os.environ), folder
    )
    if done.returncode != 0:
        raise NodeUnavailableError(f"`npm install {wanted}` failed:\n{done.stderr.strip()[-2000:]}")


def _capture(
    command: tuple[str, ...], environment: Mapping[str, str], cwd: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
