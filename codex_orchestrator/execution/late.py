"""What processes that stages left running go on to write: read until the run's end, in a thread of its own.

So a server may serve later stages, though nobody waits for its stage any more
(docs/reference/event-logs.md, "Output").
"""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Callable
from contextlib import suppress

from codex_orchestrator.clock import Clock
from codex_orchestrator.execution.limits import has_room_above
from codex_orchestrator.execution.reading import OutputReader
from codex_orchestrator.model.exec_events import ExecEvent

Sink = Callable[[ExecEvent], None]


class LateOutput:
    """Reads on where the ends of stages left off.

    Attributes:
        sink: Takes the events; it is called in the thread that reads.
        warnings: What is not read, and why.
    """

    def __init__(self, sink: Sink, clock: Clock) -> None:
        """Nothing was left yet, and no thread is there.

        Args:
            sink: Takes the events.
            clock: Time.
        """
        self.sink = sink
        self.warnings: list[str] = []
        self._clock = clock
        self._lock = threading.Lock()
        # By the index of its stage, what is read once the stage has said its last word.
        self._left: dict[int, OutputReader] = {}
        self._coming: list[OutputReader] = []
        self._thread: threading.Thread | None = None
        self._wake: int | None = None
        self._over = False
        self._error: BaseException | None = None

    def leave(self, index: int, stage_id: str, reader: OutputReader) -> None:
        """An attempt has ended, and its pipes are still open; called in any thread."""
        if not has_room_above(max(reader.descriptors)):
            reader.end()
            self.warnings.append(
                f"What stage '{stage_id}' left running is not read any more: too many files are open."
            )
            return
        with self._lock:
            self._left[index] = reader

    def read_on(self, index: int) -> None:
        """A stage's end is recorded: what it left is read from now on, so that the log keeps its order."""
        with self._lock:
            reader = self._left.pop(index, None)
            if reader is None:
                return
            if self._error is not None:
                reader.close()
                return
            self._coming.append(reader)
        if self._thread is None:
            woken, self._wake = os.pipe()
            os.set_blocking(woken, False)
            os.set_blocking(self._wake, False)
            self._thread = threading.Thread(target=self._run, args=(woken,), name="late output", daemon=True)
            self._thread.start()
        self._tell()

    def finish(self) -> None:
        """Read what is there, and close: nothing of the run is running any more.

        Raises:
            Exception: What the sink has raised; from then on nothing was read.
        """
        with self._lock:
            self._over = True
            never_read, self._left = list(self._left.values()), {}
        for reader in never_read:
            reader.end()
        if self._thread is not None and self._wake is not None:
            self._tell()
            self._thread.join()
            os.close(self._wake)
            self._thread = self._wake = None
        if self._error is not None:
            raise self._error

    def _tell(self) -> None:
        if self._wake is not None:
            # One byte is as good as many, and a thread that is gone has left its error.
            with suppress(BlockingIOError, BrokenPipeError):
                os.write(self._wake, b"\0")

    # The thread.

    def _run(self, woken: int) -> None:
        readers: list[OutputReader] = []
        with selectors.DefaultSelector() as selector:
            selector.register(woken, selectors.EVENT_READ, lambda: os.read(woken, 64))
            try:
                while not self._over:
                    self._step(selector, readers)
                readers += self._arrived()
                for reader in readers:
                    reader.end()
            except BaseException as error:  # noqa: BLE001 - `finish` raises it, where somebody hears it
                with self._lock:
                    self._error = error
                for reader in [*readers, *self._arrived()]:
                    reader.close()
        os.close(woken)

    def _step(self, selector: selectors.BaseSelector, readers: list[OutputReader]) -> None:
        for reader in self._arrived():
            reader.wait_with(selector)
            readers.append(reader)
        dues = [reader.due for reader in readers if reader.due is not None]
        timeout = max(0.0, min(dues) - self._clock.monotonic()) if dues else None
        for key, _ in selector.select(timeout):
            key.data()
        for reader in readers:
            reader.expire()
        readers[:] = [reader for reader in readers if reader.is_open]

    def _arrived(self) -> list[OutputReader]:
        with self._lock:
            arrived, self._coming = self._coming, []
        return arrived
