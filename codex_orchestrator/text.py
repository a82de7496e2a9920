"""Words that are not ours, made fit for people: nothing in them moves a cursor, hides or forges a line.

The one way from the bytes of a stage, a definition or a name to a terminal, an annotation or a page
(docs/reference/command-line.md, "What is shown").
"""

from __future__ import annotations

import re

# What sets the direction of writing, or has no width: nobody sees it, and it can make lines read otherwise.
_UNSEEN = (
    "\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
# Some languages cannot be written without these, and they change nothing but the letters beside them.
_JOINERS = "\u200c\u200d"
_CONTROL = "\x00-\x1f\x7f-\x9f\u2028\u2029"
_HIDDEN = re.compile(f"[{_CONTROL}{_UNSEEN}{_JOINERS}]")
# Strings where patterns are seldom asked for: `re` keeps what it has compiled.
_HIDDEN_IN_JSON = f"[\x7f-\x9f\u2028\u2029{_UNSEEN}]"
# What terminals take for a command; colours are one kind.
_SEQUENCE = (
    r"(?P<colour>\x1b\[[0-9;:]*m)"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
)
# And single characters that are no text; tabs are. One class of characters is found several times faster.
_ANY_CONTROL = re.compile(rf"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029{_UNSEEN}]")
_CONTROLS = rf"{_SEQUENCE}|(?!\t)[{_CONTROL}{_UNSEEN}]"
_COMMAND = r"^(\s*)::"
_ERASE = "\x1b[K"
# A line that never ends is shown in pieces rather than kept for ever.
_LONGEST = 65_536
_RESET = "\x1b[0m"


def is_hidden(text: str) -> bool:
    """Whether some character of a text cannot be seen: a control, a mark of direction, one without width."""
    return _HIDDEN.search(text) is not None


def printable(text: str) -> str:
    """A title, path or name in a line of ours: stray bytes, controls and marks of direction as escapes."""
    return text if text.isprintable() else "".join(map(_shown, text))


def one_line(text: str, *, colour: bool = False) -> str:
    """A line of output without what moves a cursor, rings, hides or ends it; tabs stay.

    What was written over, as the steps of a progress bar are, is left out: see `settled`.

    Args:
        text: The line, without its end.
        colour: Whether colours stay too; they then end with the line.
    """
    if not _ANY_CONTROL.search(text):
        return text
    text = settled(text)
    if not colour:
        return re.sub(_CONTROLS, "", text)
    kept = re.sub(_CONTROLS, lambda match: match["colour"] or "", text)
    return kept if "\x1b" not in kept else f"{kept}{_RESET}"


def settled(line: str) -> str:
    """What a terminal shows of a line in the end: after a carriage return, words are written over others."""
    if "\r" not in line:
        return line
    shown = ""
    for piece in reversed(line.split("\r")):
        if "\x1b" not in piece:
            shown += piece[len(shown) :]
        elif shown:
            break  # Of the words below, nobody knows how many columns they take.
        elif re.sub(_SEQUENCE, "", piece) or _ERASE in piece:
            return piece
    return shown


def gist(text: str) -> str:
    """What a stage has printed, as one line: each of its lines as a terminal would show it in the end."""
    return flattened("\n".join(map(settled, text.split("\n"))))


Key = tuple[object, object]


class WholeLines:
    """Pieces of output to whole lines; each line is of one stream of one stage."""

    def __init__(self, longest: int = _LONGEST) -> None:
        """Nothing was printed yet.

        Args:
            longest: How many characters of a line are kept until it ends; more are given in pieces.
        """
        self._longest = longest
        self._rest: dict[Key, str] = {}

    def feed(self, key: Key, text: str) -> list[str]:
        """The lines that a piece of output ends.

        Args:
            key: Whose output it is: stage and stream.
            text: The piece.
        """
        *whole, rest = (self._rest.pop(key, "") + text).split("\n")
        if len(rest) >= self._longest:
            rest = settled(rest)
        if len(rest) >= self._longest:
            whole, rest = [*whole, rest], ""
        if rest:
            self._rest[key] = rest
        return whole

    def flush(self, key: Key) -> list[str]:
        """The line that was begun and not ended, if there is one."""
        return [self._rest.pop(key)] if key in self._rest else []

    def flush_all(self) -> list[tuple[Key, str]]:
        """All lines that were begun and not ended, each with whose it is."""
        left = list(self._rest.items())
        self._rest.clear()
        return left


def flattened(text: str) -> str:
    """What somebody or something has said, as one line of a record: blanks for line ends and controls."""
    plain = re.sub(_SEQUENCE, "", re.sub(r"\s+", " ", text))
    kept = (letter if letter.isprintable() or letter in _JOINERS else " " for letter in plain)
    return " ".join("".join(kept).split())


def labelled(label: str, text: str) -> list[str]:
    """``label: text``; further lines of the text are behind a bar, so that none is taken for one of ours."""
    first, *more = text.split("\n")
    return [f"{label}: {first}", *(f"{' ' * (len(label) - 1)} | {line}" for line in more)]


def last_line(text: str) -> str:
    """The last line that says something, as a terminal would show it; empty where there is none."""
    for line in reversed(re.split(r"[\r\n]+", text)):
        shown = one_line(line).strip()
        if shown:
            return shown.expandtabs(4)
    return ""


def cut(text: str, length: int) -> str:
    """At most so many characters of a text, and a sign where there are more."""
    return text if len(text) <= length else f"{text[:length]}…"


def harmless(line: str) -> str:
    """A line of a GitHub log that gives the runner no command, of the newer kind or of the older."""
    return re.sub(_COMMAND, r"\1\\::", line).replace("##[", "## [")


def visible_json(document: str) -> str:
    """JSON with escapes for what nobody would see; to whoever reads it as JSON it is the same."""
    return re.sub(_HIDDEN_IN_JSON, lambda match: _json_escape(match[0]), document)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
