"""Checked boxes in a task list, and the manifests and tokens that they cite.

Pure, and total. The rules are in docs/reference/guards.md, section "Evidence guard".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from codex_orchestrator.checks.markdown import code_of
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.rules.tokens import citations

_ITEM = re.compile(
    r"(?P<indent>[ \t]*)(?:[-+*]|\d{1,9}[.)])[ \t]+(?:\[(?P<box>[ xX])\](?=[ \t]|$))?(?P<text>.*)"
)
_HEADING = re.compile(r"#{1,6}(?:[ \t]|$)")
_WORD = re.compile(r"[^\s`\"'()\[\],;]+")
_MANIFEST = "manifest.json"
# `manifest.json.bak` and `manifest.json/x` are other files; what follows in `manifest.json#approvals` is not.
_GOES_ON = re.compile(r"[A-Za-z0-9/\\-]|[._~]+[A-Za-z0-9]")
# `.runs/<task>/cli/<run-id>/manifest.json` says where evidence will be.
_PLACEHOLDER = re.compile(r"[<>*?${}…]|\.\.\.")


@dataclass(frozen=True)
class Box:
    """A checked box.

    Attributes:
        line: Where it is, counted from 1.
        text: What was done, in one line.
        cited: The manifests and tokens that count for it, as written: its own and those of the items below
            it, and where there are none, those of the nearest checked item around it.
    """

    line: int
    text: str
    cited: tuple[str, ...]


@dataclass
class _Item:
    """An item of a list while it is being read."""

    line: int
    indent: int
    checked: bool
    text: str
    around: _Item | None
    own: list[str]
    all: list[str]


def checked_boxes(text: str) -> tuple[Box, ...]:
    """The checked boxes of a Markdown text, in order."""
    items = [item for item in _items(code_of(text).prose) if item.checked]
    return tuple(Box(item.line, item.text, tuple(dict.fromkeys(_cited(item)))) for item in items)


def _items(lines: tuple[str, ...]) -> Iterator[_Item]:
    """Every item of every list, in order; an item is whole only when all are read."""
    found: list[_Item] = []
    current: _Item | None = None
    for number, line in enumerate(lines, start=1):
        item = _ITEM.fullmatch(line)
        indent = len(line[: len(line) - len(line.lstrip())].expandtabs(4))
        if item is not None:
            while current is not None and current.indent >= indent:
                current = current.around
            checked = (item["box"] or "") in ("x", "X")
            current = _Item(number, indent, checked, item["text"].strip(), current, [], [])
            found.append(current)
        elif _HEADING.match(line) or (line.strip() and not indent and not lines[number - 2].strip()):
            current = None  # A heading, or a paragraph of its own.
        manifests = [*_manifests_in(line), *(each.text for each in citations(line))]
        if current is not None:
            current.own += manifests
        each = current
        while each is not None:
            each.all += manifests
            each = each.around
    yield from found


def _manifests_in(line: str) -> list[str]:
    """The manifests that a line names, without what follows their names, like ``#approvals``."""
    names = (word.partition(_MANIFEST) for word in _WORD.findall(line) if _MANIFEST in word)
    return [
        folder + name
        for folder, name, rest in names
        if folder.endswith("/") and not _GOES_ON.match(rest) and not _PLACEHOLDER.search(folder)
    ]


def _cited(item: _Item) -> list[str]:
    if item.all:
        return item.all
    around = item.around
    while around is not None and not (around.checked and around.own):
        around = around.around
    return around.own if around is not None else []
