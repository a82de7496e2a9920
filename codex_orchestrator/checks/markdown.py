"""The code in a Markdown text, as CommonMark has it: fenced and indented blocks, and spans between backticks.

Pure, and total: any text is Markdown. markdown-it-py, which comes with rich, does the reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from codex_orchestrator.checks.page_code import CodeBlock, CodeSpan, Heading, PageCode, lines_of, place_after

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

_COMMENT, _COMMENT_END = "<!--", "-->"
_COMMENTS = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_TITLE_WITHIN = 3  # lines before a block
# Links, emphasis and the like change nothing about what is code, and cost time that grows with its square.
_INLINE_RULES = ["text", "newline", "escape", "backticks"]
_PLACE = "place"
# MyST writes `{ref}` before what is no code; of its roles one is about files.
_ROLE = re.compile(r"\{(?!file\})[a-z][\w:.+-]*\}\Z", re.IGNORECASE)
_LONGEST_ROLE = 40


def code_of(text: str) -> PageCode:
    """The code in a Markdown text."""
    prose = lines_of(text)
    spans: list[CodeSpan] = []
    blocks: list[CodeBlock] = []
    headings: list[Heading] = []
    level = 0
    for token in _parser().parse(text):
        first, end = token.map or (0, 0)
        if token.type == "heading_open":
            level = int(token.tag[1:])
        elif token.type == "heading_close":
            level = 0
        elif token.type == "inline":
            if level:
                headings.append(Heading(first + 1, level, token.content))
            spans += _spans(token, first)
            _leave_out_comments(token, prose, first)
        elif token.type == "html_block":
            prose[first:end] = _COMMENTS.sub(_line_ends, "\n".join(prose[first:end])).split("\n")
        elif token.type in ("fence", "code_block"):
            blocks.append(_block(token, first, prose[max(0, first - _TITLE_WITHIN) : first]))
            prose[first:end] = [""] * (end - first)
    return PageCode(tuple(spans), tuple(blocks), tuple(prose), tuple(headings))


def _block(token: Token, first: int, before: list[str]) -> CodeBlock:
    fenced = token.type == "fence"
    words = token.info.strip(" {.}").split() if fenced else []
    lines = token.content.removesuffix("\n").split("\n")
    # The number of the first line counts from 1, and that of the content comes after the fence.
    return CodeBlock(
        first + 1 + fenced, words[0].rstrip(",}").lower() if words else "", tuple(lines), _title(before)
    )


def _title(before: list[str]) -> str:
    text = next((line for line in reversed(before) if line.strip()), "").rstrip()
    found = re.search(r"`([^`]+)`:$", text)
    return found[1].strip() if found else ""


def _spans(inline: Token, first: int) -> Iterator[CodeSpan]:
    text = inline.content
    line, counted = first + 1, 0
    for child in inline.children or ():
        if child.type == "code_inline":
            start: int = child.meta[_PLACE]
            line += text.count("\n", counted, start)
            counted = start
            code, end = child.content.strip(), _end_of(child, start)
            if code and not _ROLE.search(text, max(0, start - _LONGEST_ROLE), start):
                yield CodeSpan(
                    line, code, place_after(text, text.index(child.markup, end) + len(child.markup))
                )


def _end_of(code: Token, start: int) -> int:
    """Where the marks that end a span are not before; a space at both its ends is not in its content."""
    return start + len(code.markup) + len(code.content)


def _leave_out_comments(inline: Token, prose: list[str], first: int) -> None:
    kept, done = [], 0
    for child in inline.children or ():
        if child.type == "html_inline":
            kept += [inline.content[done : child.meta[_PLACE]], "\n" * child.content.count("\n")]
            done = child.meta[_PLACE] + len(child.content)
    if not kept:
        return
    content = "".join([*kept, inline.content[done:]])
    # What stands before a line of a paragraph marks quotations and items of lists; it stays.
    for number, (old, new) in enumerate(zip(inline.content.split("\n"), content.split("\n"), strict=True)):
        before, found, _ = prose[first + number].rpartition(old)
        if found:
            prose[first + number] = before + new


def _line_ends(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


@cache
def _parser() -> MarkdownIt:
    # Imported here: only guards that read pages need it.
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").disable("reference")
    parser.inline.ruler.enableOnly(_INLINE_RULES)
    parser.inline.ruler.at("backticks", _code_span)
    parser.inline.ruler.before("backticks", "comment", _comment)
    return parser


def _code_span(state: StateInline, silent: bool) -> bool:
    """markdown-it's own rule; the token knows where in the text it begins."""
    from markdown_it.rules_inline import backtick

    start, known = state.pos, len(state.tokens)
    matched = backtick(state, silent)
    for token in state.tokens[known:]:
        token.meta[_PLACE] = start
    return matched


def _comment(state: StateInline, silent: bool) -> bool:
    """A comment within a line; of what else HTML has nothing changes what is code."""
    start = state.pos
    if not state.src.startswith(_COMMENT, start) or state.env.get(_COMMENT) is state.src:
        return False
    end = state.src.find(_COMMENT_END, start + len(_COMMENT))
    if end < 0:
        state.env[_COMMENT] = state.src  # Nor will later ones find an end.
        return False
    state.pos = end + len(_COMMENT_END)
    if not silent:
        token = state.push("html_inline", "", 0)
        token.content = state.src[start : state.pos]
        token.meta[_PLACE] = start
    return True
