"""How whatever runs is asked to end: by signals, by whoever cancels, and by SIGKILL where that is not heeded.

What SIGHUP, SIGINT and SIGTERM mean is in docs/reference/command-line.md, "Signals".
"""

from __future__ import annotations

import os
import selectors
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
# Selectors refuse to wait for weeks at once.
_LONGEST_WAIT_SECONDS = 3_600.0


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; ``SIG64`` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


@contextmanager
def caught(
    react: Callable[[int], object],
    *numbers: int,
    waker: int | None = None,
    left_ignored: Collection[int] = (signal.SIGHUP,),
) -> Iterator[None]:
    """Have ``react`` hear of each signal instead of what was set before, which is put back afterwards.

    Args:
        react: Told the signal's number.
        numbers: The signals; all three where none is given.
        waker: A descriptor that is written to with each signal, or None. Python calls ``react`` between
            two of its own steps, so a wait that begins just after a signal has to be ended by that.
        left_ignored: Those that stay ignored where they are, for this process and what it starts; a hang-up
            is ignored by nohup.

    Only the main thread may set handlers; a session in another one keeps those it has.
    """

    def handler(number: int, _frame: FrameType | None) -> None:
        react(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignored = {number for number in left_ignored if signal.getsignal(number) is signal.SIG_IGN}
    heard = [number for number in numbers or SIGNALS if number not in ignored]
    previous = {number: signal.signal(number, handler) for number in heard}
    waker_before = None if waker is None else signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    try:
        yield
    finally:
        if waker_before is not None:
            signal.set_wakeup_fd(waker_before)
        for number, before in previous.items():
            signal.signal(number, before)


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


class Escalation:
    """A grace period by the monotonic clock, given again while somebody who ends others needs it.

    Attributes:
        due: When the grace is over; None while nobody was asked to end, and once SIGKILL is due.
    """

    def __init__(self, grace_seconds: float, *, extensions: int) -> None:
        """Nobody was asked yet.

        Args:
            grace_seconds: How long whoever was asked to end has for it.
            extensions: How often the grace is given once more to those that need it.
        """
        self.due: float | None = None
        self._grace = grace_seconds
        self._extensions = extensions

    def begin(self, now: float) -> None:
        """Somebody was asked to end."""
        self.due = now + self._grace

    def is_over(self, now: float) -> bool:
        """Whether the grace is over, so that `kills` has to be asked."""
        return self.due is not None and now >= self.due

    def kills(self, now: float, *, needs_longer: bool) -> bool:
        """Whether it is time for SIGKILL, which is said once.

        Args:
            now: By the clock that `begin` was told.
            needs_longer: Whether somebody is among them who may be about to do the same to others.
        """
        if not self.is_over(now):
            return False
        if self._extensions and needs_longer:
            self._extensions -= 1
            self.due = now + self._grace
            return False
        self.due = None
        return True
