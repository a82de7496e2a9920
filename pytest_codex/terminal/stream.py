"""What stages print, while they run, each line with the name of its stage before it."""

from __future__ import annotations

from codex_orchestrator.text import one_line

# A line that never ends is shown in pieces rather than kept for ever.
_LONGEST = 65_536


class Prefixer:
    """Pieces of output to whole lines, each with its stage's name."""

    def __init__(self, *, colour: bool) -> None:
        """Nothing was printed yet.

        Args:
            colour: Whether colours of stages are shown.
        """
        self._colour = colour
        self._rest: dict[tuple[str, str], str] = {}

    def feed(self, name: str, stream: str, text: str) -> str:
        """The lines that a piece of output ends; empty where it ends none.

        Args:
            name: The stage.
            stream: ``stdout`` or ``stderr``; a line is of one of them.
            text: The piece.
        """
        *whole, rest = (self._rest.pop((name, stream), "") + text).split("\n")
        if len(rest) >= _LONGEST:
            whole, rest = [*whole, rest], ""
        if rest:
            self._rest[name, stream] = rest
        return "".join(self._line(name, line) for line in whole)

    def flush(self, name: str) -> str:
        """What a stage has printed without ending the line."""
        rests = [self._rest.pop((name, stream), "") for stream in ("stdout", "stderr")]
        return "".join(self._line(name, rest) for rest in rests if rest)

    def _line(self, name: str, line: str) -> str:
        return f"{name} | {one_line(line, colour=self._colour)}\n"
