"""What reaches the terminal: documents, text and refusals."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from codex_orchestrator.errors import InternalError, OrchestratorError
from codex_orchestrator.records import dumps, dumps_line

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
    """JSON for a stdout that may not be UTF-8: there every other character is an escape, as JSON has them."""
    encoding = (sys.stdout.encoding or "utf-8").lower().replace("-", "")
    if encoding == "utf8" or document.isascii():
        return document
    # Outside of strings JSON is ASCII, so an escape can stand for any character that is not.
    return "".join(
        character if character.isascii() else json.dumps(character)[1:-1] for character in document
    )


def emit(text: str) -> None:
    """Print text, with a newline at its end."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def emit_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns; on a terminal that wants colour, as a table."""
    if wants_colour(sys.stdout, os.environ):
        from rich.console import Console
        from rich.table import Table

        table = Table(*header, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        # Ids must stay whole: what is wider than the terminal is left to the terminal to wrap.
        Console(file=sys.stdout, width=_WIDE).print(table)
        return
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        emit("  ".join(cells).rstrip())


def refuse(error: OrchestratorError, *, as_json: bool) -> None:
    """Say why a command was refused: on stderr, and as JSON on stdout where JSON was asked for."""
    if isinstance(error, InternalError):
        print(f"{error.report}\n", file=sys.stderr)
    print(f"error: {error}", file=sys.stderr)
    if as_json:
        emit_json({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
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
