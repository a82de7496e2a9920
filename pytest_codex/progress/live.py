"""One view of all stages at the bottom of a terminal, redrawn several times a second.

rich draws it in a thread of its own, from the board that the main thread writes. Lines that stay are
printed above it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TextIO, cast

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from codex_orchestrator.clock import Clock
from codex_orchestrator.execution.signals import caught
from codex_orchestrator.text import last_line
from pytest_codex.progress.board import Board, StageProgress, StageState, arrange, stages_of
from pytest_codex.progress.lines import STYLES, counted, elapsed, ended, running_for, waiting
from pytest_codex.progress.screen import OutputStream, PlainScreen

_PER_SECOND = 8
_BAR_WIDTH = 20
# A line for the whole, one for the cursor, and one more so that what was said last stays in sight.
_OTHER_LINES = 3


class LiveScreen:
    """The live view while stages run; plain lines before, after and while paused.

    Attributes:
        is_drawn: Whether it is on the terminal right now.
        before_drawing: Called before it is put there.
    """

    def __init__(
        self, out: OutputStream, board: Board, clock: Clock, *, colour: bool, redirect: bool
    ) -> None:
        """Nothing is drawn yet.

        Args:
            out: A terminal.
            board: What to show.
            clock: Time.
            colour: Whether to use colours.
            redirect: Whether what is printed to stdout and stderr meanwhile is to appear above the view.
        """
        self.is_drawn = False
        self.before_drawing: Callable[[], None] = lambda: None
        self._output = out
        self._board = board
        self._clock = clock
        self._redirect = redirect
        self._plain = PlainScreen(out, colour=colour)
        self._console = _Terminal(out, colour=colour)
        self._live: Live | None = None
        self._since = 0.0

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line above the view."""
        if self.is_drawn:
            self._console.print(Text(text, style=style or ""), soft_wrap=True)
        else:
            self._plain.say(text, style)

    def say_as_it_is(self, text: str) -> None:
        """Print lines, which may have colours of their own, above the view."""
        self._console.print(Text.from_ansi(text), soft_wrap=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw it until the stages are done."""
        self._since = self._clock.monotonic()
        with caught(lambda _number: self._suspend(), signal.SIGTSTP):
            self._draw()
            try:
                yield
            finally:
                self._erase()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Remove the view and show the cursor while somebody else uses the terminal."""
        was_drawn = self.is_drawn
        self._erase()
        try:
            yield
        finally:
            if was_drawn:
                self._draw()

    def _suspend(self) -> None:
        """Stop as any program does on Ctrl-Z, with a clean terminal; in the background there is no view."""
        was_drawn = self.is_drawn
        self._erase()
        with caught(lambda _number: None, signal.SIGTSTP):
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTSTP)
        if was_drawn and self._output.is_terminal:
            self._draw()

    def _draw(self) -> None:
        if self.is_drawn:
            return
        self.before_drawing()
        # A new one each time: rich would go back up over what was printed meanwhile.
        self._live = Live(
            console=self._console,
            get_renderable=self._frame,
            refresh_per_second=_PER_SECOND,
            transient=True,
            vertical_overflow="crop",
            redirect_stdout=self._redirect,
            # Whoever has sent it elsewhere wants it there.
            redirect_stderr=self._redirect and _is_terminal(sys.stderr),
        )
        self._live.start(refresh=True)
        self.is_drawn = True

    def _erase(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live, self.is_drawn = None, False

    def _frame(self) -> Group:
        now = self._clock.monotonic()
        stages = self._board.stages
        view = arrange(stages, max(self._console.size.height - _OTHER_LINES, 1))
        rows = [self._row(stage, now) for stage in view.shown]
        if view.folded:
            rows.append(Text(f"… {counted(view.folded)}", style="dim"))
        rows.append(Text(progress_line(stages, now - self._since), style="bold"))
        overflow = "ellipsis" if self._output.encoding.lower().startswith("utf") else "crop"
        for row in rows:
            row.no_wrap, row.overflow = True, overflow  # type: ignore[assignment]
        return Group(*rows)

    def _row(self, stage: StageProgress, now: float) -> Text:
        if stage.state == "running":
            last = last_line(stage.tail)
            return Text.assemble((running_for(stage, now), "cyan"), f"  {last}" if last else "")
        if stage.state == "waiting":
            return Text(waiting(stage), style="dim")
        return Text(ended(stage), style=STYLES[stage.state])


def progress_line(stages: tuple[StageProgress, ...], seconds: float) -> str:
    """``[#####---------------] 2 of 8 done, 1 failed, 3 running, 42 s``."""
    shown: tuple[StageState, ...] = ("failed", "running")
    counts = [(len(found), state) for state in shown if (found := stages_of(stages, state))]
    done = sum(stage.ended is not None for stage in stages)
    filled = _BAR_WIDTH * done // max(len(stages), 1)
    words = [f"{done} of {len(stages)} done", *([counted(counts)] if counts else []), elapsed(seconds)]
    return f"[{'#' * filled}{'-' * (_BAR_WIDTH - filled)}] {', '.join(words)}"


def _is_terminal(stream: TextIO | None) -> bool:
    # A program that is started without one of them has None in its place.
    return stream is not None and not stream.closed and stream.isatty()


class _Terminal(Console):
    """A console on an output stream, whose size is that of the terminal at each moment."""

    def __init__(self, out: OutputStream, *, colour: bool) -> None:
        self._output = out
        super().__init__(
            file=cast("IO[str]", _OutputFile(out)),
            force_terminal=True,
            force_jupyter=False,
            # None is also without bold and dim, which are no colours but look like one.
            color_system="standard" if colour else None,
            highlight=False,
            markup=False,
            emoji=False,
        )

    @property
    def size(self) -> ConsoleDimensions:
        """Asked for anew for each frame; the last column stays free, where terminals differ."""
        columns, lines = self._output.size
        return ConsoleDimensions(max(columns - 1, 1), lines)

    @size.setter
    def size(self, _size: tuple[int, int]) -> None:
        raise AttributeError("the size is the terminal's")


class _OutputFile:
    """an output stream as rich wants it: rich would end the process where a pipe is broken."""

    def __init__(self, out: OutputStream) -> None:
        self._output = out
        self.encoding = out.encoding

    def write(self, text: str) -> int:
        self._output.write(text)
        return len(text)

    def flush(self) -> None:
        """Written is written."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._output.descriptor is None:
            raise OSError("no file")
        return self._output.descriptor
