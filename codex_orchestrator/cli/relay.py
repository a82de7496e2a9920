"""Passes a command's output on through the privacy guard (docs/reference/privacy.md, "Where it looks")."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from codex_orchestrator.clock import Clock
from codex_orchestrator.evidence.standard_streams import write_all

if TYPE_CHECKING:
    from codex_orchestrator.privacy.stream import StreamGuard

_READ_BYTES = 65_536
_POLL_SECONDS = 0.05
# What goes on printing once its command has ended is heard for so long.
_FAREWELL_SECONDS = 1.0


@contextmanager
def relayed(target: int, guard: StreamGuard, clock: Clock) -> Iterator[int]:
    """A descriptor to print to; its output goes on to ``target`` without secrets, until the context ends."""
    reading, writing = os.pipe()
    over = threading.Event()
    thread = threading.Thread(target=_relay, args=(reading, target, guard, clock, over), daemon=True)
    thread.start()
    try:
        yield writing
    finally:
        os.close(writing)
        thread.join(_FAREWELL_SECONDS)
        over.set()
        thread.join()
        os.close(reading)


def _relay(reading: int, target: int, guard: StreamGuard, clock: Clock, over: threading.Event) -> None:
    while not over.is_set():
        ready, _, _ = select.select([reading], [], [], _POLL_SECONDS)
        data = os.read(reading, _READ_BYTES) if ready else b""
        now = clock.monotonic()
        passed = guard.feed(data, now) if data else b""
        if not data and guard.due is not None and guard.due <= now:
            passed = guard.flush()
        _write(target, passed)
        if ready and not data:
            break
    _write(target, guard.flush())


def _write(target: int, data: bytes) -> None:
    # Where nobody reads any more, the command still runs to its end.
    with suppress(OSError):
        write_all(target, data)
