"""Where progress goes, and in which forms: the stream written to, and the screen of plain lines.

A reader that has gone away ends no run. Plain lines are for pipes, files, CI and plain terminals.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Protocol, TextIO

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.evidence.standard_streams import write_all
from pytest_codex.progress.lines import coloured

_NO = ("", "0", "false")
_FALLBACK = (80, 24)


@dataclass(frozen=True)
class DisplayOptions:
    """Which forms of progress are shown.

    Attributes:
        live: One view of all stages, redrawn several times a second.
        lines: A line as each stage starts and ends.
        heartbeats: A line for a stage that is silent.
        stream: What stages print, while they run.
        groups: What a stage has printed as a group of a GitHub log, when it has ended.
        github: Annotations and a step summary.
    """

    live: bool = False
    lines: bool = False
    heartbeats: bool = False
    stream: bool = False
    groups: bool = False
    github: bool = False

    @property
    def guarded(self) -> bool:
        """Whether all that is printed while stages run is lines of ours, none of them a workflow command."""
        return self.lines and not self.stream

    @property
    def needs_output(self) -> bool:
        """Whether any output of stages is shown, or kept to be shown."""
        return self.live or self.heartbeats or self.stream or self.groups


def choose_display(
    variables: Mapping[str, str], *, terminal: bool, verbosity: int, stream: bool
) -> DisplayOptions:
    """Choose the forms of progress.

    Args:
        variables: The environment.
        terminal: Whether a person watches on a terminal, in whose foreground we are.
        verbosity: Below 0 failures and the end are all that is wanted; above 0 pytest names the stages.
        stream: Whether output is wanted as it comes.
    """
    github = variables.get("GITHUB_ACTIONS") == "true"
    if verbosity < 0:
        return DisplayOptions(stream=stream, github=github)
    in_ci = github or variables.get("CI", "").lower() not in _NO
    able = terminal and variables.get("TERM", "dumb") != "dumb" and not in_ci
    live = able and verbosity == 0 and not stream
    return DisplayOptions(
        live=live,
        lines=verbosity == 0,
        heartbeats=not live,
        stream=stream,
        groups=github and not stream,
        github=github,
    )


class OutputStream:
    """A stream that any thread writes to, without buffering.

    Under pytest the command of a stage runs while file descriptor 1 is captured; a descriptor of its
    own, made before, goes to where pytest itself prints.

    Attributes:
        is_open: Whether somebody else has left a line without its end, which a text of ours then ends.
        lock: Held while anything is written.
    """

    def __init__(self, stream: TextIO, *, own: bool = False) -> None:
        """Take what the stream writes to.

        Args:
            stream: Where lines go; one that is no file is written to itself.
            own: Whether its descriptor may mean something else at times, as under pytest's capture.
        """
        self.is_open = False
        self._stream = stream
        self._own = own
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._gone = False
        self.lock = threading.RLock()
        self._descriptor: int | None = None
        self.flush()
        with suppress(OSError, ValueError):
            descriptor = stream.fileno()
            self._descriptor = os.dup(descriptor) if own else descriptor

    @property
    def encoding(self) -> str:
        """The encoding of the text."""
        return self._encoding

    @property
    def descriptor(self) -> int | None:
        """The file descriptor written to, or None where the stream is no file."""
        return self._descriptor

    @property
    def is_terminal(self) -> bool:
        """Whether it is a terminal, and this process is in its foreground."""
        if self._descriptor is None or not os.isatty(self._descriptor):
            return False
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return True  # Not the terminal that this session's jobs are controlled from.

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal at this moment."""
        columns, lines = _FALLBACK
        with suppress(OSError):
            if self._descriptor is not None:
                columns, lines = os.get_terminal_size(self._descriptor)
        # A terminal that does not know its size says that it has none.
        return columns or _FALLBACK[0], lines or _FALLBACK[1]

    def flush(self) -> None:
        """Flush what others have printed to the stream; must not be called while pytest captures it."""
        if not self._gone:
            with suppress(OSError, ValueError):
                self._stream.flush()

    def write(self, text: str) -> None:
        """Write text; does nothing once the reader is gone."""
        with self.lock:
            if self._gone:
                return
            if self.is_open:
                text, self.is_open = f"\n{text}", False
            try:
                if self._descriptor is None:
                    self._stream.write(text)
                    self._stream.flush()
                else:
                    if not self._own:
                        self._stream.flush()
                    write_all(self._descriptor, text.encode(self._encoding, "backslashreplace"))
            except (OSError, ValueError):
                # Nobody watches any more; the run goes on, and what it says is on disk.
                self._gone = True

    def close(self) -> None:
        """Close the descriptor that was duplicated."""
        with self.lock:
            if self._own and self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor, self._gone = None, True


class Screen(Protocol):
    """Where progress is shown."""

    @property
    def is_drawn(self) -> bool:
        """Whether a live view is on it, which lines must not be printed into."""
        ...

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line that stays; in any thread."""
        ...

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the live view, if there is one, until the block ends."""
        ...

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Remove the live view, if there is one, until the block ends."""
        ...


class PlainScreen:
    """Lines, and nothing else."""

    is_drawn = False

    def __init__(self, out: OutputStream, *, colour: bool) -> None:
        """Print to a stream, in colour or not."""
        self._output = out
        self._colour = colour

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line."""
        self._output.write(f"{coloured(text, style) if self._colour and style else text}\n")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Do nothing: there is no live view."""
        yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do nothing: there is no live view."""
        yield
