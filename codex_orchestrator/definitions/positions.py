"""Lines of paths in JSON and TOML, for messages about a bad file; only error paths come here.

The standard parsers keep no positions, so these scan the text a second time. They may be handed text that
their parser does not accept, and then simply know fewer lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from codex_orchestrator.errors import Path

# Possessive, or every character of a long string would be remembered as a place to go back to.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
# A string of several lines may have up to two quotes before the three that end it.
_TOML_TOKEN = re.compile(
    r"""#[^\n]*+"""
    r'''|(?:"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+"{3,5}|'{3}(?:[^']++|'{1,2}(?!'))*+'{3,5}'''
    r"""|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+')"""
    r"""|[][{}=,.\n]|[^][{}=,.\s"\'#]++""",
    re.DOTALL,
)
_ENDS = frozenset({"\n", ",", "]", "}", ""})


class _Scan:
    """A look at a text, token by token, that notes the line of each path."""

    def __init__(self, tokens: Iterator[tuple[str, int]]) -> None:
        self._lines: dict[Path, int] = {}
        self._tokens = tokens
        self._token, self._line = "", 1
        self._advance()

    def line(self, path: Path) -> int:
        """The line (from 1) of a path, or of the nearest thing around it that is in the text."""
        while path not in self._lines and path:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _advance(self) -> None:
        self._token, self._line = next(self._tokens, ("", self._line))


class Positions(_Scan):
    """Where each value of a JSON text begins, and which object keys it repeats."""

    def __init__(self, text: str) -> None:
        super().__init__(_tokens(_JSON_TOKEN, text))
        self.repeated_keys: list[Path] = []
        # What is nested deeper than Python may recurse has the line of what is around it.
        with suppress(RecursionError):
            self._value(())

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
            key = (*path, _json_key(self._token))
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


class TomlPositions(_Scan):
    """Where each value of a TOML text begins: the line of its key, of its header, or its own in an array."""

    repeated_keys: tuple[Path, ...] = ()
    """None: a text that repeats a key is no TOML."""

    def __init__(self, text: str, *, within: Path = ()) -> None:
        """Look through a text.

        Args:
            text: The text.
            within: The path of the table that paths are looked for in.
        """
        super().__init__((token, line) for token, line in _tokens(_TOML_TOKEN, text) if token[0] != "#")
        self._within = within
        self._sizes: dict[Path, int] = {}  # Of arrays of tables, as far as they have been read.
        self._table: Path = ()
        # What is nested deeper than Python may recurse has the line of what is around it.
        with suppress(RecursionError):
            while self._token:
                self._expression()

    def line(self, path: Path) -> int:
        """The line (from 1) of a path, or of the nearest thing around it that is in the text."""
        return super().line((*self._within, *path))

    def _skip(self, *tokens: str) -> None:
        while self._token and self._token in tokens:
            self._advance()

    def _expression(self) -> None:
        """A line that is blank, a header, or a key with its value."""
        if self._token == "\n":
            self._advance()
        elif self._token == "[":
            self._header()
        else:
            self._pair(self._table)

    def _header(self) -> None:
        line, depth = self._line, 0
        while self._token == "[":
            depth += 1
            self._advance()
        self._table = self._key(())
        if depth > 1:
            number = self._sizes.get(self._table, 0)
            self._sizes[self._table] = number + 1
            self._table = (*self._table, number)
        # A table may have been there by what is below it; its own header says more.
        self._lines[self._table] = line
        self._skip("]")

    def _pair(self, table: Path) -> None:
        path = self._key(table)
        if self._token != "=":
            self._advance()  # No TOML: go on with what comes next.
            return
        self._advance()
        self._value(path)

    def _key(self, path: Path) -> Path:
        """The path that a key leads to, dots and all; what is on the way there is noted too."""
        while self._token not in ("=", *_ENDS):
            if self._token != ".":
                path = (*path, _toml_key(self._token))
                self._lines.setdefault(path, self._line)
            self._advance()
            # What is in an array of tables is in its last one.
            if self._token == "." and path in self._sizes:
                path = (*path, self._sizes[path] - 1)
        return path

    def _value(self, path: Path) -> None:
        if self._token == "{":
            self._advance()
            while self._token not in ("}", ""):
                self._skip("\n", ",")
                if self._token not in ("}", ""):
                    self._pair(path)
            self._advance()
        elif self._token == "[":
            self._advance()
            self._items(path)
        else:
            # Of several words, as a date and its time are.
            while self._token not in _ENDS:
                self._advance()

    def _items(self, path: Path) -> None:
        index = 0
        self._skip("\n")
        while self._token not in ("]", ""):
            self._lines[*path, index] = self._line
            self._value((*path, index))
            index += 1
            self._skip("\n", ",", "}")  # A brace that nothing has opened is no TOML.
        self._advance()


def _tokens(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, int]]:
    """The tokens of a text, each with its line."""
    line, seen = 1, 0
    for match in pattern.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        yield match[0], line


def _json_key(token: str) -> str:
    import json

    try:
        return str(json.loads(token))
    except ValueError:
        return token


def _toml_key(token: str) -> str:
    """The name that is written as a part of a key."""
    if token[0] not in "\"'":
        return token
    if "\\" not in token:
        return token[1:-1]
    import tomllib

    try:
        return next(iter(tomllib.loads(f"{token}=0")))
    except ValueError:
        return token
