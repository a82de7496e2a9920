"""The privacy guard on its corpus: every secret, cut at every byte, and lines that must stay as they are."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from codex_orchestrator.privacy.finding import Finder
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.privacy.policy import PrivacyPolicy, secret_values
from codex_orchestrator.privacy.stream import StreamGuard
from tests.support.secrets_corpus import CASES, ENVIRONMENT, HARMLESS_LINES

ANSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
POLICY = PrivacyPolicy("enforce", (), tuple(secret_values(ENVIRONMENT)))
FINDER = Finder(POLICY)

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def guarded(*pieces: bytes, mode="enforce") -> bytes:
    """What comes of a stream that is read in these pieces, one right after the other."""
    guard = StreamGuard(FINDER, mode)
    return b"".join([*(guard.feed(piece, 0.0) for piece in pieces), guard.flush()])


def found(*pieces: bytes, mode="enforce") -> list[str]:
    guard = StreamGuard(FINDER, mode)
    for piece in pieces:
        guard.feed(piece, 0.0)
    guard.flush()
    return [decision.rule for decision in guard.take_decisions()]


def test_the_corpus_is_as_large_as_is_promised():
    assert len(CASES) >= 60
    assert len(HARMLESS_LINES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


@by_name
def test_only_the_secret_is_replaced(case):
    assert guarded(case.text) == case.expected


@by_name
def test_two_writes_cut_at_any_byte_come_to_the_same(case):
    for cut in range(len(case.text) + 1):
        assert guarded(case.text[:cut], case.text[cut:]) == case.expected, case.text[:cut]


@by_name
def test_byte_by_byte_it_comes_to_the_same(case):
    pieces = [case.text[place : place + 1] for place in range(len(case.text))]
    assert guarded(*pieces) == case.expected


@by_name
def test_nothing_of_it_is_left_for_who_looks_through_the_colours(case):
    text = ANSI.sub(b"", guarded(b"a line before\n", case.text, b"\na line after\n"))
    assert [secret for secret in case.secrets if secret in text] == []


@by_name
def test_shadow_mode_changes_nothing_and_counts_the_same(case):
    assert guarded(case.text, mode="shadow") == case.text
    assert found(case.text, mode="shadow") == found(case.text) != []


@by_name
def test_a_text_is_scrubbed_as_a_stream_is(case):
    assert PrivacyGuard(POLICY).scrub(case.text.decode()) == case.expected.decode()
    assert PrivacyGuard(replace(POLICY, mode="shadow")).scrub(case.text.decode()) == case.text.decode()


@by_name
def test_what_the_guard_leaves_is_left_alone_by_the_next(case):
    assert guarded(case.expected) == case.expected
    assert found(case.expected) == []


@pytest.mark.parametrize("line", HARMLESS_LINES, ids=range(len(HARMLESS_LINES)))
def test_a_harmless_line_stays_as_it_is(line):
    for text in (line, line + b"\n", b"before\n" + line + b"\nafter\n"):
        assert guarded(text) == text
        assert guarded(text, mode="shadow") == text
    assert found(line + b"\n") == []


def test_harmless_lines_stay_as_they_are_together():
    text = b"\n".join(HARMLESS_LINES)
    assert guarded(text) == text


# Each line is in two of these, once with ten lines before it and once with ten after it: the guard holds
# back a line at a time, so that a cut is not felt further away. All lines at once, cut at each byte, took a
# tenth of the time of all unit tests.
@pytest.mark.parametrize("place", range(0, len(HARMLESS_LINES), 10))
def test_harmless_lines_stay_as_they_are_cut_anywhere(place):
    text = b"\n".join(HARMLESS_LINES[place : place + 20])
    for cut in range(len(text) + 1):
        assert guarded(text[:cut], text[cut:]) == text, text[max(0, cut - 30) : cut]
