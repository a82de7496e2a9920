"""The stages' output out of the event log, as text or as the lines themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codex_orchestrator import places
from codex_orchestrator.records import loads

_READ_BYTES = 1 << 20
_RUN = b'{"type":"run:'


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
    """Events to the text that stages printed, each line prefixed with its stage where there are several."""

    def __init__(self, names: StageNames, *, prefixed: bool) -> None:
        self._names = names
        self._prefixed = prefixed
        self._fresh: dict[int, bool] = {}
        self._open: int | None = None

    def feed(self, line: bytes) -> str:
        """The text of one event line; empty for events that carry no output, and for broken lines."""
        event = parse_event(line)
        if event is None or event.get("type") != "exec:chunk":
            return ""
        index, data = event.get("index"), str(event.get("data", ""))
        if not self._prefixed or not isinstance(index, int):
            return data
        prefix = f"[{self._names[index]}] "
        text = ""
        if self._open is not None and self._open != index and not self._fresh.get(self._open, True):
            text = "\n"
            self._fresh[self._open] = True
        for piece in data.splitlines(keepends=True):
            text += (prefix if self._fresh.get(index, True) else "") + piece
            self._fresh[index] = piece.endswith("\n")
        self._open = index
        return text


def parse_event(line: bytes) -> dict[str, Any] | None:
    """An event, or None where the line is not one."""
    try:
        event = loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
