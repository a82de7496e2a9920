"""What the code in a page is, whatever language of marks the page is written in."""

from __future__ import annotations

import re

from codex_orchestrator.dataclass import dataclass

_PLACE = re.compile(
    r"\s+(?:command |script |target )?(?:from|in|inside|within)\s+(?:the\s+|your\s+)?`+([^`\n]+)`"
)
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class CodeSpan:
    """Code within a line of text.

    Attributes:
        line: Where it begins, counted from 1.
        text: The code.
        place: The folder or package that follows it, as in "`make` in `docs`"; empty where none does.
    """

    line: int
    text: str
    place: str = ""


@dataclass(frozen=True)
class CodeBlock:
    """A block of code.

    Attributes:
        line: Its first line of content, counted from 1.
        language: As the page names it, in lower case; empty where it does not.
        lines: Its content.
        title: The span that ends the text before it, as in "save as `notes.txt`:"; empty where there is none.
    """

    line: int
    language: str
    lines: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Heading:
    """The title of a part of a page; `line` counts from 1."""

    line: int
    level: int
    text: str


@dataclass(frozen=True)
class PageCode:
    """All the code of a text, its headings, and the text without its blocks and comments, line by line."""

    spans: tuple[CodeSpan, ...]
    blocks: tuple[CodeBlock, ...]
    prose: tuple[str, ...]
    headings: tuple[Heading, ...] = ()


def place_after(text: str, start: int) -> str:
    """The code that follows at `start` after the word "in"; empty where other words do."""
    found = _PLACE.match(text, start)
    return found[1] if found else ""


def lines_of(text: str) -> list[str]:
    """The lines of a text, whichever system wrote it."""
    return _LINE_END.split(text)
