"""The code in a page, in whichever markup the page is written."""

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
    """The heading of a section; `line` counts from 1."""

    line: int
    level: int
    text: str


@dataclass(frozen=True)
class PageCode:
    """The code of a page, its headings, and its lines without code blocks and comments."""

    spans: tuple[CodeSpan, ...]
    blocks: tuple[CodeBlock, ...]
    prose: tuple[str, ...]
    headings: tuple[Heading, ...] = ()


def place_after(text: str, start: int) -> str:
    """The code after the word "in" at `start`, as in ``in `folder` ``; empty where there is none."""
    found = _PLACE.match(text, start)
    return found[1] if found else ""


def lines_of(text: str) -> list[str]:
    """The lines of a text, with the line ends of any system."""
    return _LINE_END.split(text)
