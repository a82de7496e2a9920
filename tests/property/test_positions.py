"""Positions against a writer that knows where it put everything, and against garbage."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from codex_orchestrator.definitions.positions import Positions
from codex_orchestrator.errors import Path

KEYS = st.text(st.sampled_from('ab{}[]:,"\\\n é\u2028'), max_size=3)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
GAPS = st.sampled_from(["", "", " ", "\n", "\n  ", "\r\n", "\t", "\n\n"])


class Writer:
    """Writes JSON with gaps anywhere, and notes the line of every key and list item."""

    def __init__(self, gap: Any) -> None:
        self._gap = gap
        self._line = 1
        self._parts: list[str] = []
        self.lines: dict[Path, int] = {}

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def document(self, value: Any) -> str:
        self._space()
        self.lines[()] = self._line
        self._value(value, ())
        self._space()
        return self.text

    def _space(self) -> None:
        gap = self._gap()
        self._line += gap.count("\n")
        self._parts.append(gap)

    def _token(self, text: str) -> None:
        self._parts.append(text)
        self._space()

    def _value(self, value: Any, path: Path) -> None:
        if isinstance(value, dict):
            self._token("{")
            for number, (key, item) in enumerate(value.items()):
                if number:
                    self._token(",")
                self.lines[*path, key] = self._line
                self._token(json.dumps(key, ensure_ascii=len(key) > 1))
                self._token(":")
                self._value(item, (*path, key))
            self._token("}")
        elif isinstance(value, list):
            self._token("[")
            for index, item in enumerate(value):
                if index:
                    self._token(",")
                self.lines[*path, index] = self._line
                self._value(item, (*path, index))
            self._token("]")
        else:
            self._token(json.dumps(value, ensure_ascii=False))


@settings(max_examples=300)
@given(document=DOCUMENTS, data=st.data())
def test_every_path_has_the_line_where_it_was_written(document, data):
    gaps = data.draw(st.lists(GAPS, min_size=1, max_size=30))
    places = iter(range(1_000_000))
    writer = Writer(lambda: gaps[next(places) % len(gaps)])
    text = writer.document(document)
    assert json.loads(text) == document
    positions = Positions(text)
    assert {path: positions.line(path) for path in writer.lines} == writer.lines
    assert positions.repeated_keys == []


@settings(max_examples=300)
@given(text=st.text(st.sampled_from('{}[]:,"\\\n\r 1ab/*é') | st.characters(), max_size=60))
def test_no_text_makes_it_raise(text):
    positions = Positions(text)
    assert 1 <= positions.line(("a", 0, "b")) <= text.count("\n") + 1
    for path in positions.repeated_keys:
        assert positions.line(path) <= text.count("\n") + 1
