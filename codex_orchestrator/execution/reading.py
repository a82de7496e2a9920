"""The pipes of one command: read while it runs, and on where what it leaves behind keeps them open.

Each stream is decoded whole, and its end kept (docs/reference/event-logs.md, "Output").
"""

from __future__ import annotations

import os
import selectors
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Literal

from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.execution.process import pipe_bytes

if TYPE_CHECKING:
    from codex_orchestrator.privacy.stream import Decision, StreamGuard

CHUNK_BYTES = 65_536
_PAGE_BYTES = 4_096


@dataclass(frozen=True)
class Chunk:
    """Decoded output, and how many bytes it was."""

    text: str
    size: int


class StreamCapture:
    """Decodes what is read from a stream and keeps the last ``keep_bytes`` of it.

    With a privacy guard, all of that is done with what the guard lets go on. It is made when there is
    something to look through: what it needs is loaded while the command runs, or never.
    """

    def __init__(self, keep_bytes: int, guarded: Callable[[], StreamGuard] | None = None) -> None:
        self._keep = keep_bytes
        self._guarded = guarded
        self._guard: StreamGuard | None = None
        self._held = b""
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.total_bytes = 0

    @property
    def room(self) -> int:
        """How many bytes to read at most, so that a chunk never exceeds its limit."""
        room = CHUNK_BYTES - len(self._held)
        held = self._guard.held_bytes if self._guard is not None else 0
        # Pipes hand whole pages on without leaving bits of them for the next read.
        return (room - held) // _PAGE_BYTES * _PAGE_BYTES if held else room

    @property
    def due(self) -> float | None:
        """When `expire` must be called, by the clock that `take` is told; None where nothing waits for it."""
        return self._guard.due if self._guard is not None else None

    def take(self, data: bytes, now: float) -> Iterator[Chunk]:
        """Take what was read; the answer is what of the stream may be known by now."""
        if self._guard is None and self._guarded is not None:
            self._guard = self._guarded()
        yield from self._chunks(self._guard.feed(data, now) if self._guard is not None else data)

    def expire(self, now: float) -> Iterator[Chunk]:
        """What was held back for as long as it may be; all that was written by then must have been taken."""
        yield from self._chunks(self._guard.expire(now) if self._guard is not None else b"")

    def end(self) -> Iterator[Chunk]:
        """What is left at the end of the stream."""
        yield from self._chunks(self._guard.flush() if self._guard is not None else b"")
        last = self.finish()
        if last is not None:
            yield last

    def take_decisions(self) -> list[Decision]:
        """What the guard has found since this was last asked."""
        return self._guard.take_decisions() if self._guard is not None else []

    def _chunks(self, data: bytes) -> Iterator[Chunk]:
        # What stands for a secret may be longer than the secret.
        while data:
            room = CHUNK_BYTES - len(self._held)
            chunk = self.feed(data[:room])
            data = data[room:]
            if chunk is not None:
                yield chunk

    def feed(self, data: bytes) -> Chunk | None:
        """Take what was read; None where it is all held back as an unfinished character."""
        self._remember(data)
        data = self._held + data
        cut = len(data) - unfinished_length(data)
        self._held = data[cut:]
        return Chunk(data[:cut].decode("utf-8", "replace"), cut) if cut else None

    def finish(self) -> Chunk | None:
        """The character that the stream ended in the middle of, if it did."""
        held, self._held = self._held, b""
        return Chunk(held.decode("utf-8", "replace"), len(held)) if held else None

    def tail(self) -> str:
        """The end of the stream as text, beginning with a whole character."""
        data = b"".join(self._tail)
        if self.truncated:
            data = data[-self._keep :]
            # The rest of a cut character is three bytes at most; more of the kind is no text at all.
            for _ in range(3):
                if data and data[0] & 0xC0 == 0x80:
                    data = data[1:]
        return data.decode("utf-8", "replace")

    @property
    def truncated(self) -> bool:
        """Whether there was more than was kept."""
        return self.total_bytes > self._keep

    def _remember(self, data: bytes) -> None:
        self.total_bytes += len(data)
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) >= self._keep:
            self._tail_bytes -= len(self._tail.popleft())


