"""The code in a reStructuredText: literal blocks, blocks of code, and inline literals.

Pure, and total: any text is read. The reader knows what tells code from prose, and no more: what stands in a
directive of another name is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from codex_orchestrator.checks.page_code import CodeBlock, CodeSpan, Heading, PageCode, lines_of, place_after

_CODE = frozenset({"code", "code-block", "prompt", "sourcecode"})  # a language follows
_DATA = frozenset(
    {"csv-table", "digraph", "doctest", "graphviz", "ipython", "math", "parsed-literal", "raw", "testcode"}
    | {"testcleanup", "testoutput", "testsetup"}
)
_DIRECTIVE = re.compile(r"\.\. +(?:\|[^|]+\| +)?([\w:.+-]+?)::(?: +(\S+)| *$)")
_NO_COMMENT = re.compile(r"\.\. +(?:_|\[|\||[\w:.+-]+::)")
_ITEM = re.compile(r"(?:[-*+•]|#\.|\(?\w{1,4}[.)]) +")
_OPTION = re.compile(r" *:[\w-]+:(?: |$)")
_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1+")
# A literal begins after a space or a mark and ends before one; a role says of its text that it is a file.
_LITERAL = re.compile(
    r"""(?<![\w\\`:])``(?P<literal>[^\s`](?:(?:[^`]|`(?!`))*?[^\s\\])?)``(?!\w)
    | (?<!\w):(?:code|command|file):`(?P<role>[^`]+)`(?!\w)""",
    re.VERBOSE,
)
_TITLE = re.compile(r"``([^`]+)``::?$")


def code_of(text: str) -> PageCode:
    """The code in a reStructuredText."""
    lines = [line.expandtabs().rstrip() for line in lines_of(text)]
    prose = list(lines)
    blocks: list[CodeBlock] = []
    number, title = 0, ""
    while number < len(lines):
        line, first = lines[number], number
        bare = line.lstrip()
        number += 1
        if not bare:
            continue
        found = _TITLE.search(line)
        title, before = found[1] if found else "", title
        directive = _DIRECTIVE.match(bare)
        name = directive[1].rpartition(":")[2] if directive else ""
        if name in _CODE or name in _DATA:
            language = (directive[2] or "").lower() if directive and name in _CODE else name
            while number < len(lines) and _OPTION.match(lines[number]):
                number += 1
            number, block = _block(lines, number, _indent(line), language, before)
            blocks += block
        elif bare == ".." or (bare.startswith(".. ") and not _NO_COMMENT.match(bare)):
            if bare != ".." or (number < len(lines) and lines[number]):
                number = _end(lines, number, _indent(line))
        elif bare.endswith("::") and directive is None:
            prose[first] = line.removesuffix(":")
            first = number
            if number < len(lines) and not lines[number]:
                number, block = _block(lines, number, _indent_of_text(line), "", title)
                blocks += block
        else:
            continue
        prose[first:number] = [""] * (number - first)
    return PageCode(tuple(_spans(prose)), tuple(blocks), tuple(prose), tuple(_headings(prose)))


def _block(
    lines: list[str], start: int, indent: int, language: str, title: str
) -> tuple[int, list[CodeBlock]]:
    """Where the block that begins at line `start` ends, and the block, if it has any lines."""
    end = _end(lines, start, indent)
    while start < end and not lines[start]:
        start += 1
    if start == end:
        return end, []
    margin = min(_indent(line) for line in lines[start:end] if line)
    return end, [CodeBlock(start + 1, language, tuple(line[margin:] for line in lines[start:end]), title)]


def _end(lines: list[str], start: int, indent: int) -> int:
    """The line after the last one that is indented by more than `indent`."""
    end = start
    for number in range(start, len(lines)):
        if lines[number]:
            if _indent(lines[number]) <= indent:
                break
            end = number + 1
    return end


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _indent_of_text(line: str) -> int:
    """Where a line's text begins, after the mark of a list's item."""
    place = _indent(line)
    while item := _ITEM.match(line, place):
        place = item.end()
    return place


def _spans(prose: list[str]) -> Iterator[CodeSpan]:
    paragraph: list[str] = []
    for number, line in enumerate([*prose, ""]):
        if line:
            paragraph.append(line)
            continue
        text, place, counted = "\n".join(paragraph), number - len(paragraph) + 1, 0
        for found in _LITERAL.finditer(text):
            place += text.count("\n", counted, found.start())
            counted = found.start()
            code = " ".join((found["literal"] or found["role"]).split())
            yield CodeSpan(place, code, place_after(text, found.end()))
        paragraph = []


def _headings(prose: list[str]) -> Iterator[Heading]:
    levels: list[str] = []
    for number in range(1, len(prose)):
        title, under = prose[number - 1].strip(), _UNDERLINE.fullmatch(prose[number])
        if not title or not under or len(under[0]) < min(len(title), 4) or _UNDERLINE.fullmatch(title):
            continue
        over = number > 1 and prose[number - 2] == prose[number]
        style = under[1] * (1 + over)
        if style not in levels:
            levels.append(style)
        yield Heading(number, levels.index(style) + 1, title)
