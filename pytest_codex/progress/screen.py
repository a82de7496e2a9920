"""Where progress is shown: the interface, and the plain lines used for pipes, files and CI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pytest_codex.progress.lines import coloured
from pytest_codex.progress.output_stream import OutputStream


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
