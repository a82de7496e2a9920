"""Timestamps: always the same form, never ahead of the clock, and the same again after reading."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.clock import parse_timestamp, timestamp

MOMENTS = st.floats(0, 4_102_444_800, allow_nan=False)


@given(now=MOMENTS)
def test_the_form_is_fixed_and_the_moment_is_not_ahead(now):
    text = timestamp(now)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    read = parse_timestamp(text)
    # Half a microsecond is what a float of today holds exactly at best.
    assert read is not None
    assert now - 0.001_001 < read < now + 0.000_001


@given(milliseconds=st.integers(0, 4_102_444_800_000))
def test_what_was_written_is_written_again_the_same(milliseconds):
    seconds, rest = divmod(milliseconds, 1000)
    text = timestamp(seconds)[:-4] + f"{rest:03d}Z"
    read = parse_timestamp(text)
    assert read is not None
    assert timestamp(read) == text


@given(earlier=MOMENTS, later=MOMENTS)
def test_text_sorts_as_time_does(earlier, later):
    if earlier <= later:
        assert timestamp(earlier) <= timestamp(later)


@given(text=st.text(alphabet=st.characters()))
def test_no_text_makes_the_reader_raise(text):
    assert parse_timestamp(text) is None or isinstance(parse_timestamp(text), float)
