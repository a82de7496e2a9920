"""The privacy guard, for secrets and harmless lines in any order, read in any pieces."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from codex_orchestrator.privacy.finding import LONG_WORDS, Finder
from codex_orchestrator.privacy.guard import is_plain
from codex_orchestrator.privacy.parts import parts_of
from codex_orchestrator.privacy.places import PLACES
from codex_orchestrator.privacy.policy import PrivacyPolicy, secret_values
from codex_orchestrator.privacy.stream import StreamGuard
from tests.support.encodings import ENCODINGS, revealed
from tests.support.secret_shapes import filled
from tests.support.secrets_corpus import CASES, ENVIRONMENT, HARMLESS_LINES

FINDER = Finder(PrivacyPolicy("enforce", (), tuple(secret_values(ENVIRONMENT))))
# What goes in, and what must come out.
PARTS = [(case.text, case.expected) for case in CASES] + [(line, line) for line in HARMLESS_LINES]


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    parts = draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=6))
    data, expected = (b"\n".join(column) for column in zip(*parts, strict=True))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])], expected


@settings(max_examples=400, deadline=None)
@given(stream=streams(), mode=st.sampled_from(["enforce", "shadow"]))
def test_what_comes_out_is_the_same_however_it_is_read(stream, mode):
    pieces, expected = stream
    guard = StreamGuard(FINDER, mode)
    passed = b"".join([*(guard.feed(piece, 0.0) for piece in pieces), guard.flush()])
    assert passed == (expected if mode == "enforce" else b"".join(pieces))
    assert guard.held_bytes == 0


@settings(max_examples=400, deadline=None)
@given(stream=streams(), data=st.data())
def test_whatever_the_pauses_nothing_but_secrets_is_lost(stream, data):
    """With pauses the first half of a secret may be out; harmless text comes through all the same."""
    pieces, _ = stream
    guard = StreamGuard(FINDER, "enforce")
    passed = b""
    for second, piece in enumerate(pieces):
        passed += guard.feed(piece, second)
        if data.draw(st.booleans()):
            passed += guard.expire(second + 0.5)
            assert guard.held_bytes == 0
    passed += guard.flush()
    if b"".join(pieces) in HARMLESS_LINES:
        assert passed == b"".join(pieces)


# Values as people have them: no space at an end, nothing but spaces, no everyday word.
VALUES = (
    st.text(
        st.one_of(
            st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."),
            st.sampled_from(" !\"#$%&'()*+,/:;<=>?@[\\]^`{|}~\n"),
            st.characters(min_codepoint=0xA1, exclude_categories=("C", "Z")),
        ),
        min_size=10,
        max_size=300,
    )
    .map(str.strip)
    .filter(lambda value: len(set(value)) > 5 and len(value) >= 10)
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(value=VALUES, encoding=st.sampled_from(sorted(ENCODINGS)), data=st.data())
def test_no_value_is_seen_in_any_encoding_cut_anywhere(value, encoding, data):
    encoded = ENCODINGS[encoding](value)
    text = b"before it\nx " + encoded + b" y\nand after it\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=1, max_size=2)))
    guard = StreamGuard(Finder(PrivacyPolicy("enforce", (), (value,))), "enforce")
    pieces = [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]
    passed = b"".join([*(guard.feed(piece, 0.0) for piece in pieces), guard.flush()])
    assert revealed(value, ENCODINGS[encoding], passed) == []
    assert passed.startswith(b"before it\nx ")
    assert passed.endswith(b" y\nand after it\n")


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(VALUES, max_size=40),
    text=st.binary(max_size=600) | st.text(max_size=300).map(str.encode),
    data=st.data(),
)
def test_what_holds_no_value_comes_through_byte_by_byte(values, text, data):
    # Signs that end words, so that the other rules find nothing.
    text = text.replace(b"=", b" ").replace(b":", b" ").replace(b"-----", b" ")
    assume(not any(part.encode() in text for value in values for part in parts_of(value)))
    guard = StreamGuard(Finder(PrivacyPolicy("enforce", (), tuple(values))), "enforce")
    cut = data.draw(st.integers(0, len(text)))
    passed = guard.feed(text[:cut], 0.0) + guard.feed(text[cut:], 0.0) + guard.flush()
    assert passed == text


BUILT_IN = Finder(PrivacyPolicy("enforce"))
RULES = (*LONG_WORDS, *PLACES)
# What rules look for, cut as the guard cuts plain words, and what stands around it.
BITS = st.one_of(
    st.sampled_from(
        sorted({literal for rule in RULES for literal in rule.literals})
        + sorted({word for rule in RULES for example in rule.finds for word in example.split()})
        + [
            "BEGIN PRIVATE",
            "Authorization",
            "Bearer",
            "-u",
            "cookie",
            "login",
            "a",
            "0",
            "npm",
            "run",
            "&&",
            "-k",
        ]
    ),
    st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", max_size=22),
    st.sampled_from([" ", ".", "/", "&", " && ", "-", "_", "  "]),
)


@settings(max_examples=1_000, deadline=None)
@given(text=st.lists(BITS, max_size=12).map("".join))
def test_no_rule_finds_anything_in_a_plain_text(text):
    if is_plain(text):
        assert BUILT_IN.find(text.encode()).hits == []


@given(text=st.lists(st.sampled_from(["npm", "run", "build-all", "x.py", "a/b", "--fast", "&&"]), min_size=1))
def test_ordinary_commands_are_plain(text):
    assert is_plain(" ".join(text[:20]))


def test_nothing_that_holds_a_secret_is_plain():
    texts = [case.text.decode("utf-8", "replace") for case in CASES if case.secrets and case.text.isascii()]
    filled_in = [filled(example, example) for rule in RULES for example in rule.finds]
    texts += [example.replace("«", "").replace("»", "") for example in filled_in]
    assert [text for text in texts if is_plain(text) and BUILT_IN.find(text.encode()).hits] == []
