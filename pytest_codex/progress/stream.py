"""What stages print, while they run, each line with the name of its stage before it."""

from __future__ import annotations

from codex_orchestrator.text import WholeLines, one_line


class Prefixer:
    """Pieces of output to whole lines, each with its stage's name."""

    def __init__(self, *, colour: bool) -> None:
        """Nothing was printed yet.

        Args:
            colour: Whether colours of stages are shown.
        """
        self._colour = colour
        self._lines = WholeLines()

    def feed(self, name: str, stream: str, text: str) -> str:
        """The lines that a piece of output ends; empty where it ends none.

        Args:
            name: The stage.
            stream: ``stdout`` or ``stderr``; a line is of one of them.
            text: The piece.
        """
        return "".join(self._line(name, line) for line in self._lines.feed((name, stream), text))

    def flush(self, name: str) -> str:
        """What a stage has printed without ending the line."""
        rests = [rest for stream in ("stdout", "stderr") for rest in self._lines.flush((name, stream))]
        return "".join(self._line(name, rest) for rest in rests)

    def _line(self, name: str, line: str) -> str:
        return f"{name} | {one_line(line, colour=self._colour)}\n"
