"""The stages' output out of the event log, as text or as the lines themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codex_orchestrator import places
from codex_orchestrator.records import loads
from codex_orchestrator.text import cut_sequence, one_line, printable

_READ_BYTES = 1 << 20
_RUN = b'{"type":"run:'
_LEFT_OUT = b'{"type":"output:left-out"'


class LogReader:
    """Reads an event log on from where it stopped; a torn last line waits for its rest."""

    def __init__(self, path: Path, *, below: Path) -> None:
        self._path = path
        self._below = below
        self._offset = 0

    def lines(self) -> Iterator[bytes]:
        """The whole lines that are there now and were not given out before."""
        try:
            log = places.open_stream(self._path, below=self._below)
        except FileNotFoundError:
            return
        with log:
            log.seek(self._offset)
            rest = b""
            while block := log.read(_READ_BYTES):
                *whole, rest = (rest + block).split(b"\n")
                if len(rest) > places.DOCUMENT_BYTES:
                    raise places.overlong(self._path)
                for line in whole:
                    self._offset += len(line) + 1
                    yield line


class StageNames:
    """Which stage an index of the log means: a changed pipeline may have moved them meanwhile."""

    def __init__(self, names: dict[int, str]) -> None:
        """Begin with what the manifest says; logs of other tools say nothing else."""
        self._names = names

    def follow(self, line: bytes) -> None:
        """Take up a line of the log, in order: each start of the run says what its indexes mean."""
        if not line.startswith(_RUN):
            return
        event = parse_event(line)
        stages = event.get("stages") if event else None
        if isinstance(stages, list) and stages:
            self._names = {index: str(name) for index, name in enumerate(stages, start=1)}

    def __getitem__(self, index: object) -> str:
        """The stage's id, or the index itself where none is known."""
        return self._names.get(index, str(index)) if isinstance(index, int) else str(index)


class OutputText:
    """Events to the text that stages printed, each line prefixed with its stage where there are several.

    What moves a cursor is left out, colours too unless they are wanted.
    """

    def __init__(self, names: StageNames, *, prefixed: bool, colour: bool = False) -> None:
        self._names = names
        self._prefixed = prefixed
        self._colour = colour
        self._fresh: dict[int, bool] = {}
        self._open: int | None = None
        self._held: dict[object, str] = {}

    def feed(self, line: bytes) -> str:
        """The text of one event line; empty for events that carry no output, and for broken lines."""
        event = parse_event(line)
        if event is None or event.get("type") != "exec:chunk":
            return ""
        index, data = event.get("index"), str(event.get("data", ""))
        if not isinstance(index, int):
            return "\n".join(self._pieces(None, data))
        pieces = self._pieces(index, data)
        if not self._prefixed:
            return "\n".join(pieces)
        prefix = f"[{printable(self._names[index])}] "
        text = ""
        if self._open is not None and self._open != index and not self._fresh.get(self._open, True):
            text = "\n"
            self._fresh[self._open] = True
        *whole, rest = pieces
        for piece in whole:
            text += f"{prefix if self._fresh.get(index, True) else ''}{piece}\n"
            self._fresh[index] = True
        if rest:
            text += (prefix if self._fresh.get(index, True) else "") + rest
            self._fresh[index] = False
        self._open = index
        return text

    def _pieces(self, index: object, data: str) -> list[str]:
        """The lines of a piece; the last may go on, and a sequence that is cut waits for its rest."""
        text, held = cut_sequence(self._held.pop(index, "") + data)
        if held:
            self._held[index] = held
        return [one_line(piece, colour=self._colour) for piece in text.split("\n")]


def left_out(line: bytes) -> str | None:
    """What an event line says of output that the logs do not have; None where it says nothing of it."""
    event = parse_event(line) if line.startswith(_LEFT_OUT) else None
    if event is None:
        return None
    stage, missing, limit = (event.get(key) for key in ("stage_id", "left_out_bytes", "limit_bytes"))
    return printable(f"Stage '{stage}' printed {missing} bytes more (limits.logBytes is {limit}).")


def parse_event(line: bytes) -> dict[str, Any] | None:
    """An event, or None where the line is not one."""
    try:
        event = loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