def unfinished_length(data: bytes) -> int:
    """How many bytes at the end of ``data`` begin a UTF-8 character that more bytes could finish."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        needed = (
            2 if 0xC2 <= byte <= 0xDF else 3 if 0xE0 <= byte <= 0xEF else 4 if 0xF0 <= byte <= 0xF4 else 1
        )
        return back if back < needed else 0
    return 0


StreamName = Literal["stdout", "stderr"]
Output = Callable[[StreamName, Chunk], None]


class OutputReader:
    """Reads both streams of a command into chunks; the pipes are its own from the beginning on."""

    def __init__(
        self,
        pipes: Mapping[StreamName, IO[bytes]],
        captures: Mapping[StreamName, StreamCapture],
        output: Output,
        *,
        clock: Clock,
    ) -> None:
        """Nothing is read yet.

        Args:
            pipes: The ends to read from.
            captures: What decodes and filters each stream.
            output: Takes the chunks.
            clock: Time.
        """
        self._pipes = dict(pipes)
        self._captures = captures
        self._output = output
        self._clock = clock
        self._selector: selectors.BaseSelector | None = None
        for pipe in self._pipes.values():
            os.set_blocking(pipe.fileno(), False)

    @property
    def is_open(self) -> bool:
        """Whether anybody could still write."""
        return bool(self._pipes)

    @property
    def descriptors(self) -> list[int]:
        """Of the pipes that are open."""
        return [pipe.fileno() for pipe in self._pipes.values()]

    @property
    def due(self) -> float | None:
        """When `expire` must be called, by the monotonic clock; None where nothing waits for it."""
        return min((due for each in self._captures.values() if (due := each.due) is not None), default=None)

    def wait_with(self, selector: selectors.BaseSelector) -> None:
        """Have a selector wait for output: its keys' data are functions that read it."""
        for name, pipe in self._pipes.items():
            selector.register(pipe, selectors.EVENT_READ, lambda name=name: self._read(name))
        self._selector = selector

    def stop_waiting(self) -> None:
        """Have that selector wait for it no more."""
        if self._selector is not None:
            for pipe in self._pipes.values():
                self._selector.unregister(pipe)
            self._selector = None

    def expire(self) -> None:
        """Let go what has been held back for as long as it may be."""
        now = self._clock.monotonic()
        for name, capture in self._captures.items():
            if capture.due is not None and capture.due <= now:
                # Whoever takes the output may have kept us busy: what belongs to it may long be here.
                self._catch_up(name)
                for chunk in capture.expire(now):
                    self._output(name, chunk)

    def catch_up(self) -> None:
        """Read all that is in the pipes by now; what is written meanwhile need not be waited for."""
        for name in list(self._pipes):
            self._catch_up(name)

    def end(self) -> None:
        """Read what is there, let go what was held back, and close."""
        self.catch_up()
        for name in list(self._pipes):
            self._end(name)

    def close(self) -> None:
        """Close, whatever is there."""
        self.stop_waiting()
        for name in list(self._pipes):
            self._pipes.pop(name).close()

    def _catch_up(self, name: StreamName) -> None:
        # Bounded by bytes: somebody may write faster than this reads.
        left = pipe_bytes(self._pipes[name].fileno()) if name in self._pipes else 0
        while left > 0 and (size := self._read(name)):
            left -= size

    def _read(self, name: StreamName) -> int:
        """Read once; how many bytes, 0 where there is nothing to read now or any more."""
        capture = self._captures[name]
        try:
            data = os.read(self._pipes[name].fileno(), capture.room)
        except BlockingIOError:
            return 0
        if not data:
            self._end(name)
            return 0
        for chunk in capture.take(data, self._clock.monotonic()):
            self._output(name, chunk)
        return len(data)

    def _end(self, name: StreamName) -> None:
        pipe = self._pipes.pop(name)
        if self._selector is not None:
            self._selector.unregister(pipe)
        pipe.close()
        for chunk in self._captures[name].end():
            self._output(name, chunk)
