"""Reads stages' output from the event log, as text or as the lines themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codex_orchestrator import places
from codex_orchestrator.model.codec import loads
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.text import WholeLines, one_line, printable

_READ_BYTES = 1 << 20
# A line is printed as it was, and one that never ends is not kept for ever.
_LONGEST_LINE = 1 << 20
_RUN = b'{"type":"run:'
_LEFT_OUT = b'{"type":"output:left-out"'


def log_paths(layout: RunLayout) -> list[Path]:
    """The logs that have a run's output; in a bundle without the run's own, those of stages that it has."""
    if not places.is_archived(layout.base) or places.has_file(layout.runner_log, below=layout.base):
        return [layout.runner_log]
    folder = layout.folder / "commands"
    return [folder / name for name, _ in places.listed(folder, below=layout.base)]


class LogReader:
    """Reads an event log piece by piece while it grows; a line without its end waits for the rest."""

    def __init__(self, path: Path, *, below: Path) -> None:
        self._path = path
        self._below = below
        self._offset = 0

    def lines(self) -> Iterator[bytes]:
        """The whole lines that were added since the last call."""
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
    """The stage that each index in the log stands for, which may differ between starts of the run."""

    def __init__(self, names: dict[int, str]) -> None:
        """Begin with what the manifest says; logs of other tools say nothing else."""
        self._names = names

    def follow(self, line: bytes) -> None:
        """Read a line of the log; each start of the run says which stages its indexes mean."""
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
    """Turns events into the lines that stages printed, each with its stage where there are several.

    What moves a cursor is left out, and what was written over; colours too unless they are wanted.
    """

    def __init__(self, names: StageNames, *, prefixed: bool, colour: bool = False) -> None:
        self._names = names
        self._prefixed = prefixed
        self._colour = colour
        self._lines = WholeLines(_LONGEST_LINE)
        self._began = self._is_open = False

    def feed(self, line: bytes) -> str:
        """The lines that an event completes."""
        event = parse_event(line)
        if event is None:
            return ""
        index, kind = event.get("index"), event.get("type")
        if kind == "exec:chunk":
            lines = self._lines.feed((index, event.get("stream")), str(event.get("data", "")))
            return self._text(index, lines)
        if kind == "exec:end":
            rests = [rest for stream in ("stdout", "stderr") for rest in self._lines.flush((index, stream))]
            return self._text(index, rests, is_open=True)
        if kind == "run:resumed" and self._began:
            return self._text(None, [f"--- resumed at {event.get('timestamp')}"])
        return ""

    def flush(self) -> str:
        """The text of lines that were left without an end."""
        return "".join(self._text(key[0], [rest], is_open=True) for key, rest in self._lines.flush_all())

    def _text(self, index: object, lines: list[str], *, is_open: bool = False) -> str:
        """Lines of a stage; where the last was not ended, whatever follows it ends it."""
        if not lines:
            return ""
        prefix = f"[{printable(self._names[index])}] " if self._prefixed and index is not None else ""
        text = "\n".join(f"{prefix}{one_line(line, colour=self._colour)}" for line in lines)
        before, self._is_open, self._began = "\n" if self._is_open else "", is_open, True
        return f"{before}{text}{'' if is_open else chr(10)}"


def left_out(line: bytes) -> str | None:
    """The message of an event line about output left out of the logs; None for other lines."""
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
