"""Frames on their way from one thread to another, which waits for them with a selector."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress

from codex_orchestrator.engine.cloud.frames import Frame

# What may have come and is not taken up yet; above that, nothing more is asked for.
_MOST_BYTES = 2 << 20


class Arrivals:
    """What has come and is not taken up yet.

    Attributes:
        is_closed: Whether nobody will take up anything any more.
    """

    def __init__(self) -> None:
        """Nothing has come."""
        self.is_closed = False
        self._lock = threading.Lock()
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)

    @property
    def room(self) -> int:
        """How many bytes may come."""
        return max(0, _MOST_BYTES - self._bytes)

    def fileno(self) -> int:
        """Readable when something has come, or `wake` was called."""
        return self._woken

    def put(self, frame: Frame) -> None:
        """Something has come; called in any thread."""
        with self._lock:
            if not self.is_closed:
                self._frames.append(frame)
                self._bytes += len(frame.payload)
        self.wake()

    def wake(self) -> None:
        """Have whoever waits look; called in any thread."""
        with self._lock:
            if not self.is_closed:
                # One byte is as good as many.
                with suppress(BlockingIOError):
                    os.write(self._waker, b"\0")

    def drain(self) -> None:
        """Take the wake-up, so that waiting waits again."""
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def take(self) -> Frame | None:
        """The next frame; None where there is none by now."""
        with self._lock:
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._bytes -= len(frame.payload)
            return frame

    def close(self) -> None:
        """Take up nothing any more."""
        with self._lock:
            if not self.is_closed:
                self.is_closed = True
                self._frames.clear()
                self._bytes = 0
                os.close(self._woken)
                os.close(self._waker)
