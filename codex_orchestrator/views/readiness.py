"""Which stages of a pipeline can run on this machine, found without running anything."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from os import defpath

from codex_orchestrator import named
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.planner import resolve_mode
from codex_orchestrator.environment import Environment
from codex_orchestrator.model.definitions import CommandStage, Pipeline
from codex_orchestrator.repository.project import Project

_ENDS = frozenset({"&&", "||", ";", "|", "&", "(", ")", ";;", "|&"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# Of these, what the shell itself does, and where others begin, /bin/sh knows more than we.
_OF_THE_SHELL = frozenset(
    {
        *("!", ".", ":", "[", "case", "cd", "command", "do", "done", "echo", "elif", "else", "esac", "eval"),
        *("exec", "exit", "export", "false", "fi", "for", "if", "in", "printf", "pwd", "read", "return"),
        *("set", "shift", "test", "then", "time", "trap", "true", "type", "ulimit", "umask", "unset"),
        *("until", "wait", "while", "{", "}"),
    }
)
_RUNS_SCRIPTS = frozenset({"npm", "pnpm", "yarn", "bun"})


@dataclass(frozen=True)
class UnrunnableStage:
    """Why a stage cannot run here.

    Attributes:
        stage_id: The stage.
        reason: What is missing.
        remedy: How to install it, where that is known.
    """

    stage_id: str
    reason: str
    remedy: str | None = None


def unrunnable_stages(
    pipeline: Pipeline, project: Project, environment: Environment
) -> Iterator[UnrunnableStage]:
    """The stages of a pipeline that lack something here; stages of sub-pipelines are not looked at."""
    known = {choice.portable: choice for choice in project.step_commands.values()}
    known |= {choice.command: choice for choice in project.step_commands.values()}
    for stage in pipeline.stages:
        if not isinstance(stage, CommandStage):
            continue
        choice = known.get(stage.command)
        if choice is not None:
            if choice.problem is not None:
                yield UnrunnableStage(stage.id, choice.problem, choice.remedy)
        elif stage.skip is not None:
            yield UnrunnableStage(stage.id, stage.skip)
        elif (lack := _lack(stage, project, environment)) is not None:
            yield UnrunnableStage(stage.id, lack)


def cloud_stages(pipeline: Pipeline) -> list[str]:
    """The stages of a pipeline whose execution mode is ``cloud``."""
    return [stage.id for stage in pipeline.stages if resolve_mode(stage) == "cloud"]


def programs(command: str) -> Iterator[tuple[str, ...]]:
    """The commands in a shell command line, each as words; none where the line cannot be split."""
    reader = shlex.shlex(command, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    try:
        tokens = list(reader)
    except ValueError:
        return
    words: list[str] = []
    for token in [*tokens, ";"]:
        if token not in _ENDS:
            words.append(token)
            continue
        while words and _ASSIGNMENT.match(words[0]):
            words.pop(0)
        if words:
            yield tuple(words)
        words = []


def _lack(stage: CommandStage, project: Project, environment: Environment) -> str | None:
    """What is missing for the first command of a stage that cannot run; None where nothing is known."""
    for words in programs(stage.command):
        program = words[0]
        if program in _OF_THE_SHELL or re.search(r"[$`*?~<>\n]", program):
            return None  # What comes after it may be in another folder, or not be reached.
        if not _is_there(program, stage, environment):
            return f"{program} is not installed" if "/" not in program else f"there is no {program}"
        if program in _RUNS_SCRIPTS and words[1:2] == ("run",) and len(words) > 2 and stage.cwd is None:
            return project.script_problem(words[2])
    return None


def _is_there(program: str, stage: CommandStage, environment: Environment) -> bool:
    if "/" in program:
        return named.is_executable(environment.root / (stage.cwd or "") / program)
    path = (stage.env or {}).get("PATH", environment.variables.get("PATH", defpath))
    return shutil.which(program, path=path) is not None
