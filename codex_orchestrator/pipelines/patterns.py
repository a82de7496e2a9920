"""Regular expressions of the configuration, held to what takes time in proportion to a line.

The guard looks through all output with them, and Python's engine goes back on its steps: an expression that
can divide the same text in many ways could take for ever (docs/reference/privacy.md, "Your own rules").
"""

from __future__ import annotations

import re
from dataclasses import field

from codex_orchestrator.dataclass import dataclass

_TOKEN = re.compile(
    r"""
    (?P<comment>\(\?\#[^)]*\)|\(\?[aiLmsux]+\))
  | (?P<open>\((?:\?(?::|>|P<\w+>|<?[=!]|[aiLmsux-]+:))?)
  | (?P<close>\))
  | (?P<bar>\|)
  | (?P<atom>\\x[0-9A-Fa-f]{2} | \\[0-7]{3} | \\. | \[\^?\]?(?:\\.|[^\]\\])*\] | .)
    """,
    re.VERBOSE | re.DOTALL,
)
_QUANTIFIER = re.compile(r"(?:(?P<sign>[*+?])|\{(?P<least>\d*)(?P<comma>,?)(?P<most>\d*)\})(?P<how>[?+]?)")
_BACK_REFERENCE = re.compile(r"\\[1-9]|\(\?P=|\(\?\(")
_MOST_TIMES = 1_024
_EMPTY_AT = (b"", b"a", b" ", b"\n", b"a b")


class _Refused(Exception):
    """Why an expression is not taken."""


@dataclass
class _Group:
    """A group that is being read.

    Attributes:
        before: What the open-ended repeat before it, or before its present branch, can match.
        after: What open-ended repeats at the ends of its branches can match.
        bytes: All that is in it.
        varies: Whether it holds a repeat or a choice.
    """

    before: frozenset[int] = frozenset()
    after: frozenset[int] = frozenset()
    bytes: frozenset[int] = frozenset()
    varies: bool = False


@dataclass
class _Reader:
    pattern: str
    flags: int = 0
    groups: list[_Group] = field(default_factory=lambda: [_Group()])
    # What the last open-ended repeat can match, until something required has ended it.
    open: frozenset[int] = frozenset()

    def read(self) -> None:
        place = 0
        while place < len(self.pattern):
            token = _TOKEN.match(self.pattern, place)
            if token is None:
                raise _Refused("cannot be read")
            place = token.end()
            if token["comment"]:
                continue
            if token["open"]:
                self.groups.append(_Group(before=self.open))
            elif token["bar"]:
                group = self.groups[-1]
                group.varies = True
                group.after |= self.open
                self.open = group.before
            else:
                quantifier = _QUANTIFIER.match(self.pattern, place)
                place = quantifier.end() if quantifier else place
                self._take(token, *_times(quantifier))

    def _take(self, token: re.Match[str], least: int, most: int) -> None:
        if token["close"]:
            group = self.groups.pop()
            self.open |= group.after
            if most > 1 and group.varies:
                raise _Refused("repeats a group that holds a repeat, an option or a choice itself")
            matched = group.bytes
            if least == 0:
                self.open |= group.before
            self.groups[-1].varies |= group.varies or least == 0
            if most == 1:
                self.groups[-1].bytes |= matched
                return
        else:
            matched = self._bytes_of(token["atom"])
        self.groups[-1].bytes |= matched
        self._follow(matched, least, most)

    def _follow(self, matched: frozenset[int], least: int, most: int) -> None:
        if most != least:
            self.groups[-1].varies = True
            if matched & self.open:
                raise _Refused(
                    "has two repeats that can match the same, with nothing between them that ends the first"
                )
            self.open = matched if least else self.open | matched
        elif least and matched and not matched & self.open:
            self.open = frozenset()

    def _bytes_of(self, atom: str) -> frozenset[int]:
        compiled = re.compile(atom.encode(), self.flags)
        return frozenset(byte for byte in range(256) if compiled.fullmatch(bytes((byte,))))


def pattern_problem(pattern: str) -> str | None:
    """Why a regular expression cannot be a rule of the guard, or None where it can."""
    if not pattern.isascii():
        return "holds characters beyond ASCII, and output is bytes: write these as \\xNN"
    try:
        compiled = re.compile(pattern.encode())
    except (re.error, OverflowError) as error:
        return f"is no regular expression: {error}"
    if any(match.end() == match.start() for text in _EMPTY_AT for match in compiled.finditer(text)):
        return "matches the empty text"
    if _BACK_REFERENCE.search(pattern):
        return "refers back to a group, which the guard does not take"
    try:
        _Reader(pattern, compiled.flags & (re.IGNORECASE | re.DOTALL)).read()
    except _Refused as refused:
        return f"could take for ever: it {refused}"
    return None


def _times(quantifier: re.Match[str] | None) -> tuple[int, int]:
    """How often at least, and at most."""
    if quantifier is None:
        return 1, 1
    if quantifier["sign"]:
        return {"*": (0, _MOST_TIMES), "+": (1, _MOST_TIMES), "?": (0, 1)}[quantifier["sign"]]
    least = int(quantifier["least"] or 0)
    if not quantifier["comma"]:
        return least, least
    return least, int(quantifier["most"]) if quantifier["most"] else max(_MOST_TIMES, least + 1)
