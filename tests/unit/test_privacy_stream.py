"""The guard over a stream: what is held back and for how long, and what comes of borders and of much."""

from __future__ import annotations

import re

import pytest

from codex_orchestrator.privacy.policy import CustomRule
from codex_orchestrator.privacy.stream import HOLD_SECONDS, StreamGuard
from tests.support.privacy import guard_of, whole

READ_BYTES = 65_536
LINES = "first line of it\nab\nthird line of it"
RULES = (CustomRule("badge", "badge-[0-9]{6}", "redact"), CustomRule("case", "(?i)case [a-z]+", "block"))


def with_pauses(guard: StreamGuard, pieces: list[bytes]) -> bytes:
    """What comes of pieces between which all that is held has its time."""
    return b"".join(guard.feed(piece, at) + guard.expire(at + 1) for at, piece in enumerate(pieces, 1))


def test_a_line_goes_on_at_once_when_it_is_whole():
    guard = guard_of()
    assert guard.feed(b"one\ntwo\nthr", 5.0) == b"one\ntwo\n"
    assert (guard.due, guard.held_bytes) == (5.0 + HOLD_SECONDS, 3)
    assert guard.feed(b"ee\n", 5.01) == b"three\n"
    assert (guard.due, guard.held_bytes) == (None, 0)


def test_nothing_is_held_for_longer_than_it_may_be_since_it_came():
    guard = guard_of()
    guard.feed(b"a", 1.0)
    guard.feed(b"b", 1.05)
    # What came first is what time runs for, however much follows.
    assert guard.due == 1.0 + HOLD_SECONDS
    guard.feed(b"c\nd", 1.09)
    assert guard.due == 1.09 + HOLD_SECONDS
    assert guard.expire(1.09 + HOLD_SECONDS) == b"d"
    assert guard.due is None


def test_what_came_later_stays_for_its_own_time():
    guard = guard_of(secrets=["kelp-Harbour/71"])
    guard.feed(b"a kelp", 1.0)
    guard.feed(b"-Har", 1.09)
    assert guard.expire(1.0 + HOLD_SECONDS) == b"a kelp"
    assert guard.due == 1.09 + HOLD_SECONDS
    assert guard.feed(b"bour/71 x\n", 1.15) == b"[REDACTED] x\n"


def test_what_came_with_a_later_read_has_its_own_time():
    guard = guard_of()
    guard.feed(b"a", 1.0)
    guard.feed(b"b\ncd", 1.05)
    guard.feed(b"e", 1.09)
    assert guard.due == 1.05 + HOLD_SECONDS


def test_in_shadow_mode_nothing_is_held():
    guard = guard_of(mode="shadow")
    assert guard.feed(b"password=swordfi", 1.0) == b"password=swordfi"
    assert (guard.due, guard.held_bytes) == (None, 0)
    assert guard.feed(b"sh99\n", 9.0) == b"sh99\n"
    assert [decision.rule for decision in guard.take_decisions()] == ["sensitive-token"]
    assert guard.flush() == b""


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        # The word was let go, but is known still.
        ([b"password=", b"swordfish99\n"], b"password=[REDACTED]\n"),
        ([b"password", b"=swordfish99 x\n"], b"password=[REDACTED] x\n"),
        # A secret that was seen is left out to its end.
        ([b"token=tok_9f", b"8e7d", b"6c and on\n"], b"token=[REDACTED] and on\n"),
        ([b"AKIA" + b"QWERTZ2345UIOPAS", b"DFGH next\n"], b"[REDACTED] next\n"),
        # This is the limit: nobody could know.
        ([b"password=swo", b"rdfish99\n"], b"password=swo[REDACTED]\n"),
    ],
)
def test_halves_of_a_secret_that_come_with_a_pause_between_them(pieces, expected):
    guard = guard_of()
    assert with_pauses(guard, pieces) == expected


KEY = "-----BEGIN PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (
            [f"{KEY}\n", "MIIEpA", "topsecret\n", "q" * 64, "\n-----END PRIVATE KEY-----\nx\n"],
            f"{KEY}\n[REDACTED]x\n",
        ),
        (
            [f"{KEY}\nMIIE", "pA", "to", "psecretpsecret\n", "-----END PRIV", "ATE KEY----- x\n"],
            f"{KEY}\n[REDACTED] x\n",
        ),
        (
            [f'"{KEY}\\nMIIE', "pAtopsecret", "q" * 64, '\\n-----END PRIVATE KEY-----" x\n'],
            f'"{KEY}\\n[REDACTED]" x\n',
        ),
        ([f"{KEY}\nMIIE{'q' * 90}", "topsecret\n"], "[REDACTED]"),
        # Mentions.
        ([f"no {KEY} in ", "this file\n"], f"no {KEY} in this file\n"),
        ([f"{KEY}\n", "is what it ", "begins with\n"], f"{KEY}\nis what it begins with\n"),
    ],
)
def test_what_began_as_a_key_stays_out_to_its_end_however_late_that_comes(pieces, expected):
    passed = with_pauses(guard_of(), [piece.encode() for piece in pieces])
    assert re.sub(rb"(?:\[REDACTED\]\n?)+", b"[REDACTED]", passed) == expected.encode()


