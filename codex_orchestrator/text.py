"""Words that are not ours, made fit for people: nothing in them moves a cursor, hides or forges a line.

The one way from the bytes of a stage, a definition or a name to a terminal, an annotation or a page
(docs/reference/command-line.md, "What is shown").
"""

from __future__ import annotations

import re

# Sequences for terminals, the colours among them, and single characters that are no text.
_CONTROLS = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]*m)"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]"
)
_RESET = "\x1b[0m"


def printable(text: str) -> str:
    """A title, path or name in a line of ours: stray bytes, controls and marks of direction as escapes."""
    return text if text.isprintable() else "".join(map(_shown, text))


def one_line(text: str, *, colour: bool = False) -> str:
    """A line of output without what moves a cursor, rings or hides; tabs stay.

    Args:
        text: The line, without its end.
        colour: Whether colours stay too; they then end with the line.
    """
    if not _CONTROLS.search(text):
        return text
    if not colour:
        return _CONTROLS.sub("", text)
    kept = _CONTROLS.sub(lambda match: match["colour"] or "", text)
    return kept if "\x1b" not in kept else f"{kept}{_RESET}"


def last_line(text: str) -> str:
    """The last line that says something, as a terminal would show it; empty where there is none."""
    for line in reversed(re.split(r"[\r\n]+", text)):
        shown = one_line(line).strip()
        if shown:
            return shown.expandtabs(4)
    return ""


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
