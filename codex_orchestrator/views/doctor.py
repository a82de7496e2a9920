"""Whether a repository and its machine have what runs need (docs/reference/command-line.md, "doctor")."""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from codex_orchestrator import named
from codex_orchestrator.checks.base import describe_base
from codex_orchestrator.checks.changes import ChangeRequest
from codex_orchestrator.checks.git import git_environment, refusal_reason
from codex_orchestrator.checks.report import counted
from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.loader import Definitions, load_definitions
from codex_orchestrator.environment import PREFIX, Environment
from codex_orchestrator.errors import ConfigurationError, OrchestratorError, StorageError, ToolMissing
from codex_orchestrator.evidence.filesystem_probe import locks_in, scratch_folder, seconds_to_disk
from codex_orchestrator.execution.process import run_tool
from codex_orchestrator.model.definitions import CommandStage, Pipeline
from codex_orchestrator.repository.node import read_node_project
from codex_orchestrator.repository.project import Project, is_python
from codex_orchestrator.views.readiness import cloud_stages, unrunnable_stages

Status = Literal["ok", "warning", "failed"]

# A tool that takes longer to say its version hangs.
_PATIENCE_SECONDS = 20.0
_SLOW_SECONDS = 1.0
_MARK_WIDTH = len("warning")
_MEBIBYTE = 1024 * 1024
_LITTLE_BYTES = 100 * _MEBIBYTE


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: What it is called in both answers.
        required: Whether something here is for it.
        status: ``failed`` only where a run would not start.
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
    """A program, the words in commands that need it, and how to install it."""

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


def run_checks(environment: Environment, clock: Clock) -> Iterator[Check]:
    """Run all checks, in the order in which they are shown."""
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    yield _python_check(missing)
    definitions = _definitions(environment)
    called = "\n".join(_commands(definitions)) if isinstance(definitions, Definitions) else ""
    tools = [
        _tool_check(environment, tool, required=_is_required(environment, tool, called)) for tool in _TOOLS
    ]
    yield from tools
    git_works = any(check.name == "git" and check.status == "ok" for check in tools)
    yield _configuration_check(environment, definitions)
    if isinstance(definitions, Definitions):
        yield from _plugin_checks(definitions)
        if git_works:
            yield _base_check(environment, definitions)
        yield from _environment_checks(definitions.packaged.project)
        for pipeline in definitions.pipelines.values():
            yield _pipeline_check(environment, definitions, pipeline)
        for notice in definitions.packaged.project.notices:
            yield Check("repository", True, "warning", notice, "It was taken for missing.")
    for name, folder in (("runs", environment.runs_dir), ("out", environment.out_dir)):
        elsewhere = f"point {PREFIX}{name.upper()}_DIR at another folder"
        yield _sync_check(name, folder, clock, elsewhere)
        if "filelock" not in missing:
            yield _lock_check(name, folder, elsewhere)
    yield _disk_check(environment)


def check_lines(checks: Iterable[Check]) -> list[str]:
    """The checks for people, and a last line that sums them up."""
    checks = tuple(checks)
    width = max(len(check.name) for check in checks)
    lines: list[str] = []
    for check in checks:
        first, *more = [*check.detail.splitlines(), *(check.hint or "").splitlines()]
        lines.append(f"{check.status:<{_MARK_WIDTH}}  {check.name:<{width}}  {first}")
        lines.extend(" " * (_MARK_WIDTH + width + 4) + line for line in more)
    failed = [check.name for check in checks if check.status == "failed"]
    wanting = [check.name for check in checks if check.status == "warning" and check.required]
    if failed:
        lines.append(f"No run would start: {', '.join(failed)}.")
    elif wanting:
        lines.append(f"A run would start, and not all of it would do its work: {', '.join(wanting)}.")
    else:
        lines.append("All that is required is fine.")
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
    """The commands that runs and reviews of this repository would execute."""
    for pipeline in definitions.pipelines.values():
        for stage in pipeline.stages:
            if isinstance(stage, CommandStage):
                yield stage.command
    if definitions.configuration.review.command:
        yield definitions.configuration.review.command


def _is_required(environment: Environment, tool: _Tool, called: str) -> bool:
    """Whether a command names the tool; git is needed for guards in any git repository as well."""
    words = "|".join(tool.words)
    if re.search(rf"(?<![\w./-])(?:{words})(?![\w./-])", called):
        return True
    folders = (environment.root, *environment.root.parents)
    return tool.name == "git" and any(named.is_there(folder / ".git") for folder in folders)


