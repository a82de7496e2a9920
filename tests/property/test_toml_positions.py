"""Positions in TOML against a writer that knows where it put everything, and against garbage."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, time
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from codex_orchestrator.definitions.positions import TomlPositions
from codex_orchestrator.errors import Path
from tests.support.toml_writer import TomlWriter

NAMES = st.text(st.sampled_from("ab-1 .é\"#[]{}=,\\'\n\u2028"), max_size=3)
TEXTS = st.text(st.sampled_from("ab \"'\\\n#[]{}=,é\t"), max_size=6)
DATES = st.sampled_from(
    [date(1979, 5, 27), time(7, 32), time(7, 32, 0, 5), datetime(1979, 5, 27, 7, 32, tzinfo=UTC)]
)
SCALARS = (
    st.booleans() | st.integers(-99, 99) | st.floats(-9, 9).filter(lambda number: number != 0) | TEXTS | DATES
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES, inner, max_size=4)
        | st.lists(st.dictionaries(NAMES, inner, max_size=3), min_size=1, max_size=3)
    ),
    max_leaves=14,
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=5)


def paths(value: Any, path: Path = ()) -> list[Path]:
    """All key paths of a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [each for key, inner in pairs for each in ((*path, key), *paths(inner, (*path, key)))]


@settings(max_examples=500)
@given(table=TABLES, under=st.sampled_from([(), ("tool", "x-y"), ("a", "b.c", "d")]), data=st.data())
def test_every_path_has_the_line_where_it_was_written(table, under, data):
    picks = data.draw(st.lists(st.integers(0, 99), min_size=1, max_size=40))
    places = iter(range(10_000_000))
    writer = TomlWriter(lambda options: options[picks[next(places) % len(picks)] % len(options)])
    text = writer.document(table, under=under)
    document = tomllib.loads(text)
    for name in under:
        document = document[name]
    assert document == table
    assert set(writer.lines) >= {(*under, *path) for path in paths(table)}
    positions = TomlPositions(text)
    assert {path: positions.line(path) for path in writer.lines} == writer.lines
    inner = TomlPositions(text, within=under)
    for path in paths(table):
        assert inner.line(path) == writer.lines[*under, *path]


@settings(max_examples=500)
@given(
    text=st.lists(
        st.sampled_from(
            [
                *"[]{}=,.\n\"'#\\ 1ab-",
                '"""',
                "'''",
                "[[",
                "]]",
                "a=",
                "[a]\n",
                "[[a]]\n",
                "a.b=1\n",
                "={b=",
                "\r\n",
                "é",
            ]
        ),
        max_size=40,
    ).map("".join)
    | st.text(max_size=40)
)
@example(text="a=[}")
@example(text="a={]")
@example(text="[" * 5_000)
@example(text="a=" + "[" * 5_000)
@example(text="a=" + "{a=" * 5_000)
def test_no_text_makes_it_raise_and_nothing_of_toml_is_missed(text):
    positions = TomlPositions(text)
    assert 1 <= positions.line(("a", 0, "b")) <= text.count("\n") + 1
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    assert set(paths(document)) <= set(positions._lines)
