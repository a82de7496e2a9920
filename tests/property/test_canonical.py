"""The canonical form: one for each value, read back as that value, in the order of UTF-16."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.model.canonical import canonical_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


def shuffled(value):
    """The same value with the keys of its objects in the other order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_a_value_has_one_form_which_says_it(value):
    written = canonical_json(value)
    assert json.loads(written) == value
    assert canonical_json(shuffled(value)) == written


@given(st.dictionaries(TEXTS, st.none()))
def test_keys_are_in_the_order_of_their_utf_16_units(value):
    keys = list(json.loads(canonical_json(value)))
    assert keys == sorted(keys, key=lambda key: key.encode("utf-16-be"))


@given(TEXTS)
def test_characters_stand_for_themselves_but_for_those_that_must_not(text):
    written = canonical_json(text).decode("utf-8")[1:-1]
    short = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
    expected = "".join(short.get(each, f"\\u{ord(each):04x}" if ord(each) < 0x20 else each) for each in text)
    assert written == expected


def test_the_example_of_the_rule():
    """Keys and texts of the example in RFC 8785, its numbers left out: no digest of ours has any such."""
    value = {
        "string": '€$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert list(json.loads(canonical_json(value))) == [
        "\r", "1", "literals", "string", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33",
    ]  # fmt: skip
    assert b'"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"' in canonical_json(value)


@pytest.mark.parametrize("value", [0.5, 2**53, -(2**53), "\ud800", {"a": [1.0]}, object()])
def test_what_has_no_form_is_refused(value):
    with pytest.raises(ValueError):
        canonical_json(value)
