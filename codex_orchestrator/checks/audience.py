"""Which pages the docs guard reads, and which parts of them speak to contributors.

Pure. The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from codex_orchestrator.checks.page_code import Heading

_TOP_PAGE = re.compile(
    r"(?:agents|claude|contributing|developing|development|hacking|readme)(?:\.(?:md|markdown|rst|txt))?"
)
_FOLDERS_OF_PAGES = frozenset({"doc", "docs"})
_FOLDERS_OF_WORK = frozenset({".agent", "tasks"})
_PAGE = re.compile(r".*\.(?:md|markdown|rst)", re.DOTALL)
# What was so once stays in such pages as it was.
_OF_THE_PAST = re.compile(
    r"(?:.*[-_.])?(?:announce|archived?|change(?:s|log)|deprecat(?:ed|ions)|history|news|releases|rel(?:ease)?[-_]?notes"
    r"|versionhistory|what(?:s|-s)[-_]?new)(?:[-_.].*)?",
    re.DOTALL,
)
_PATH_OF_WORK = re.compile(
    r"\b(?:architecture|contribut(?:e|ing|ions?|ors?)|dev(?=-)|develop(?:er|ers|ing|ment)?|hacking|internals?"
    r"|maintain(?:er|ers|ing)?|release-process|releasing)\b"
)
_TITLE_OF_WORK = re.compile(
    r"\b(?:contribut(?:e|ing|ions?|ors?)|hacking|maintain(?:ers|ing)|releasing|run(?:ning)? (?:the )?tests)\b"
    r"|^(?:local )?develop(?:er|ers|ing|ment)(?: (?:guide|notes|workflow))?$"
    r"|\bdevelopment (?:environment|set-?up)\b|\bfor (?:development|developers)\b"
    r"|\b(?:project|repository) (?:layout|structure)\b"
)


def is_page(path: str) -> bool:
    """Whether a file is a page to be read."""
    first, *rest = path.lower().split("/")
    if not rest:
        return _TOP_PAGE.fullmatch(first) is not None
    if first not in _FOLDERS_OF_PAGES | _FOLDERS_OF_WORK or not _PAGE.fullmatch(rest[-1]):
        return False
    return not any(_OF_THE_PAST.fullmatch(part) for part in rest)


def is_markdown(path: str) -> bool:
    """Whether a page is in Markdown; else it is reStructuredText, or plain text, which reads like it."""
    return path.lower().endswith((".md", ".markdown"))


def is_for_contributors(path: str) -> bool:
    """Whether a page as a whole speaks to contributors."""
    first, *rest = path.lower().replace("_", "-").split("/")
    if not rest:
        return not first.startswith("readme")
    return first in _FOLDERS_OF_WORK or any(_PATH_OF_WORK.search(part) for part in rest)


def lines_for_contributors(headings: Iterable[Heading], count: int) -> frozenset[int]:
    """The numbers of the lines below headings that speak to contributors, of `count` lines."""
    lines: set[int] = set()
    level, begun = 0, 0  # of the outermost such heading that is open
    for heading in [*headings, Heading(count + 1, 0, "")]:
        if begun and heading.level <= level:
            lines.update(range(begun, heading.line))
            begun = 0
        if not begun and _TITLE_OF_WORK.search(heading.text.lower()):
            level, begun = heading.level, heading.line
    return frozenset(lines)
