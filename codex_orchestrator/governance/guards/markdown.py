"""The code in a Markdown text: blocks between fences, indented blocks, and spans between backticks.

Pure, and total: any text is Markdown. It reads what CommonMark calls code, as far as guards need it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from codex_orchestrator.dataclass import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")
_FENCE = re.compile(r"(?P<mark>`{3,}|~{3,})(?P<info>[^\n]*)")
_QUOTE = re.compile(r"[ \t]{0,3}>[ ]?")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)")
_RUN = re.compile(r"`+")
_DEEPEST = 20  # quotations within quotations: more is no document
_TITLE_WITHIN = 3  # lines before a block
_COMMENT, _COMMENT_END = "<!--", "-->"


@dataclass(frozen=True)
class Span:
    """Code within a line of text; `line` counts from 1."""

    line: int
    text: str


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        line: Its first line of content, counted from 1.
        language: The first word after the fence in lower case; empty where there is none.
        lines: Its content.
        title: The span that ends the text before it, as in "save as `notes.txt`:"; empty where there is none.
    """

    line: int
    language: str
    lines: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Code:
    """All the code of a text, and the text without its blocks and comments, line by line."""

    spans: tuple[Span, ...]
    blocks: tuple[Block, ...]
    prose: tuple[str, ...]


def code_of(text: str) -> Code:
    """The code in a Markdown text."""
    lines = _LINE_END.split(text)
    blocks: list[Block] = []
    prose = _without_comments(_take_fences(lines, blocks))
    _take_indented(prose, blocks)
    spans = tuple(span for start, paragraph in _paragraphs(prose) for span in _spans(start, paragraph))
    return Code(spans, tuple(sorted(blocks, key=lambda block: block.line)), tuple(prose))


def _take_fences(lines: list[str], blocks: list[Block]) -> list[str]:
    """The lines with those of fenced blocks made empty; the blocks are added to `blocks`."""
    prose: list[str] = []
    number = 0
    while number < len(lines):
        opening = _opening(lines[number])
        if opening is None:
            prose.append(lines[number])
            number += 1
            continue
        mark, language = opening
        depth = lines[number].partition(mark)[0].count(">")
        end = next((n for n in range(number + 1, len(lines)) if _closes(lines[n], mark, depth)), len(lines))
        content = tuple(_unquoted(line, depth) for line in lines[number + 1 : end])
        blocks.append(Block(number + 2, language, content, _title(prose)))
        prose += [""] * (min(end + 1, len(lines)) - number)
        number = end + 1
    return prose


def _opening(line: str) -> tuple[str, str] | None:
    """Mark and language of a line that opens a fenced block, also in a list item or a quotation."""
    found = _FENCE.fullmatch(_LIST_ITEM.sub("", _unquoted(line), count=1).strip())
    if found is None or (found["mark"][0] == "`" and "`" in found["info"]):
        return None
    words = found["info"].strip(" {.}").split()
    return found["mark"], words[0].rstrip(",}").lower() if words else ""


def _closes(line: str, mark: str, depth: int) -> bool:
    bare = _unquoted(line, depth).strip()
    return len(bare) >= len(mark) and not bare.strip(mark[0])


def _unquoted(line: str, depth: int = _DEEPEST) -> str:
    """The line without the marks of at most `depth` quotations around it."""
    for _ in range(depth):
        mark = _QUOTE.match(line)
        if mark is None:
            break
        line = line[mark.end() :]
    return line


def _title(before: list[str]) -> str:
    text = next((line for line in reversed(before[-_TITLE_WITHIN:]) if line.strip()), "").rstrip()
    found = re.search(r"`([^`]+)`:$", text)
    return found[1].strip() if found else ""


def _without_comments(lines: list[str]) -> list[str]:
    """The lines without HTML comments; a comment that is never closed is none."""
    text = "\n".join(lines)
    kept: list[str] = []
    place = 0
    while (start := text.find(_COMMENT, place)) >= 0:
        end = text.find(_COMMENT_END, start)
        if end < 0:
            break
        end += len(_COMMENT_END)
        kept += [text[place:start], "\n" * text.count("\n", start, end)]
        place = end
    return "".join([*kept, text[place:]]).split("\n")


def _take_indented(lines: list[str], blocks: list[Block]) -> None:
    """Move blocks that are indented by four columns, and lie in no list, from `lines` to `blocks`."""
    in_list, free, number = False, True, 0
    while number < len(lines):
        line = lines[number]
        end = number
        if free and not in_list:
            while end < len(lines) and lines[end].startswith(("    ", "\t")) and lines[end].strip():
                end += 1
        if end > number:
            content = tuple(one.removeprefix("\t").removeprefix("    ") for one in lines[number:end])
            blocks.append(
                Block(number + 1, "", content, _title(lines[max(0, number - _TITLE_WITHIN) : number]))
            )
            lines[number:end] = [""] * (end - number)
            number = end
            continue
        free = not line.strip()
        if _LIST_ITEM.match(line):
            in_list = True
        elif line.strip() and not line.startswith((" ", "\t")):
            in_list = False
        number += 1


def _paragraphs(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Runs of lines that are not empty, each with the number of its first line; a span ends with its run."""
    start = 0
    for number, line in enumerate([*lines, ""]):
        # A list item begins anew: a stray backtick in one does not reach into the next.
        fresh = not line.strip() or _LIST_ITEM.match(line)
        if fresh and start < number:
            yield start + 1, "\n".join(lines[start:number])
        if fresh:
            start = number + (not line.strip())


def _spans(first_line: int, text: str) -> Iterator[Span]:
    """Code between runs of equally many backticks."""
    runs = [(run.start(), run.end()) for run in _RUN.finditer(text)]
    # Of each length, the places where runs begin, last first: what is passed is taken off the end.
    places: dict[int, list[int]] = {}
    for start, end in reversed(runs):
        places.setdefault(end - start, []).append(start)
    done = 0
    for start, end in runs:
        if start < done:
            continue
        waiting = places[end - start]
        while waiting and waiting[-1] <= start:
            waiting.pop()
        if not waiting or text[start - 1 : start] == "\\":
            continue
        close = waiting[-1]
        content = " ".join(text[end:close].split("\n")).strip()
        if content:
            yield Span(first_line + text.count("\n", 0, start), content)
        done = close + (end - start)
