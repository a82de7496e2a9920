"""Has lines of ours begin where pytest and its plugins have ended theirs."""

from __future__ import annotations

from typing import Any

from pytest_codex.progress.output import Paper

_COMMAND = "\x1b]"


class Beside:
    """In the place of a terminal writer's ``write_raw``, through which all goes that it prints.

    What a stage prints can come at any time, also while pytest's own line stands open: after the name of
    an item with ``-v``, or after the count of workers that pytest-xdist writes over and over.
    """

    def __init__(self, writer: Any, paper: Paper) -> None:
        """Take its place.

        Args:
            writer: pytest's terminal writer.
            paper: What we write to.
        """
        self._write_raw = writer.write_raw
        self._paper = paper
        writer.write_raw = self.write

    def write(self, text: str, *, flush: bool = False) -> None:
        """Print it as ever, and at once: we do not write through its buffer."""
        if not text or text.startswith(_COMMAND):
            self._write_raw(text, flush=flush)  # For the terminal itself; nothing of it is shown.
            return
        with self._paper.lock:
            self._write_raw(text, flush=True)
            self._paper.is_open = not text.endswith("\n")
