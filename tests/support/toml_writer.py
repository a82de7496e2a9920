"""Writes TOML in all the ways that there are to write it, and notes on which line everything is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from typing import Any

from codex_orchestrator.errors import Path

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NOISE = ("", "", "\n", "# [a] b = {\n", " \t# '''\r\n", "\r\n\n")
_GAPS = ("", "", " ", "\n", "\n  ", " # ] }\n", "\r\n")
_BLANKS = ("", " ", "\t")

# Takes one of several.
Choose = Callable[[Sequence[Any]], Any]


def first(options: Sequence[Any]) -> Any:
    """The plainest way to write everything."""
    return options[0]


class TomlWriter:
    """Writes one document.

    Attributes:
        lines: The line of each key path: of its key, of its header, or its own in an array.
    """

    def __init__(self, choose: Choose = first) -> None:
        self._choose = choose
        self._parts: list[str] = []
        self._line = 1
        self.lines: dict[Path, int] = {}

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def document(self, table: dict[str, Any], *, under: Path = ()) -> str:
        """A table as a document, or below a header; a key of it is written by a header of its own."""
        self._noise()
        if under:
            self._header(under, ())
        self._body(under, table)
        return self.text

    # ------------------------------------------------------------------ tables

    def _body(self, path: Path, table: dict[str, Any], names: Path = ()) -> None:
        """What is in a table whose header stands, or needs none."""
        names = names or path
        styles = {key: self._choose(self._styles(value)) for key, value in table.items()}
        for key, value in table.items():
            if styles[key] == "inline":
                self._pair(path, (key,), value)
            elif styles[key] == "dotted":
                self._dotted(path, (key,), value)
        for key, value in table.items():
            if styles[key] == "header":
                self._table((*path, key), value, (*names, key))
            elif styles[key] == "headers":
                for index, each in enumerate(value):
                    self.lines.setdefault((*path, key), self._line)
                    self._header((*names, key), (*path, key, index), brackets=2)
                    self._body((*path, key, index), each, (*names, key))

    def _styles(self, value: Any) -> list[str]:
        if isinstance(value, dict):
            return ["header", "inline", *(["dotted"] if value else [])]
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            return ["headers", "inline"]
        return ["inline"]

    def _table(self, path: Path, table: dict[str, Any], names: Path) -> None:
        below = {key: value for key, value in table.items() if isinstance(value, dict)}
        rest = {key: value for key, value in table.items() if key not in below}
        if below and self._choose([False, True]):  # What is below it comes first, by its own header.
            for key, value in below.items():
                self._table((*path, key), value, (*names, key))
            if not rest and self._choose([True, False]):
                return
            table = rest
        self._header(names, path)
        self._body(path, table, names)

    def _header(self, names: Path, path: Path, *, brackets: int = 1) -> None:
        """A header by its names; ``path`` is where it leads, with the places in arrays."""
        line = self._line
        self._emit(self._choose(_BLANKS) + "[" * brackets)
        self._key(names)
        self._emit("]" * brackets)
        path = path or names
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], line)
        self.lines[path] = line
        self._end()

    # ------------------------------------------------------------------ keys and values

    def _pair(self, path: Path, names: Path, value: Any) -> None:
        self._emit(self._choose(_BLANKS))
        self._assigned(path, names, value)
        self._end()

    def _dotted(self, path: Path, names: Path, table: dict[str, Any]) -> None:
        for key, value in table.items():
            if isinstance(value, dict) and value and self._choose([True, False]):
                self._dotted(path, (*names, key), value)
            else:
                self._pair(path, (*names, key), value)

    def _assigned(self, path: Path, names: Path, value: Any) -> None:
        for length in range(1, len(names) + 1):
            self.lines.setdefault((*path, *names[:length]), self._line)
        self._key(names)
        self._emit(self._choose(_BLANKS) + "=" + self._choose(_BLANKS))
        self._value((*path, *names), value)

    def _key(self, names: Path) -> None:
        dot = self._choose([".", " . ", ".\t"])
        self._emit(dot.join(self._name(str(name)) for name in names))

    def _name(self, name: str) -> str:
        ways = [name] if _BARE.fullmatch(name) else []
        ways.append(_quoted(name))
        ways.append(json.dumps(name) if name.isascii() and "\x7f" not in name else _quoted(name))
        if "'" not in name and "\n" not in name and not _CONTROL.search(name):
            ways.append(f"'{name}'")
        return str(self._choose(ways))

    def _value(self, path: Path, value: Any) -> None:
        if isinstance(value, dict):
            self._inline(path, value)
        elif isinstance(value, list):
            self._array(path, value)
        elif isinstance(value, str):
            self._emit(self._choose(ways_to_write(value)))
        elif isinstance(value, bool):
            self._emit(str(value).lower())
        elif isinstance(value, datetime | date | time):
            self._emit(str(value))
        else:
            self._emit(repr(value))

    def _inline(self, path: Path, table: dict[str, Any]) -> None:
        self._emit("{" + self._choose(_BLANKS))
        for number, (key, value) in enumerate(table.items()):
            if number:
                self._emit("," + self._choose(_BLANKS))
            self._assigned(path, (key,), value)
            self._emit(self._choose(_BLANKS))
        self._emit("}")

    def _array(self, path: Path, items: list[Any]) -> None:
        self._emit("[")
        for index, item in enumerate(items):
            self._emit(self._choose(_GAPS))
            self.lines[*path, index] = self._line
            self._value((*path, index), item)
            self._emit(self._choose(_GAPS))
            if index + 1 < len(items) or self._choose([False, True]):
                self._emit(",")
        self._emit(self._choose(_GAPS) + "]")

    # ------------------------------------------------------------------ text

    def _end(self) -> None:
        self._emit(self._choose(("\n", "\r\n", " # 'x' = [\n")))
        self._noise()

    def _noise(self) -> None:
        self._emit(self._choose(_NOISE))

    def _emit(self, text: str) -> None:
        self._parts.append(text)
        self._line += text.count("\n")


def ways_to_write(text: str) -> list[str]:
    """A text as TOML may have it, the plainest way first."""
    plain = _quoted(text)
    ways = [
        plain,
        f'"""\n{plain[1:-1]}"""',
        f'"""\\\n   {plain[1:-1]}"""' if text.lstrip() == text else plain,
    ]
    if _CONTROL.search(text):
        return ways
    if "\\" not in text:
        # A quote may stand before the three that end it; more of them inside need an escape.
        ways.append('"""\n' + text.replace('"""', '""\\"') + '"""')
    if "'" not in text and "\n" not in text:
        ways.append(f"'{text}'")
    if "'''" not in text:
        ways.append(f"'''\n{text}'''")
    return ways


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