def _tool_check(environment: Environment, tool: _Tool, *, required: bool) -> Check:
    if not required and shutil.which(tool.name, path=environment.variables.get("PATH")) is None:
        return Check(tool.name, required, "ok", "not found on PATH, and not needed here")
    try:
        answer = run_tool(
            (tool.name, "--version"),
            cwd=environment.root,
            environ=environment.variables,
            timeout_seconds=_PATIENCE_SECONDS,
        )
    except ToolMissing:
        return Check(tool.name, required, "warning", "not found on PATH", tool.hint)
    except OrchestratorError as error:
        return Check(tool.name, required, "warning", error.message, tool.hint)
    if answer.exit_code != 0:
        said = _first_line(answer.stderr) or "nothing"
        detail = f"{tool.name} --version ended with exit code {answer.exit_code} and said: {said}"
        return Check(tool.name, required, "warning", detail, tool.hint)
    environ = git_environment(environment.variables)
    refused = refusal_reason(environment.root, environ) if tool.name == "git" and required else None
    if refused is not None:
        return Check(tool.name, required, "warning", refused.message, refused.hint)
    return Check(tool.name, required, "ok", _first_line(answer.stdout) or "it says no version")


def _configuration_check(environment: Environment, definitions: Definitions | ConfigurationError) -> Check:
    if isinstance(definitions, ConfigurationError):
        hint = f"Mend {environment.config_path}."
        return Check("configuration", True, "failed", definitions.message, hint)
    found = f"pipelines: {', '.join(definitions.pipelines)}"
    name = environment.config_name
    where = name if named.is_there(environment.config_path) else f"no {name} here"
    return Check("configuration", True, "ok", f"{where}; {found}")


def _plugin_checks(definitions: Definitions) -> Iterator[Check]:
    """Whether the plugins that the definitions name can be found; they are not imported."""
    for name in definitions.configuration.plugins:
        top = name.partition(".")[0]
        beside = definitions.packaged.project.tree.first(f"{top}.py", f"{top}/__init__.py")
        if find_spec(top) is None and beside is None:
            detail = f"there is no module {name}"
            hint = f"Install it for {shlex.quote(sys.executable)}, or put it beside the definition file."
            yield Check(f"plugin {name}", True, "failed", detail, hint)
        else:
            yield Check(f"plugin {name}", True, "ok", "found")


def _base_check(environment: Environment, definitions: Definitions) -> Check:
    """The base that guards and the hand-off would measure a change against."""
    request = ChangeRequest.of(environment, definitions.configuration.guards, None)
    try:
        found = describe_base(environment.root, request.named_base)
    except OrchestratorError as error:
        return Check("base", True, "warning", error.message, error.hint)
    if found.base is None:
        return Check("base", False, "ok", " ".join(found.notices))
    detail = f"changes are measured since {found.base.commit[:12]} ({found.base.source})"
    return Check("base", True, "ok", "\n".join([detail, *found.notices]))


def _environment_checks(project: Project) -> Iterator[Check]:
    """The environments of the project's own that its tools come from."""
    if is_python(project.tree):
        python = project.machine.own_python
        if python is not None:
            yield Check("python env", True, "ok", f"{python}")
        else:
            detail = f"none of the project's own: tools are looked for beside {sys.executable}"
            yield Check("python env", True, "warning", detail, project.machine.environment_remedy)
    node = read_node_project(project.tree)
    if node is not None:
        kept = f"{node.manager}, by {node.said_by}"
        if node.packages is None:
            yield Check("node env", True, "ok", kept)
        else:
            yield Check(
                "node env", True, "warning", f"{kept}; node_modules is not there", node.packages.remedy
            )


def _pipeline_check(environment: Environment, definitions: Definitions, pipeline: Pipeline) -> Check:
    """How many stages of a pipeline can run here, and why the others cannot."""
    name = f"pipeline {pipeline.id}"
    if cloud := cloud_stages(pipeline):
        detail = f"for the cloud, and there is no engine for it here: {', '.join(cloud)}"
        hint = "Start it with --execution-mode mcp only where its stages do not say otherwise."
        return Check(name, True, "failed", detail, hint)
    total = counted(len(pipeline.stages), "stage")
    unready = list(unrunnable_stages(pipeline, definitions.packaged.project, environment))
    if not unready:
        return Check(name, True, "ok", f"all of {total} can run" if len(pipeline.stages) > 1 else "can run")
    lines = [
        f"{len(unready)} of {total} cannot run here",
        *(f"{one.stage_id}: {one.reason}" for one in unready),
    ]
    remedies = dict.fromkeys(one.remedy for one in unready if one.remedy)
    return Check(name, True, "warning", "\n".join(lines), "\n".join(remedies) or None)


def _disk_check(environment: Environment) -> Check:
    folder = next(
        each for each in (environment.runs_dir, *environment.runs_dir.parents) if named.kind(each) == "folder"
    )
    free = shutil.disk_usage(folder).free
    detail = f"{free // _MEBIBYTE} MiB free for {environment.runs_dir}"
    if free < _LITTLE_BYTES:
        return Check("disk", True, "warning", detail, "Make room, or have gc remove old runs.")
    return Check("disk", True, "ok", detail)


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
