"""The privacy guard, for secrets and harmless lines in any order, read in any pieces."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from codex_orchestrator.run.privacy.finding import Finder
from codex_orchestrator.run.privacy.policy import PrivacyPolicy, secret_values
from codex_orchestrator.run.privacy.stream import StreamGuard
from tests.secrets_corpus import CASES, ENVIRONMENT, HARMLESS_LINES

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
