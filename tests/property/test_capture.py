"""Capture, for any bytes read in any pieces."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from codex_orchestrator.execution.reading import CHUNK_BYTES, StreamCapture

# Bytes near the borders of UTF-8 come up often enough to meet each other.
BYTES = st.binary(max_size=60) | st.lists(
    st.sampled_from(
        [
            b"a",
            b"\n",
            b"\x80",
            b"\xbf",
            b"\xc0",
            b"\xc3",
            b"\xe0",
            b"\xe2",
            b"\xed",
            b"\xf0",
            b"\xf4",
            b"\xff",
        ]
    )
    | st.characters(codec="utf-8").map(str.encode),
    max_size=30,
).map(b"".join)


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    data = draw(BYTES)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=10)))
    bounds = [0, *cuts, len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds) if start < end]


@settings(max_examples=500)
@given(parts=pieces(), keep=st.integers(1, 80))
def test_chunks_put_together_are_the_whole_stream(parts, keep):
    capture = StreamCapture(keep)
    chunks = [capture.feed(part) for part in parts] + [capture.finish()]
    data = b"".join(parts)
    made = [chunk for chunk in chunks if chunk is not None]
    assert "".join(chunk.text for chunk in made) == data.decode("utf-8", "replace")
    assert sum(chunk.size for chunk in made) == len(data) == capture.total_bytes
    assert all(chunk.size for chunk in made)


@settings(max_examples=500)
@given(parts=pieces(), keep=st.integers(1, 80))
def test_the_tail_is_the_decoded_end_within_its_limit(parts, keep):
    capture = StreamCapture(keep)
    for part in parts:
        capture.feed(part)
    data = b"".join(parts)
    tail = capture.tail()
    assert capture.truncated == (len(data) > keep)
    if not capture.truncated:
        assert tail == data.decode("utf-8", "replace")
        return
    # It begins at most three bytes after the cut, where a character that the cut went through ends.
    ends = [data[len(data) - keep + skipped :].decode("utf-8", "replace") for skipped in range(4)]
    assert tail in ends
    if _is_text(data):
        assert data.decode().endswith(tail)
        assert len(tail.encode()) > keep - 4


@given(text=st.text(max_size=80), keep=st.integers(1, 80))
def test_the_tail_of_text_is_the_longest_end_that_fits(text, keep):
    capture = StreamCapture(keep)
    if text:
        capture.feed(text.encode())
    whole = [text[start:] for start in range(len(text) + 1)]
    assert capture.tail() == next(end for end in whole if len(end.encode()) <= keep)


@settings(max_examples=20)
@given(fill=st.sampled_from(["a", "é", "€", "🙂", "a€"]), held=st.integers(0, 3), reads=st.integers(1, 4))
def test_no_chunk_is_larger_than_its_limit(fill, held, reads):
    data = (fill * CHUNK_BYTES * (reads + 1)).encode()[held:]
    capture = StreamCapture(100)
    text = ""
    place = 0
    for _ in range(reads):
        room = capture.room
        chunk = capture.feed(data[place : place + room])
        place += room
        assert chunk is not None
        assert chunk.size <= CHUNK_BYTES
        text += chunk.text
    last = capture.finish()
    assert text + (last.text if last else "") == data[:place].decode("utf-8", "replace")


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
