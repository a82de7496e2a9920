"""Whether a repository and its machine have what runs need (docs/reference/command-line.md, "doctor")."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from codex_orchestrator import named
from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import PREFIX, Environment
from codex_orchestrator.errors import ConfigurationError, OrchestratorError, StorageError, ToolMissing
from codex_orchestrator.execution.process import run_tool
from codex_orchestrator.governance.guards.git import why_unread
from codex_orchestrator.governance.guards.gitcommand import git_environment
from codex_orchestrator.pipelines.loader import Definitions, load_definitions
from codex_orchestrator.pipelines.model import CommandStage
from codex_orchestrator.store.probe import locks_in, scratch_folder, seconds_to_disk

Status = Literal["ok", "warning", "failed"]

# A tool that takes longer to say its version hangs.
_PATIENCE_SECONDS = 20.0
_SLOW_SECONDS = 1.0
_MARK_WIDTH = len("warning")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What it is called in both answers.
        required: Whether runs here cannot do without.
        status: ``failed`` only where it is required.
        detail: What was found.
        hint: How to mend it, where there is something to mend.
    """

    name: str
    required: bool
    status: Status
    detail: str
    hint: str | None = None


@dataclass(frozen=True)
class _Tool:
    """A program, the words in commands that call for it, and where it comes from."""

    name: str
    words: tuple[str, ...]
    hint: str


# By the name that they are imported by, that which they are installed by.
_PACKAGES = {
    "pytest": "pytest",
    "xdist": "pytest-xdist",
    "filelock": "filelock",
    "pydantic": "pydantic",
    "rich": "rich",
    "markdown_it": "markdown-it-py",
}
_FOR_WORKERS = "pytest-xdist"
_NODE = "Install Node.js, which brings npm along, or put it on PATH."
_TOOLS = (
    _Tool("git", ("git",), "Install git, or put it on PATH: guards ask it what has changed."),
    _Tool("node", ("node", "npm", "npx"), _NODE),
    _Tool("npm", ("npm", "npx"), _NODE),
    _Tool("codex", ("codex",), "Install the Codex CLI (npm install -g @openai/codex), or put it on PATH."),
)


def examine(environment: Environment, clock: Clock) -> Iterator[Check]:
    """All checks, in the order in which they are told."""
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    yield _python_check(missing)
    definitions = _definitions(environment)
    called = "\n".join(_commands(definitions)) if isinstance(definitions, Definitions) else ""
    for tool in _TOOLS:
        yield _tool_check(environment, tool, required=_is_required(environment, tool, called))
    yield _configuration_check(environment, definitions)
    for name, folder in (("runs", environment.runs_dir), ("out", environment.out_dir)):
        elsewhere = f"point {PREFIX}{name.upper()}_DIR at another folder"
        yield _sync_check(name, folder, clock, elsewhere)
        if "filelock" not in missing:
            yield _lock_check(name, folder, elsewhere)


def check_lines(checks: Iterable[Check]) -> list[str]:
    """The checks for people, and what they come to."""
    checks = tuple(checks)
    width = max(len(check.name) for check in checks)
    lines: list[str] = []
    for check in checks:
        first, *more = [*check.detail.splitlines(), *([check.hint] if check.hint else [])]
        lines.append(f"{check.status:<{_MARK_WIDTH}}  {check.name:<{width}}  {first}")
        lines.extend(" " * (_MARK_WIDTH + width + 4) + line for line in more)
    failed = [check.name for check in checks if check.status == "failed"]
    lines.append(
        f"Required, and not fine: {', '.join(failed)}." if failed else "All that is required is fine."
    )
    return lines


def _python_check(missing: list[str]) -> Check:
    detail = f"{platform.python_version()}, {sys.executable}"
    if not missing:
        return Check("python", True, "ok", detail)
    status: Status = "warning" if missing == [_FOR_WORKERS] else "failed"
    hint = f"Install what is missing: {shlex.quote(sys.executable)} -m pip install {' '.join(missing)}"
    return Check("python", True, status, f"{detail}, without {', '.join(missing)}", hint)


