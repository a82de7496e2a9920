"""A chunk's line in the logs, for any text."""

from __future__ import annotations

from dataclasses import asdict

from hypothesis import example, given, settings
from hypothesis import strategies as st

from codex_orchestrator.model.codec import dumps_line
from codex_orchestrator.model.events import encode
from codex_orchestrator.model.exec_events import ExecChunk

# What JSON escapes, what only looks as if it did, and what the encoder itself looks for.
AWKWARD = ['"', "\\", *map(chr, range(0x20)), "\x7f", "\x80", "\x85", "\u2028", "\u2029", "\ufeff", "\ufffd"]
AWKWARD += ["€", "🙂", "u0000", '"data":""', '\\"', "}"]
TEXT = st.text(st.characters(codec="utf-8"), max_size=80) | st.lists(
    st.sampled_from(AWKWARD) | st.characters(codec="utf-8"), max_size=40
).map("".join)


def chunk_of(data: str, *, correlation_id: str = "c") -> ExecChunk:
    return ExecChunk(
        correlation_id=correlation_id,
        attempt=1,
        stream="stdout",
        sequence=7,
        bytes=len(data.encode()),
        data=data,
        timestamp="2026-11-21T02:44:32.979Z",
        index=2,
    )


@settings(max_examples=500)
@example(data="".join(map(chr, range(0x180))), correlation_id='"data":""')
@given(data=TEXT, correlation_id=TEXT)
def test_a_chunk_is_encoded_as_any_event_is(data, correlation_id):
    chunk = chunk_of(data, correlation_id=correlation_id)
    assert encode(chunk) == dumps_line(asdict(chunk)).encode()


def test_every_character_there_is_is_encoded_as_in_any_event():
    codes = [code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    chunk = chunk_of("".join(map(chr, codes)))
    assert encode(chunk) == dumps_line(asdict(chunk)).encode()
