"""Lines of JSON paths, for messages about a bad file; only error paths come here.

The standard parser keeps no positions, so this scans the text a second time. It may be handed
text that is not JSON at all and then simply knows fewer lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from codex_orchestrator.errors import Path

# Possessive, or every character of a long string would be remembered as a place to go back to.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


class Positions:
    """Where each value of a JSON text begins, and which object keys it repeats."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self.repeated_keys: list[Path] = []
        self._tokens = _tokens(text)
        self._token, self._line = "", 1
        self._advance()
        # What is nested deeper than Python may recurse has the line of what is around it.
        with suppress(RecursionError):
            self._value(())

    def line(self, path: Path) -> int:
        """The line (from 1) of a path, or of the nearest thing around it that is in the text."""
        while path not in self._lines and path:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _advance(self) -> None:
        self._token, self._line = next(self._tokens, ("", self._line))

    def _value(self, path: Path) -> None:
        # A key's line stands for its value; the document and list items have none.
        self._lines.setdefault(path, self._line)
        opening = self._token
        self._advance()
        if opening == "{":
            self._members(path)
        elif opening == "[":
            self._items(path)

    def _members(self, path: Path) -> None:
        while self._token not in ("}", ""):
            key = (*path, _unquoted(self._token))
            if key in self._lines:
                self.repeated_keys.append(key)
            self._lines[key] = self._line
            self._advance()
            if self._token == ":":
                self._advance()
                self._value(key)
            if self._token == ",":
                self._advance()
        self._advance()

    def _items(self, path: Path) -> None:
        index = 0
        while self._token not in ("]", ""):
            self._value((*path, index))
            index += 1
            if self._token == ",":
                self._advance()
        self._advance()


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line, seen = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        yield match.group(), line


def _unquoted(token: str) -> str:
    import json

    try:
        return str(json.loads(token))
    except ValueError:
        return token