def _definitions(environment: Environment) -> Definitions | ConfigurationError:
    try:
        return load_definitions(environment)
    except ConfigurationError as error:
        return error


def _commands(definitions: Definitions) -> Iterator[str]:
    """What runs and reviews of this repository would call."""
    for pipeline in definitions.pipelines.values():
        for stage in pipeline.stages:
            if isinstance(stage, CommandStage):
                yield stage.command
    if definitions.configuration.review.command:
        yield definitions.configuration.review.command


def _is_required(environment: Environment, tool: _Tool, called: str) -> bool:
    """Whether a command names the tool, or (git) there is a repository whose changes guards look at."""
    words = "|".join(tool.words)
    if re.search(rf"(?<![\w./-])(?:{words})(?![\w./-])", called):
        return True
    folders = (environment.root, *environment.root.parents)
    return tool.name == "git" and any(named.is_there(folder / ".git") for folder in folders)


def _tool_check(environment: Environment, tool: _Tool, *, required: bool) -> Check:
    bad: Status = "failed" if required else "warning"
    needed = "" if required else ", and not needed here"
    try:
        answer = run_tool(
            (tool.name, "--version"),
            cwd=environment.root,
            environ=environment.variables,
            timeout_seconds=_PATIENCE_SECONDS,
        )
    except ToolMissing:
        return Check(tool.name, required, bad, f"not found on PATH{needed}", tool.hint)
    except OrchestratorError as error:
        return Check(tool.name, required, bad, error.message, tool.hint)
    if answer.exit_code != 0:
        said = _first_line(answer.stderr) or "nothing"
        detail = f"{tool.name} --version ended with exit code {answer.exit_code} and said: {said}"
        return Check(tool.name, required, bad, detail, tool.hint)
    environ = git_environment(environment.variables)
    refused = why_unread(environment.root, environ) if tool.name == "git" and required else None
    if refused is not None:
        return Check(tool.name, required, bad, refused.message, refused.hint)
    return Check(tool.name, required, "ok", _first_line(answer.stdout) or "it says no version")


def _configuration_check(environment: Environment, definitions: Definitions | ConfigurationError) -> Check:
    if isinstance(definitions, ConfigurationError):
        hint = f"Mend {environment.config_path}."
        return Check("configuration", True, "failed", definitions.message, hint)
    found = f"pipelines: {', '.join(definitions.pipelines)}"
    name = environment.config_name
    where = name if named.is_there(environment.config_path) else f"no {name} here"
    return Check("configuration", True, "ok", f"{where}; {found}")


def _sync_check(name: str, folder: Path, clock: Clock, elsewhere: str) -> Check:
    check = f"{name}-fsync"
    try:
        with scratch_folder(folder) as place:
            seconds = seconds_to_disk(place, clock)
    except StorageError as error:
        return Check(check, True, "failed", error.message, f"Make it writable, or {elsewhere}.")
    detail = f"a file is brought to disk in {seconds * 1000:.0f} ms in {folder}"
    if seconds > _SLOW_SECONDS:
        return Check(
            check, True, "warning", detail, f"Each run waits for that some dozen times: {elsewhere}."
        )
    return Check(check, True, "ok", detail)


def _lock_check(name: str, folder: Path, elsewhere: str) -> Check:
    check = f"{name}-locks"
    try:
        with scratch_folder(folder) as place:
            locks = locks_in(place)
    except StorageError as error:
        return Check(check, True, "failed", error.message, f"Make it writable, or {elsewhere}.")
    if locks == "kernel":
        return Check(check, True, "ok", f"locks work in {folder}")
    if locks == "files":
        detail = f"the file system of {folder} has no locks: files stand for them"
        hint = f"Let runs of one machine only work there, or {elsewhere}."
        return Check(check, True, "warning", detail, hint)
    detail = f"locks in {folder} keep nobody out"
    return Check(check, True, "failed", detail, f"Runs could mix up their records: {elsewhere}.")


def _first_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if lines else ""
