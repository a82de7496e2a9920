"""The only printer of the command line: documents, text and refusals.

All that commands print goes through here, so that no word of others moves a cursor, forges a line or, in
GitHub Actions, gives a command (docs/reference/command-line.md, "What is shown").
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from codex_orchestrator.environment import PRIVACY_GUARD, enforces
from codex_orchestrator.errors import InternalError, OrchestratorError
from codex_orchestrator.evidence import standard_streams
from codex_orchestrator.model.codec import dumps, dumps_line
from codex_orchestrator.text import harmless, printable, visible_json

_WIDE = 1_000


def emit_json(document: Any) -> None:
    """Print the one JSON document of a command."""
    sys.stdout.write(_spelled(dumps(document)))


def emit_json_line(document: Any) -> None:
    """Print one of several JSON documents, on a line of its own."""
    sys.stdout.write(_spelled(dumps_line(document)))


def emit_ndjson(line: bytes) -> None:
    """Print a line of an event log as it is."""
    sys.stdout.write(_spelled(line.decode("utf-8", "replace") + "\n"))


def _spelled(document: str) -> str:
    """JSON with escapes for control characters, and in ASCII where stdout is not UTF-8."""
    document = visible_json(document)
    encoding = (sys.stdout.encoding or "utf-8").lower().replace("-", "")
    if encoding == "utf8" or document.isascii():
        return document
    # Outside of strings JSON is ASCII, so an escape can stand for any character that is not.
    return "".join(
        character if character.isascii() else json.dumps(character)[1:-1] for character in document
    )


def emit(text: str) -> None:
    """Print text whose line ends are ours, with a newline at its end."""
    emit_lines(text.removesuffix("\n").split("\n"))


def emit_lines(lines: Iterable[str]) -> None:
    """Print lines, each of which stays one whatever is in it."""
    sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))


def is_read() -> bool:
    """Whether standard output still has a reader."""
    return standard_streams.is_read(sys.stdout)


class Output:
    """Prints output of stages piece by piece; the caller has removed what moves the cursor."""

    def __init__(self) -> None:
        self._open = ""

    def emit(self, text: str) -> None:
        """Print a piece, which may end within a line; in GitHub Actions only whole lines are printed."""
        if _on_github():
            *whole, self._open = (self._open + text).split("\n")
            text = "".join(f"{harmless(line)}\n" for line in whole)
        sys.stdout.write(text)

    def flush(self) -> None:
        """Print the last line, if it was left without an end."""
        sys.stdout.write(harmless(self._open))
        self._open = ""


def tell(lines: Iterable[str]) -> None:
    """Print lines on stderr, without secrets where the environment enables the privacy guard."""
    scrub = _scrub()
    sys.stderr.write("".join(f"{shown(scrub(line))}\n" for line in lines))


def shown(line: str) -> str:
    """A line made safe to print: without control characters, and in GitHub Actions without commands."""
    return harmless(printable(line)) if _on_github() else printable(line)


def _on_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _scrub() -> Callable[[str], str]:
    """The function that removes secrets from text that no run's guard has seen."""
    if not enforces(os.environ, PRIVACY_GUARD):
        return str
    from codex_orchestrator.privacy.guard import PrivacyGuard

    return PrivacyGuard.of_variables(os.environ).scrub


def emit_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns; on a terminal that wants colour, as a table."""
    if wants_colour(sys.stdout, os.environ):
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*header, box=None, pad_edge=False)
        for row in rows:
            # As text, or names in brackets would be taken for markup.
            table.add_row(*(Text(shown(cell)) for cell in row))
        # Ids must stay whole: what is wider than the terminal is left to the terminal to wrap.
        Console(file=sys.stdout, width=_WIDE).print(table)
        return
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        emit_lines(["  ".join(cells).rstrip()])


def refuse(error: OrchestratorError, *, as_json: bool) -> None:
    """Say why a command was refused: on stderr, and as JSON on stdout where JSON was asked for."""
    if isinstance(error, InternalError):
        tell([*error.report.splitlines(), ""])
    tell([f"error: {error.lines[0]}", *error.lines[1:]])
    if as_json:
        scrub = _scrub()
        hint = None if error.hint is None else scrub(error.hint)
        emit_json({"error": {"code": error.code, "message": scrub(error.message), "hint": hint}})
        sys.stdout.flush()


def wants_colour(stream: TextIO, variables: Mapping[str, str]) -> bool:
    """Whether to colour: NO_COLOR and TERM=dumb say no, FORCE_COLOR yes, CLICOLOR=0 no, else a terminal."""
    if variables.get("NO_COLOR"):
        return False
    if variables.get("FORCE_COLOR") or variables.get("CLICOLOR_FORCE", "0") != "0":
        return True
    if variables.get("TERM") == "dumb" or variables.get("CLICOLOR") == "0":
        return False
    return stream.isatty()
