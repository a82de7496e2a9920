"""One output stream: decoded whole, its end kept."""

from __future__ import annotations

import pytest

from codex_orchestrator.execution.reading import CHUNK_BYTES, Chunk, StreamCapture, unfinished_length
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.privacy.policy import PrivacyPolicy
from codex_orchestrator.privacy.stream import HOLD_SECONDS

EURO = "€".encode()


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"", 0),
        (b"abc", 0),
        (EURO, 0),
        (EURO[:1], 1),
        (EURO[:2], 2),
        (b"ab" + EURO[:2], 2),
        ("é".encode()[:1], 1),
        ("🙂".encode()[:3], 3),
        ("🙂".encode(), 0),
        # Nothing that could follow makes these a character.
        (b"\x80\x80\x80", 0),
        (b"a\x80", 0),
        (b"\xff", 0),
        (b"\xc0", 0),
        (b"\xf5", 0),
        (EURO + b"\x80", 0),
    ],
)
def test_how_much_of_the_end_may_still_become_a_character(data, length):
    assert unfinished_length(data) == length


def test_a_character_split_over_reads_comes_out_whole():
    capture = StreamCapture(100)
    assert capture.feed(b"a" + EURO[:1]) == Chunk("a", 1)
    assert capture.feed(EURO[1:2]) is None
    assert capture.feed(EURO[2:] + b"b") == Chunk("€b", 4)
    assert capture.finish() is None
    assert (capture.tail(), capture.total_bytes, capture.truncated) == ("a€b", 5, False)


def test_a_stream_that_ends_inside_a_character_says_so_at_its_end():
    capture = StreamCapture(100)
    assert capture.feed(b"a" + EURO[:2]) == Chunk("a", 1)
    assert capture.finish() == Chunk("\N{REPLACEMENT CHARACTER}", 2)
    assert capture.finish() is None


def test_room_is_what_keeps_a_chunk_within_its_limit():
    capture = StreamCapture(100)
    assert capture.room == CHUNK_BYTES
    capture.feed(EURO[:2])
    assert capture.room == CHUNK_BYTES - 2
    chunk = capture.feed(EURO[2:] + b"x" * (capture.room - 1))
    assert chunk is not None
    assert chunk.size == CHUNK_BYTES


@pytest.mark.parametrize(
    ("keep", "pieces", "tail", "truncated"),
    [
        (4, [b"ab", b"cd"], "abcd", False),
        (4, [b"ab", b"cde"], "bcde", True),
        (4, [b"abcdefgh"], "efgh", True),
        (1, [b"a", b"b", b"c"], "c", True),
        (4, [EURO, EURO], "€", True),
        (3, [b"a", EURO], "€", True),
        (2, [EURO], "", True),
        (4, ["🙂x".encode()], "x", True),
        # Bytes that are no text at all are an end, too.
        (8, [b"\x80" * 100], "\N{REPLACEMENT CHARACTER}" * 5, True),
        (8, [], "", False),
    ],
)
def test_the_tail_is_the_last_bytes_from_a_whole_character_on(keep, pieces, tail, truncated):
    capture = StreamCapture(keep)
    for piece in pieces:
        capture.feed(piece)
    assert (capture.tail(), capture.truncated) == (tail, truncated)


def test_memory_does_not_grow_with_the_stream():
    capture = StreamCapture(1_000)
    for _ in range(2_000):
        capture.feed(b"x" * 700)
    assert capture.total_bytes == 1_400_000
    assert capture._tail_bytes < 1_000 + 700
    assert len(capture.tail()) == 1_000


def guarded(keep: int = 1_000_000) -> StreamCapture:
    return StreamCapture(keep, PrivacyGuard(PrivacyPolicy("enforce")).stream)


def test_a_guard_stands_before_all_that_is_known_of_a_stream():
    capture = guarded()
    chunks = [*capture.take(b"a token=abc", 1.0), *capture.take(b"def\nrest", 1.01)]
    assert chunks == [Chunk("a token=[REDACTED]\n", 19)]
    assert capture.due == 1.01 + HOLD_SECONDS
    assert list(capture.expire(1.01 + HOLD_SECONDS)) == [Chunk("rest", 4)]
    assert capture.due is None
    assert list(capture.end()) == []
    assert capture.tail() == "a token=[REDACTED]\nrest"
    assert [decision.rule for decision in capture.take_decisions()] == ["sensitive-token"]


def test_what_stands_for_secrets_makes_no_chunk_too_large():
    capture = guarded()
    # Not so many that all of it is left out.
    data = b"token=abcdef and the rest\n" * 2_400
    chunks = [*capture.take(data[: capture.room], 0.0), *capture.end()]
    assert all(chunk.size <= CHUNK_BYTES for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == "token=[REDACTED] and the rest\n" * 2_400


def test_a_character_that_the_guard_holds_back_comes_out_whole():
    capture = guarded()
    assert list(capture.take(b"a" + EURO[:1], 0.0)) == []
    assert [*capture.take(EURO[1:] + b"\n", 0.0), *capture.end()] == [Chunk("a€\n", 5)]


def test_without_a_guard_all_comes_at_once():
    capture = StreamCapture(100)
    assert list(capture.take(b"token=abcdef", 0.0)) == [Chunk("token=abcdef", 12)]
    assert (capture.due, capture.take_decisions(), list(capture.end())) == (None, [], [])
