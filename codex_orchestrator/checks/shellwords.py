"""Shell commands as documents show them, cut into words.

Pure, and total: what is no valid shell text gives some words, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from codex_orchestrator.dataclass import dataclass

_HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1")
_PROMPT, _MORE = "$ ", "> "
_TOKEN = re.compile(
    r"""
    (?P<gap>[ \t]+ | \#.* | \d?[<>]&[\d-])
    | (?P<redirect>(?:\d|&)?>>?\|? | <<[<-]? | \d?<(?![A-Za-z][\w|.-]*>))
    | (?P<stop>&&|\|\||[;|&()])
    | (?P<word>(?:<[A-Za-z][\w|.-]*> | \\. | '[^']*' | "(?:\\.|[^"\\])*" | [^\s;|&()<>'"\\] | ['"\\])+)
    | (?P<rest>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)""", re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# What only starts another program: `time make` is `make`.
_CARRIERS = frozenset({"command", "env", "exec", "nohup", "npx", "sudo", "time"})
_RUNNERS = frozenset({"hatch", "pdm", "pipx", "poetry", "uv"})  # with the word `run`


@dataclass(frozen=True)
class Call:
    """One command.

    Attributes:
        line: Where it begins, counted from 1.
        program: Its name without a folder; empty where only files are written.
        words: Its arguments, without quotes.
        written: Files that its output goes to.
        document: The text that it reads, where that is shown.
        fails: Whether what it prints is shown, and is an error.
    """

    line: int
    program: str
    words: tuple[str, ...]
    written: tuple[str, ...] = ()
    document: tuple[str, ...] = ()
    fails: bool = False


@dataclass(frozen=True)
class _Line:
    """A command line as a whole: continued lines in one, without what it reads and prints."""

    number: int
    text: str
    document: tuple[str, ...]
    fails: bool


def calls(lines: Iterable[str], first_line: int) -> Iterator[Call]:
    """The commands in lines of shell text, or in those after a ``$`` where some lines have one."""
    for line in _command_lines(tuple(lines), first_line):
        words: list[str] = []
        written: list[str] = []
        redirect = ""
        for token in _TOKEN.finditer(line.text):
            kind, value = token.lastgroup, token[0]
            if kind == "stop":
                yield from _call(line, words, written)
                words, written, redirect = [], [], ""
            elif kind == "redirect":
                redirect = value
            elif kind == "word":
                (written if ">" in redirect else words).append(_bare(value))
                if "<" in redirect:
                    words.pop()
                redirect = ""
        yield from _call(line, words, written)


def _command_lines(lines: tuple[str, ...], first_line: int) -> Iterator[_Line]:
    prompted = any(line.lstrip().startswith(_PROMPT) for line in lines)
    number = 0
    while number < len(lines):
        start, first = number, lines[number].strip()
        number += 1
        if prompted and not first.startswith(_PROMPT):
            continue
        parts = [first.removeprefix(_PROMPT)]
        while parts[-1].endswith("\\") and number < len(lines):
            parts[-1] = parts[-1][:-1]
            parts.append(_continued(lines[number], prompted=prompted))
            number += 1
        text = " ".join(parts)
        document: tuple[str, ...] = ()
        heredoc = _HEREDOC.search(text)
        if heredoc:
            ends = (
                n for n in range(number, len(lines)) if _continued(lines[n], prompted=prompted) == heredoc[2]
            )
            end = next(ends, len(lines))
            document, number = lines[number:end], end + 1
        yield _Line(first_line + start, text, document, prompted and _prints_error(lines, number))


def _prints_error(lines: tuple[str, ...], start: int) -> bool:
    """Whether the output from line `start` on has a line that begins with the word error."""
    for number in range(start, len(lines)):
        line = lines[number].lstrip()
        if line.startswith(_PROMPT):
            return False
        if line.lower().startswith("error"):
            return True
    return False


def _continued(line: str, *, prompted: bool) -> str:
    return (line.strip().removeprefix(_MORE) if prompted else line).strip()


def _bare(word: str) -> str:
    return _QUOTED.sub(lambda quoted: quoted[1] or quoted[2] or quoted[3] or "", word)


def _call(line: _Line, words: list[str], written: list[str]) -> Iterator[Call]:
    rest = list(words)
    carried = False
    while rest:
        if _ASSIGNMENT.match(rest[0]) or (carried and rest[0].startswith("-")):
            rest = rest[1:]
        elif rest[0] in _CARRIERS:
            rest, carried = rest[1:], True
        elif rest[0] in _RUNNERS and rest[1:2] == ["run"]:
            rest, carried = rest[2:], True
        else:
            break
    if rest or written:
        program = rest[0].rstrip("/").rpartition("/")[2] if rest else ""
        yield Call(line.number, program, tuple(rest[1:]), tuple(written), line.document, line.fails)
