"""Lines one below the other: for pipes, files, CI and terminals that can do no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pytest_codex.progress.lines import coloured
from pytest_codex.progress.output import Paper


class Screen(Protocol):
    """Where progress is shown."""

    @property
    def is_drawn(self) -> bool:
        """Whether something is on it that lines must not be printed into."""
        ...

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line that stays; in any thread."""
        ...

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show how stages stand, for as long as they run."""
        ...

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to somebody else for a while."""
        ...


class PlainScreen:
    """Lines, and nothing else."""

    is_drawn = False

    def __init__(self, paper: Paper, *, colour: bool) -> None:
        """Print to a paper, in colour or not."""
        self._paper = paper
        self._colour = colour

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line."""
        self._paper.write(f"{coloured(text, style) if self._colour and style else text}\n")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Nothing but lines is ever shown."""
        yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is in anybody's way."""
        yield
