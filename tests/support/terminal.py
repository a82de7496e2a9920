"""A terminal for tests: a command runs on it as a person would run it, and what it shows can be read."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import commands
from .processes import DEADLINE_SECONDS

_SEQUENCE = re.compile(
    r"\x1b\[(?P<numbers>[?0-9;]*)(?P<final>[@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\r\n\b\a]"
)


class Screen:
    """What a terminal shows of what was written to it, scrolled lines included."""

    def __init__(self, columns: int) -> None:
        self.lines: list[str] = [""]
        self.cursor_shown = True
        self._columns = columns
        self._row = self._column = 0

    def feed(self, text: str) -> Screen:
        """Show some more."""
        place = 0
        for match in _SEQUENCE.finditer(text):
            self._print(text[place : match.start()])
            place = match.end()
            self._obey(match)
        self._print(text[place:])
        return self

    @property
    def text(self) -> str:
        """All lines, without blanks at their ends."""
        return "\n".join(line.rstrip() for line in self.lines)

    def _print(self, text: str) -> None:
        for character in text:
            if self._column >= self._columns:
                self._column = 0
                self._down()
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self.lines):
            self.lines.append("")

    def _obey(self, match: re.Match[str]) -> None:
        numbers, final = match["numbers"] or "", match["final"]
        if match[0] == "\n":
            self._down()
        elif match[0] == "\r":
            self._column = 0
        elif match[0] == "\b":
            self._column = max(self._column - 1, 0)
        elif final == "A":
            self._row = max(self._row - int(numbers or 1), 0)
        elif final == "K":
            line = self.lines[self._row]
            self.lines[self._row] = "" if numbers == "2" else line[: self._column]
        elif numbers == "?25" and final in "hl":
            self.cursor_shown = final == "h"
        elif final is not None and final != "m":
            raise AssertionError(f"a sequence that this screen does not know: {match[0]!r}")


class Terminal:
    """A command on a terminal of its own."""

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        environment: dict[str, str],
        *,
        columns: int = 100,
        rows: int = 24,
    ) -> None:
        self._columns = columns
        self._controller, inside = pty.openpty()
        self.resize(columns, rows)
        self._seen = b""
        self.process = commands.begin_on_terminal(command, cwd=cwd, env=environment, terminal=inside)
        os.close(inside)

    def resize(self, columns: int, rows: int) -> None:
        """Give it another size."""
        fcntl.ioctl(self._controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def text(self) -> str:
        """All that was written to it."""
        return self._seen.decode("utf-8", "replace")

    @property
    def screen(self) -> Screen:
        """What it shows."""
        return Screen(self._columns).feed(self.text)

    def shows(self, text: str, *, since: int = 0) -> None:
        """Wait until it is written to it, after so many characters."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.text[since:]:
            assert self._read(deadline), f"waited in vain for {text!r}:\n{self.text}"

    def until(self, condition: Callable[[Screen], object]) -> None:
        """Wait until what it shows is so."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition(self.screen):
            assert self._read(deadline), f"waited in vain:\n{self.screen.text}"

    def types(self, text: str) -> None:
        """Press keys."""
        os.write(self._controller, os.fsencode(text))

    def finish(self) -> int:
        """Wait for its end: the exit code."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(DEADLINE_SECONDS)

    def hangs_up(self) -> int:
        """Take the terminal away, and wait for the end: the exit code."""
        os.close(self._controller)
        self._controller = os.open(os.devnull, os.O_RDONLY)
        return self.process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        """End what is left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(DEADLINE_SECONDS)
        os.close(self._controller)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._controller], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._controller, 65_536)
        except OSError:
            return False  # Nobody has the other end any more.
        self._seen += data
        return bool(data)
