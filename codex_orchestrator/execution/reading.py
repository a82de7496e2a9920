"""The pipes of one command: read while it runs, and on where what it leaves behind keeps them open."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any, Literal, Protocol

from codex_orchestrator.clock import Clock
from codex_orchestrator.execution.process import pipe_bytes

StreamName = Literal["stdout", "stderr"]
# Takes what a stream's `Capture` makes of its bytes.
Output = Callable[[StreamName, Any], None]


class Capture(Protocol):
    """Makes chunks of what is read from a stream (`capture.StreamCapture`)."""

    @property
    def room(self) -> int:
        """How many bytes to read at most."""
        ...

    @property
    def due(self) -> float | None:
        """When `expire` must be called, by the clock that `take` is told; None where nothing waits for it."""
        ...

    def take(self, data: bytes, now: float) -> Iterable[Any]:
        """Take what was read; the chunks that it makes."""
        ...

    def expire(self, now: float) -> Iterable[Any]:
        """What was held back for as long as it may be."""
        ...

    def end(self) -> Iterable[Any]:
        """What is left at the end of the stream."""
        ...


class Reader(Protocol):
    """Output that is read on when its command has ended (`late.LateOutput`)."""

    @property
    def is_open(self) -> bool:
        """Whether anybody could still write."""
        ...

    @property
    def descriptors(self) -> list[int]:
        """What is waited on."""
        ...

    @property
    def due(self) -> float | None:
        """When `expire` must be called, by the monotonic clock; None where nothing waits for it."""
        ...

    def wait_with(self, selector: selectors.BaseSelector) -> None:
        """Have a selector wait for output: its keys' data are functions that read it."""
        ...

    def expire(self) -> None:
        """Let go what has been held back for as long as it may be."""
        ...

    def end(self) -> None:
        """Read what is there, let go what was held back, and close."""
        ...

    def close(self) -> None:
        """Close, whatever is there."""
        ...


class OutputReader:
    """Reads both streams of a command into chunks; the pipes are its own from the beginning on."""

    def __init__(
        self,
        pipes: Mapping[StreamName, IO[bytes]],
        captures: Mapping[StreamName, Capture],
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
