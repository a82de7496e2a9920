"""What one shell command names: npm scripts, make targets, pipelines, and words of our own command line.

Pure. The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

from codex_orchestrator.checks.paths import path_in
from codex_orchestrator.checks.shellwords import Call
from codex_orchestrator.dataclass import dataclass

ReferenceKind = Literal["npm-script", "make-target", "pipeline", "command", "flag", "argument", "path"]

_NAME = re.compile(r"(?=.*[a-z0-9])[A-Za-z0-9_][\w:./@+-]*")
_FLAG = re.compile(r"(--[a-z][a-z0-9-]*|-[a-z])(=.*)?", re.DOTALL)
_ISOLATING = (("-P",), ("-I",))
_INTERPRETERS = frozenset({"bash", "bun", "deno", "node", "perl", "ruby", "sh", "zsh"})
_OTHER_FOLDER = frozenset(
    {"-C", "--directory", "-f", "--file", "--prefix", "-w", "--workspace", "--workspaces", "-ws"}
)


@dataclass(frozen=True)
class Reference:
    """One thing that a text names.

    Attributes:
        line: Where, counted from 1.
        kind: What it is.
        name: Its name as written; a flag with its dashes, a path without ``./`` and without a line number.
        command: For a flag or an argument, the command it is given to; else empty.
        for_contributors: Whether it is said to those who work on the repository.
    """

    line: int
    kind: ReferenceKind
    name: str
    command: str = ""
    for_contributors: bool = False

    @property
    def words(self) -> str:
        """The command to type: ``npm run build``, ``make build``; else the name."""
        return {"npm-script": "npm run ", "make-target": "make "}.get(self.kind, "") + self.name


@dataclass(frozen=True)
class CommandWords:
    """The flags and arguments of a command of ours.

    Attributes:
        flags: Every flag, and whether it takes a value.
        takes_pipeline: Whether its argument is a pipeline's id.
        choices: The words that its argument may be; empty where it may be anything.
    """

    flags: Mapping[str, bool]
    takes_pipeline: bool = False
    choices: tuple[str, ...] = ()


def references_in(call: Call, commands: Mapping[str, CommandWords]) -> Iterator[Reference]:
    """The scripts, targets, pipelines, words and paths that a command names.

    Args:
        call: The command.
        commands: The words of ``codex-orchestrator``, by command; of the program itself under the empty name.
    """
    if call.program in ("npm", "pnpm"):
        yield from _npm(call)
    elif call.program == "make":
        yield from _make(call)
    elif call.program == "codex-orchestrator":
        yield from _ours(call.line, call.words, commands)
    elif call.program.startswith("python") and _module(call.words)[:1] == ("codex_orchestrator",):
        yield from _ours(call.line, _module(call.words)[1:], commands)
    elif call.program in _INTERPRETERS or call.program.startswith("python"):
        yield from _script(call)
    if call.program in ("pytest", "py.test") or _module(call.words)[:1] == ("pytest",):
        yield from _pytest(call)


def _module(words: tuple[str, ...]) -> tuple[str, ...]:
    """The module that Python is to run, and what it is given; nothing where it is to run something else."""
    rest = words[words[:1] in _ISOLATING :]
    return rest[1:] if rest[:1] == ("-m",) else ()


def _npm(call: Call) -> Iterator[Reference]:
    words = call.words[: call.words.index("--")] if "--" in call.words else call.words
    if "--if-present" in words or any(word.partition("=")[0] in _OTHER_FOLDER for word in words):
        return
    plain = [word for word in words if not word.startswith("-")]
    if plain[:1] in (["test"], ["t"]):
        yield Reference(call.line, "npm-script", "test")
    elif plain[:1] in (["run"], ["run-script"]) and _is_name(*plain[1:2]):
        yield Reference(call.line, "npm-script", plain[1])


def _make(call: Call) -> Iterator[Reference]:
    if any(word.partition("=")[0] in _OTHER_FOLDER or word.startswith(("-C", "-f")) for word in call.words):
        return
    for word in call.words:
        if not word.startswith("-") and "=" not in word and _is_name(word):
            yield Reference(call.line, "make-target", word)


def _pytest(call: Call) -> Iterator[Reference]:
    option = "--codex-pipeline"
    for place, word in enumerate(call.words):
        name, _, value = word.partition("=")
        if name == option and _is_name(*([value] if value else call.words[place + 1 :])):
            yield Reference(call.line, "pipeline", value or call.words[place + 1])


def _script(call: Call) -> Iterator[Reference]:
    """The file that an interpreter is to run; flags before it may take it for something else."""
    path = path_in(call.words[0]) if call.words else ""
    if path:
        yield Reference(call.line, "path", path)


def _ours(line: int, words: tuple[str, ...], commands: Mapping[str, CommandWords]) -> Iterator[Reference]:
    """Command, flags and argument of a call of our own command line."""
    # Usage lines write what may be left out in brackets, which a name has none of.
    bare = [word.strip("[]") if word.startswith("[-") else word.rstrip("]") for word in words]
    place = next((number for number, word in enumerate(bare) if not word.startswith("-")), len(bare))
    name = bare[place] if place < len(bare) else ""
    yield from _words_of(line, "", bare[:place], commands.get("", CommandWords({})))
    if _is_name(name):
        yield Reference(line, "command", name)
    if name in commands:
        known, rest = commands[name], bare[place + 1 :]
        if any(word.partition("=")[0] == "--root" for word in rest):
            known = replace(known, takes_pipeline=False)  # one of another repository
        yield from _words_of(line, name, rest, known)


def _words_of(line: int, command: str, words: Iterable[str], known: CommandWords) -> Iterator[Reference]:
    """Flags and the first argument among the words that follow a command."""
    awaits_value = argument_seen = False
    for word in words:
        flag = _FLAG.fullmatch(word)
        if word == "--":
            return
        if awaits_value:
            awaits_value = False
        elif flag is not None:
            yield Reference(line, "flag", flag[1], command)
            awaits_value = flag[2] is None and known.flags.get(flag[1], False)
        elif not argument_seen:
            argument_seen = True
            if _is_name(word) and known.takes_pipeline:
                yield Reference(line, "pipeline", word)
            elif _is_name(word) and known.choices:
                yield Reference(line, "argument", word, command)


def _is_name(*words: str) -> bool:
    """Whether there is a word, and it is the name of something: no placeholder, variable or pattern."""
    return bool(words) and _NAME.fullmatch(words[0]) is not None and "..." not in words[0]
