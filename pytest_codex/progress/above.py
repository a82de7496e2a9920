"""Has what pytest and its plugins print appear above a live view instead of in it."""

from __future__ import annotations

from typing import Any

from pytest_codex.progress.live import LiveScreen

_COMMAND = "\x1b]"
_REWRITTEN = "\r"


class Above:
    """In the place of a terminal writer's ``write_raw``, through which all goes that it prints."""

    def __init__(self, writer: Any, screen: LiveScreen) -> None:
        """Take its place.

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