def test_of_a_value_whose_halves_come_with_a_pause_the_first_is_out():
    guard = guard_of(secrets=["kelp-Harbour/71"])
    passed = guard.feed(b"kelp-Har", 0.0) + guard.expire(1.0)
    assert passed + guard.feed(b"bour/71 x\n", 1.0) == b"kelp-Har[REDACTED] x\n"


@pytest.mark.parametrize("size", [1, 7, 4_095, 4_096, 4_097, READ_BYTES])
@pytest.mark.parametrize("before", [0, 4_080, READ_BYTES - 20, READ_BYTES - 9, READ_BYTES - 1, READ_BYTES])
def test_a_secret_on_the_border_of_what_is_read(size, before):
    if size < 7 and before > 5_000:
        size = 1_000
    text = b"x" * before + b" password=swordfish99 y"
    assert whole(guard_of(), text, size) == b"x" * before + b" password=[REDACTED] y"


@pytest.mark.parametrize("length", [5_000, 60_000])
@pytest.mark.parametrize("size", [100, 4_096, READ_BYTES])
def test_a_secret_of_any_length_after_its_word(length, size):
    text = b"a token=" + b"t" * length + b" end\n"
    assert whole(guard_of(), text, size) == b"a token=[REDACTED] end\n"


@pytest.mark.parametrize("size", [100, READ_BYTES])
def test_what_has_no_end_is_not_left_out_for_ever(size):
    text = b"token=" + b"t" * 200_000
    passed = whole(guard_of(), text, size)
    assert passed.startswith(b"token=[REDACTED]t")
    assert 100_000 < len(passed) < 140_000


@pytest.mark.parametrize("size", [1, 100, READ_BYTES])
def test_a_private_key_without_an_end_does_not_take_all_that_follows(size):
    lines = [b"MIIE" + b"k" * 60] * 30
    text = b"\n".join([b"-----BEGIN PRIVATE KEY-----", *lines, b""]) + b"build output\n" * 8_000
    passed = whole(guard_of(), text, size)
    assert passed.startswith(b"[REDACTED]")
    assert b"MIIE" not in passed
    assert passed.endswith(b"build output\n" * 2_000)


def test_the_first_line_of_a_private_key_waits_for_what_tells_it_from_a_mention():
    guard = guard_of()
    assert guard.feed(b"x\n-----BEGIN PRIVATE KEY-----\n", 1.0) == b"x\n"
    assert guard.due == 1.0 + HOLD_SECONDS
    assert guard.feed(b"MIIEvQIBADANBgkqhkiG9w0\n", 1.01) == b"[REDACTED]"
    assert guard.feed(b"BAQEFAASC\n-----END PRIV", 1.02) + guard.flush() == b""
    assert guard.feed(b"ATE KEY-----\nafter\n", 9.0) == b"\nafter\n"


def test_a_value_of_several_lines_waits_for_its_last():
    guard = guard_of(secrets=[LINES])
    assert guard.feed(b"x\nfirst line of it\n", 1.0) == b"x\n"
    assert guard.feed(b"ab\nthird line", 1.01) == b""
    assert guard.feed(b" of it\n", 1.02) == b"[REDACTED]\n"


def test_its_lines_are_known_by_themselves():
    assert whole(guard_of(secrets=[LINES]), b"> first line of it\n> ab\n> third line of it\n", 5) == (
        b"> [REDACTED]\n> ab\n> [REDACTED]\n"
    )


@pytest.mark.parametrize("size", [1, 5, 1_000])
def test_rules_of_a_project(size):
    guard = guard_of(rules=RULES)
    text = b"a badge-123456, b badge-12345\nCASE sensitive\ncase\nnext\nbadge-000000"
    assert whole(guard, text, size) == b"a [REDACTED], b badge-12345\n[REDACTED]\ncase\nnext\n[REDACTED]"
    assert [(each.rule, each.action) for each in guard.take_decisions()] == [
        ("badge", "redact"),
        ("case", "block"),
        ("badge", "redact"),
    ]
    assert guard.take_decisions() == []


def test_a_rule_of_a_project_sees_long_lines_in_pieces():
    text = b"x" * 6_100 + b"badge-123456" + b"y" * 6_100
    assert whole(guard_of(rules=RULES), text, 1_000) == b"x" * 6_100 + b"[REDACTED]" + b"y" * 6_100


def test_memory_does_not_grow_with_a_line():
    guard = guard_of(secrets=[LINES, "kelp-Harbour/71"])
    for _ in range(200):
        guard.feed(b"y" * 10_000, 0.0)
        assert guard.held_bytes <= 32_768


def test_bytes_that_are_no_text_stay():
    data = bytes(range(256)) * 50
    for size in (1, 100, len(data)):
        assert whole(guard_of(secrets=["kelp-Harbour/71"], rules=RULES), data, size) == data


@pytest.mark.parametrize("count", [1, 2_000])
def test_many_secrets_in_one_read(count):
    assert whole(guard_of(), b"token=abcdef\n" * count, READ_BYTES) == b"token=[REDACTED]\n" * count
