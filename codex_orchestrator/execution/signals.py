"""SIGHUP, SIGINT and SIGTERM, while something lasts that they may not cut off.

What they mean is in docs/reference/command-line.md, "Signals".
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


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
