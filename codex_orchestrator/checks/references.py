"""What a page names in its code: npm scripts, make targets, pipelines, commands, flags and paths.

Pure, and total. The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from codex_orchestrator.checks import markdown, restructured
from codex_orchestrator.checks.audience import is_for_contributors, is_markdown, lines_for_contributors
from codex_orchestrator.checks.page_code import CodeBlock, CodeSpan
from codex_orchestrator.checks.paths import path_in
from codex_orchestrator.checks.programs import CommandWords, Reference, references_in
from codex_orchestrator.checks.shellwords import Call, calls
from codex_orchestrator.dataclass import dataclass

_SHELLS = frozenset(
    {"", "bash", "console", "sh", "shell", "shell-session", "shellsession", "terminal", "zsh"}
)
_MAKEFILES = frozenset({"make", "makefile"})
_ROOTS = (".", "./", "package.json", "Makefile")  # text after a command that means the root
_QUOTED = re.compile(r"""(["'])([^"'\n]+)\1""")
_TARGET = re.compile(r"([\w./-]+(?: +[\w./-]+)*) *:(?!=)")
_MAKERS = frozenset({"cp", "ln", "mkdir", "mv", "tee", "touch"})


@dataclass(frozen=True)
class PageNames:
    """What a page names, and what its examples make.

    Attributes:
        references: In order of their lines; each thing once.
        made: Files and folders that its own examples make.
        shown: Words that its own examples define: those in quotes, and the targets of makefiles.
    """

    references: tuple[Reference, ...]
    made: frozenset[str]
    shown: frozenset[str]


def names_in(page: str, text: str, commands: Mapping[str, CommandWords]) -> PageNames:
    """What a page names.

    Args:
        page: Its path, which says how to read it, and to whom it speaks.
        text: Any text.
        commands: The words of ``codex-orchestrator``, by command; of the program itself under the empty name.
    """
    code = (markdown if is_markdown(page) else restructured).code_of(text)
    called = [*_calls_of_spans(code.spans), *_calls_of_blocks(code.blocks)]
    references = [one for call in called if not call.fails for one in references_in(call, commands)]
    references += [Reference(span.line, "path", path) for span in code.spans if (path := path_in(span.text))]
    for_contributors = (
        frozenset() if is_for_contributors(page) else lines_for_contributors(code.headings, len(code.prose))
    )
    made = {name for call in called for name in _made_by(call)} | {block.title for block in code.blocks}
    made_paths = (path_in(name) or name for name in made)
    return PageNames(
        tuple(_once(references, for_contributors, everywhere=is_for_contributors(page))),
        frozenset(filter(None, made_paths)),
        _shown(code.blocks, called),
    )


def _once(
    references: Iterable[Reference], for_contributors: Collection[int], *, everywhere: bool
) -> Iterator[Reference]:
    """Each thing once, at its first line; for contributors where any mention of it is."""
    first: dict[tuple[str, str, str], Reference] = {}
    for one in sorted(references, key=lambda one: one.line):
        key = (one.kind, one.name, one.command)
        first.setdefault(key, one)
        if everywhere or one.line in for_contributors:
            first[key] = replace(first[key], for_contributors=True)
    return iter(first.values())


def _calls_of_spans(spans: Iterable[CodeSpan]) -> Iterator[Call]:
    for span in spans:
        if not span.place or span.place in _ROOTS:
            yield from _before_cd(calls([span.text], span.line))


def _calls_of_blocks(blocks: Iterable[CodeBlock]) -> Iterator[Call]:
    for block in blocks:
        if block.language in _SHELLS:
            yield from _before_cd(calls(block.lines, block.line))


def _before_cd(found: Iterable[Call]) -> Iterator[Call]:
    """The calls before the first that changes the folder: what follows is about another folder."""
    for call in found:
        if call.program in ("cd", "pushd"):
            return
        yield call


def _made_by(call: Call) -> Iterator[str]:
    yield from call.written
    if call.program in _MAKERS:
        yield from (word for word in call.words if not word.startswith("-"))


def _shown(blocks: Iterable[CodeBlock], called: Iterable[Call]) -> frozenset[str]:
    words = {found[2] for call in called for line in call.document for found in _QUOTED.finditer(line)}
    for block in blocks:
        if block.language in _MAKEFILES or block.title == "Makefile":
            targets = (_TARGET.match(line) for line in block.lines)
            words.update(word for target in targets if target for word in target[1].split())
        elif block.language not in _SHELLS or block.title:
            words.update(found[2] for line in block.lines for found in _QUOTED.finditer(line))
    return frozenset(words)
