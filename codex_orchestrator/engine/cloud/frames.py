"""What passes between a runner on a worker's machine and the orchestrator, as bytes (`runner`, `remote`).

A frame is a header and a payload. Workers pass frames on without looking into them: they know the header.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, Final

from codex_orchestrator.dataclass import dataclass

# The payload's length, the attempt's number, the kind. `at_worker` has the same.
HEADER = struct.Struct(">IIB")
_TIME = struct.Struct(">d")
_SIZE = struct.Struct(">I")

# Kinds of frames.
STDOUT: Final = 1  # The worker's monotonic time in seconds, then bytes; no bytes where time alone passes.
STDERR: Final = 2
END: Final = 3  # An attempt's end, as JSON.
LAST: Final = 4  # A stream's end: its kind, as one byte.
LEFT: Final = 5  # What was ended at the end of the session, as JSON.
GONE: Final = 6  # No runner any more; made by the worker.
ANSWER: Final = 7  # To a question, whose number it has: `packed`; one that says that it is the last is.


@dataclass(frozen=True)
class Frame:
    """One frame: which attempt it is about, 0 for none; its kind; what it says."""

    number: int
    kind: int
    payload: bytes

    def value(self) -> Any:
        """What it says, where that is JSON."""
        return json.loads(self.payload)

    def output(self) -> tuple[float, bytes]:
        """When something was read from a stream, by the worker's clock, and what."""
        return _TIME.unpack_from(self.payload)[0], self.payload[_TIME.size :]


def encoded(number: int, kind: int, payload: bytes) -> bytes:
    """A frame as bytes."""
    return HEADER.pack(len(payload), number, kind) + payload


def output(number: int, kind: int, seconds: float, data: bytes) -> bytes:
    """A frame of output as bytes."""
    return HEADER.pack(_TIME.size + len(data), number, kind) + _TIME.pack(seconds) + data


def plain(number: int, kind: int, value: object) -> bytes:
    """A frame of JSON as bytes."""
    return encoded(number, kind, json.dumps(value).encode())


def packed(value: object, data: bytes = b"") -> bytes:
    """A JSON value, and bytes that go with it."""
    text = json.dumps(value).encode()
    return _SIZE.pack(len(text)) + text + data


def unpacked(data: bytes) -> tuple[Any, bytes]:
    """The value and the bytes that were `packed`."""
    (size,) = _SIZE.unpack_from(data)
    end = _SIZE.size + size
    return json.loads(data[_SIZE.size : end]), data[end:]


def parsed(data: bytes) -> Iterator[Frame]:
    """The frames that stand one after the other in ``data``."""
    place = 0
    while place < len(data):
        length, number, kind = HEADER.unpack_from(data, place)
        place += HEADER.size
        yield Frame(number, kind, data[place : place + length])
        place += length
