"""SIGHUP, SIGINT and SIGTERM for as long as a run lasts (docs/reference/command-line.md, "Signals")."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@contextmanager
def caught(react: Callable[[int], None], *numbers: int, waker: int | None = None) -> Iterator[None]:
    """Have ``react`` hear of each signal instead of what was set before, which is put back afterwards.

    Args:
        react: Told the signal's number.
        numbers: The signals; all three where none is given.
        waker: A descriptor that is written to with each signal, or None. Python calls ``react`` between
            two of its own steps, so a wait that begins just after a signal has to be ended by that.

    Only the main thread may set handlers; a session in another one keeps those it has. A hang-up that is
    ignored (nohup) stays so.
    """

    def handler(number: int, _frame: FrameType | None) -> None:
        react(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    heard = [number for number in numbers or _SIGNALS if number != signal.SIGHUP or not nohup]
    previous = {number: signal.signal(number, handler) for number in heard}
    waker_before = None if waker is None else signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    try:
        yield
    finally:
        if waker_before is not None:
            signal.set_wakeup_fd(waker_before)
        for number, before in previous.items():
            signal.signal(number, before)
