"""A request to stop, from a signal handler to whatever waits for stages."""

from __future__ import annotations

import os
import selectors
import signal
from contextlib import suppress

from codex_orchestrator.execution.process import signal_name

# Selectors refuse to wait for weeks at once.
_LONGEST_WAIT_SECONDS = 3_600.0


class Cancellation:
    """Remembers the first request, wakes whoever waits, and counts how often it was asked.

    Attributes:
        number: The signal that stages are to be ended with, or None while nobody has asked.
        by: What asked: the signal's name, unless another was given; empty while nobody has asked.
        requests: How often it was asked.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.number: int | None = None
        self.by = ""
        self.requests = 0
        self._branches: list[Cancellation] = []

    def branch(self) -> Cancellation:
        """One for a single stage: it hears of whatever is asked here, and can be asked by itself.

        Whoever waits takes the wake-up with it, so several that wait at once each need their own.
        """
        branch = Cancellation()
        self._branches.append(branch)
        if self.number is not None:
            branch.request(self.number, self.by)
        return branch

    def prune(self, branch: Cancellation) -> None:
        """Close a branch whose stage has ended."""
        self._branches.remove(branch)
        branch.close()

    @property
    def requested(self) -> bool:
        """Whether anyone asked."""
        return self.number is not None

    def request(self, number: int, by: str | None = None) -> None:
        """Ask; safe to call from a signal handler.

        Args:
            number: The signal to end stages with.
            by: What asks, where it is not that signal.
        """
        for branch in list(self._branches):
            branch.request(number, by)
        if self.number is None:
            self.by = by or signal_name(number)
            self.number = number
        elif number == signal.SIGHUP:
            return  # Shell and kernel both tell of one and the same hang-up.
        self.requests += 1
        with suppress(OSError):
            os.write(self._writer, b"\0")

    @property
    def waker(self) -> int:
        """What to write a byte to, to have whoever waits look at who has asked; it never blocks."""
        return self._writer

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
