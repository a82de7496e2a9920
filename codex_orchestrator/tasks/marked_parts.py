"""The parts of a Markdown file that belong to tasks, between marks.

Pure. A part lies between a line ``<!-- begin task NAME … -->`` and a line ``<!-- end task NAME -->``
(docs/reference/files.md, "Tasks").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from codex_orchestrator.dataclass import dataclass

_MARK = re.compile(
    r"<!--[ \t]*(?P<edge>begin|end) task (?P<name>[^\s>]+)"
    r"(?:[ \t][^\r\n]*?)?[ \t]*-->[ \t]*\r*$",
    re.MULTILINE,
)
_BEFORE = " \t\ufeff"
_LINE_END = re.compile(r"\r+\n")


class MarkError(ValueError):
    """Marks that do not pair up.

    Attributes:
        line: The line of the mark, from 1.
        message: What is wrong with it.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True)
class MarkedPart:
    """The position of the text between two marks, and that text with plain line ends."""

    start: int
    end: int
    content: str


def parts_of(text: str) -> dict[str, MarkedPart]:
    """The parts of a file by their tasks.

    Raises:
        MarkError: Marks do not pair up, overlap, or there are two parts of one task.
    """
    parts: dict[str, MarkedPart] = {}
    opened: re.Match[str] | None = None
    for mark in _marks(text):
        name = mark["name"]
        if opened is None:
            if mark["edge"] == "end":
                raise MarkError(_line(text, mark), f'the end of task "{name}" has no beginning')
            if name in parts:
                raise MarkError(_line(text, mark), f'task "{name}" begins a second time')
            opened = mark
        elif (mark["edge"], name) != ("end", opened["name"]):
            raise MarkError(_line(text, opened), f'the beginning of task "{opened["name"]}" has no end')
        else:
            # The mark's own line end is the first character that `$` stops before.
            start, end = opened.end() + 1, _line_start(text, mark)
            parts[name] = MarkedPart(start, end, _LINE_END.sub("\n", text[start:end]))
            opened = None
    if opened is not None:
        raise MarkError(_line(text, opened), f'the beginning of task "{opened["name"]}" has no end')
    return parts


def with_content(text: str, part: MarkedPart, content: str) -> str:
    """The file with new text in a part, in the line ends of the part's first mark.

    Args:
        text: The file.
        part: The part.
        content: What is to lie in it: whole lines with plain ends.
    """
    if content == part.content:
        return text
    ends = "\r\n" if text[: part.start].endswith("\r\n") else "\n"
    return text[: part.start] + content.replace("\n", ends) + text[part.end :]


def with_part(text: str, name: str, content: str, note: str) -> str:
    """The file with a part for a task added at its end.

    Args:
        text: The file.
        name: The task.
        content: What is to lie between the marks: whole lines with plain ends.
        note: What the first mark says to whoever reads the file.
    """
    ends = "\r\n" if "\r\n" in text else "\n"
    part = f"<!-- begin task {name} ({note}) -->\n{content}<!-- end task {name} -->\n"
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return text + (gap + part).replace("\n", ends)


def _marks(text: str) -> Iterator[re.Match[str]]:
    """The marks that stand alone on their lines."""
    # A search for a beginning of a line would be many times slower than one for "<!--".
    for mark in _MARK.finditer(text):
        if not text[_line_start(text, mark) : mark.start()].strip(_BEFORE):
            yield mark


def _line_start(text: str, mark: re.Match[str]) -> int:
    return text.rfind("\n", 0, mark.start()) + 1


def _line(text: str, mark: re.Match[str]) -> int:
    return text.count("\n", 0, mark.start()) + 1
