"""A request to stop, from a signal handler to the loop that waits for a stage."""

from __future__ import annotations

import os
import selectors
import signal
from contextlib import suppress

from .process import signal_name

# Selectors refuse to wait for weeks at once.
_LONGEST_WAIT_SECONDS = 3_600.0


class Cancellation:
    """Remembers the first signal, wakes whoever waits, and counts how often it was asked."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.number: int | None = None
        self.requests = 0

    @property
    def requested(self) -> bool:
        """Whether anyone asked."""
        return self.number is not None

    @property
    def signal_name(self) -> str:
        """The name of the signal that asked first; empty where none did."""
        return signal_name(self.number) if self.number is not None else ""

    def request(self, number: int) -> None:
        """Ask, with a signal's number; safe to call from a signal handler."""
        if self.number is None:
            self.number = number
        elif number == signal.SIGHUP:
            return  # Shell and kernel both tell of one and the same hang-up.
        self.requests += 1
        with suppress(OSError):
            os.write(self._writer, b"\0")

    def fileno(self) -> int:
        """Readable once someone has asked."""
        return self._reader

    def wait(self, seconds: float) -> bool:
        """Wait that long, or until someone asks; whether someone has."""
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            while seconds > 0 and not self.requested:
                selector.select(min(seconds, _LONGEST_WAIT_SECONDS))
                seconds -= _LONGEST_WAIT_SECONDS
        return self.requested

    def drain(self) -> None:
        """Take the wake-up, so that waiting on `fileno` waits again."""
        with suppress(BlockingIOError):
            os.read(self._reader, 64)

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._reader)
        os.close(self._writer)
