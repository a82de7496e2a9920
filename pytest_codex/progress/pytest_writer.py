"""What takes the place of the methods of pytest's terminal writer, through which all goes that it prints."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from codex_orchestrator.evidence.files import discard_writes
from codex_orchestrator.evidence.standard_streams import is_gone, wait_until_writable
from pytest_codex.progress.screen import OutputStream

if TYPE_CHECKING:
    from pytest_codex.progress.live import LiveScreen

# So much fits into an empty buffer whole, which then keeps what it could not pass on.
_PIECE = io.DEFAULT_BUFFER_SIZE // 4
_COMMAND = "\x1b]"
_REWRITTEN = "\r"


class PatientWriter:
    """Has pytest's own words wait for a reader that is slow, and drops them where the reader is gone.

    Without it a reader that goes away ends the session with an internal error, and so does one that is slow
    where writing to it does not wait (docs/reference/command-line.md, "What is shown").
    """

    def __init__(self, writer: Any) -> None:
        """Replace the writer's methods by those of this object.

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
            discard_writes(self._stream.fileno())
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


class LinesAboveView:
    """Prints what pytest and its plugins say above a live view instead of in it."""

    def __init__(self, writer: Any, screen: LiveScreen) -> None:
        """Replace the writer's methods by those of this object.

        Args:
            writer: pytest's terminal writer.
            screen: The view.
        """
        self._write_raw = writer.write_raw
        self._screen = screen
        self._rest = ""
        self._is_open = False
        screen.before_drawing = self._end_line
        writer.write_raw = self.write

    def write(self, text: str, *, flush: bool = False) -> None:
        """Print it as ever, or, while there is a view, whole lines above it."""
        if text.startswith(_COMMAND):
            self._write_raw(text, flush=flush)  # For the terminal itself; nothing of it is shown.
            return
        if not self._screen.is_drawn:
            # A line that counts up and was never ended has nothing more to say.
            text = f"{'' if self._rest.startswith(_REWRITTEN) else self._rest}{text}"
            self._is_open = not text.endswith("\n") if text else self._is_open
            self._rest = ""
            self._write_raw(text, flush=flush)
            return
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            # What was written over is gone.
            self._screen.say_as_it_is(line.rpartition(_REWRITTEN)[2])

    def _end_line(self) -> None:
        """The view begins on a line of its own."""
        if self._is_open:
            self._write_raw("\n", flush=True)
            self._is_open = False


class LineStarts:
    """Records whether pytest has ended its last line, so that a line of ours begins a new one.

    What a stage prints can come at any time, also while pytest's own line stands open: after the name of
    an item with ``-v``, or after the count of workers that pytest-xdist writes over and over.
    """

    def __init__(self, writer: Any, out: OutputStream) -> None:
        """Replace the writer's methods by those of this object.

        Args:
            writer: pytest's terminal writer.
            out: What we write to.
        """
        self._write_raw = writer.write_raw
        self._output = out
        writer.write_raw = self.write

    def write(self, text: str, *, flush: bool = False) -> None:
        """Print it as ever, and at once: we do not write through its buffer."""
        if not text or text.startswith(_COMMAND):
            self._write_raw(text, flush=flush)  # For the terminal itself; nothing of it is shown.
            return
        with self._output.lock:
            self._write_raw(text, flush=True)
            self._output.is_open = not text.endswith("\n")
