"""Looking at all of output, and only at what one pass finds worth a closer look, come to the same."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_orchestrator.privacy.areas import Areas
from codex_orchestrator.privacy.finding import LONG_WORDS, Finder
from codex_orchestrator.privacy.places import PLACES
from codex_orchestrator.privacy.policy import PrivacyPolicy
from tests.support.secret_shapes import SHAPES, filled
from tests.support.secrets_corpus import CASES, HARMLESS_LINES

# More than any test reads.
NEVER = 1 << 60
WHOLE = Finder(PrivacyPolicy("enforce"), pays_bytes=NEVER)
AREAS = Finder(PrivacyPolicy("enforce"), pays_bytes=0)
# So much that areas are found rather than all looked at.
PLAIN = b"plain words that say nothing at all of it\n" * 60


def example(text: str) -> bytes:
    marked = filled(text if "«" in text else f"«{text}»", text)
    return marked.replace("«", "").replace("»", "").encode()


RULES = [example(text) for rule in (*LONG_WORDS, *PLACES) for text in (*rule.finds, *rule.leaves)]
AROUND = (b"%b", b"a %b b\n", b'"%b"', b"x\\n%b", b"%%0A%b", b"token %b", b"x" * 900 + b"-%b-" + b"y" * 900)
TEXTS = [*(case.text for case in CASES), *(shape.text for shape in SHAPES), *RULES, *HARMLESS_LINES]


def test_nothing_in_plain_words_is_worth_a_look():
    assert Areas(LONG_WORDS, PLACES, 0).of(PLAIN) == []


@pytest.mark.parametrize("around", AROUND)
def test_both_find_the_same(around):
    for text in TEXTS:
        padded = PLAIN + around.replace(b"%b", text).replace(b"%%", b"%") + b"\n" + PLAIN
        assert AREAS.find(padded) == WHOLE.find(padded), text


def test_both_find_the_same_where_the_text_ends_within_it():
    for text in TEXTS:
        for cut in range(1, len(text), 1 + len(text) // 12):
            assert AREAS.find(PLAIN + text[:cut]) == WHOLE.find(PLAIN + text[:cut]), text[:cut]


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=8),
    between=st.sampled_from([b"\n", b" ", b"", b" " + b"x y " * 40, b"\n" + PLAIN]),
)
def test_both_find_the_same_in_many_at_once(parts, between):
    text = PLAIN + between.join(parts)
    assert AREAS.find(text) == WHOLE.find(text)


def test_where_much_is_worth_a_look_all_from_there_on_is():
    text = PLAIN + b"token=" * 400
    areas = Areas(LONG_WORDS, PLACES, 0)
    assert areas.of(text)[-1][1] == len(text)
    assert areas.of(PLAIN) == [(0, len(PLAIN))]
    assert AREAS.find(text) == WHOLE.find(text)


def test_without_the_engine_all_is_looked_at(monkeypatch):
    monkeypatch.setitem(sys.modules, "re2", None)
    assert Areas(LONG_WORDS, PLACES, 0).of(PLAIN) == [(0, len(PLAIN))]


def test_the_engine_is_loaded_when_that_pays():
    areas = Areas(LONG_WORDS, PLACES, 2 * len(PLAIN))
    assert [areas.of(PLAIN) for _ in range(3)] == [[(0, len(PLAIN))], [(0, len(PLAIN))], []]


def test_a_short_text_is_looked_at_as_it_is():
    assert Areas(LONG_WORDS, PLACES, 0).of(b"plain") == [(0, 5)]
