"""Has pytest's own words wait for a reader that is slow, and do without one that is gone."""

from __future__ import annotations

import io
import sys
from typing import Any

from codex_orchestrator.evidence.files import lead_nowhere
from codex_orchestrator.evidence.output import is_gone, wait_until_writable

# So much fits into an empty buffer whole, which then keeps what it could not pass on.
_PIECE = io.DEFAULT_BUFFER_SIZE // 4


class Patience:
    """In the place of a terminal writer's ``write_raw`` and ``flush``.

    Else a reader that goes away ends the session with an internal error, and one that is slow does so
    where writing to it does not wait (docs/reference/command-line.md, "What is shown").
    """

    def __init__(self, writer: Any) -> None:
        """Take its place.

        Args:
            writer: pytest's terminal writer, on standard output.
        """
        self._write_raw = writer.write_raw
        self._flush = writer.flush
        self._stream = sys.stdout
        self._is_read = True
        writer.write_raw, writer.flush = self.write, self.flush

    def write(self, text: str, *, flush: bool = False) -> None:  # noqa: ARG002
        """Print it piece by piece, as far as somebody reads."""
        for start in range(0, len(text), _PIECE):
            if self._is_read:
                self._patiently(lambda start=start: self._write_raw(text[start : start + _PIECE]))
                self.flush()

    def flush(self) -> None:
        """Have it all printed."""
        while self._is_read and self._patiently(self._flush):
            pass

    def forget(self) -> None:
        """Let nothing be left for a reader who is gone: at its end the process would fail to write it."""
        if not self._is_read:
            lead_nowhere(self._stream.fileno())
            self._stream.flush()

    def _patiently(self, act: Any) -> bool:
        """Do something with the stream; whether it has to be done again."""
        try:
            act()
        except BlockingIOError:
            wait_until_writable(self._stream.fileno())
            return True
        except OSError as error:
            if not is_gone(error):
                raise
            self._is_read = False
            self.forget()
        return False
