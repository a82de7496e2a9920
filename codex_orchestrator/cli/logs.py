"""``logs``: what stages printed."""

from __future__ import annotations

import argparse
import os
import sys
from itertools import chain

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import (
    add_format,
    add_root,
    add_run,
    add_task,
    notify,
    shown_run,
)
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import EXIT_OK, UsageError
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.views.logs import (
    LogReader,
    OutputText,
    StageNames,
    left_out,
    log_paths,
    parse_event,
)
from codex_orchestrator.views.lookup import FoundRun
from codex_orchestrator.views.status import liveness_of_run

_POLL_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``logs``."""
    add_run(parser, bundles=True)
    add_task(parser)
    parser.add_argument("--stage", metavar="STAGE", help="only this stage's output")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them; 0 however the run ended."""
    with shown_run(arguments) as found:
        _print(found, arguments)
    return EXIT_OK


def _print(found: FoundRun, arguments: argparse.Namespace) -> None:
    entries = enumerate(found.manifest["commands"], start=1)
    names = {entry.get("index", place): str(entry.get("id")) for place, entry in entries}
    if arguments.stage is not None and arguments.stage not in names.values():
        known = ", ".join(names.values())
        raise UsageError(
            f'Unknown stage "{arguments.stage}" in run {found.layout.run_id}.', hint=f"Stages: {known}."
        )
    printer = _Printer(found, names, arguments.stage, as_json=arguments.format == "json")
    printer.print(follow=arguments.follow)


class _Printer:
    """Prints the lines of a log, and when following those that are added."""

    def __init__(self, found: FoundRun, names: dict[int, str], stage: str | None, *, as_json: bool) -> None:
        self._found = found
        self._readers = [LogReader(path, below=found.layout.base) for path in log_paths(found.layout)]
        self._names = StageNames(names)
        colour = render.wants_colour(sys.stdout, os.environ)
        self._text = OutputText(self._names, prefixed=stage is None and len(names) > 1, colour=colour)
        self._output = render.Output()
        self._stage = stage
        self._as_json = as_json

    def print(self, *, follow: bool) -> None:
        clock = SystemClock()
        while True:
            # Asked before reading: what a run wrote before it ended must not be missed.
            over = not follow or self._is_over()
            for line in chain.from_iterable(reader.lines() for reader in self._readers):
                self._print_line(line)
                if not render.is_read():
                    return
            if over:
                self._output.emit(self._text.flush())
                self._output.flush()
            sys.stdout.flush()
            if over:
                return
            clock.sleep(_POLL_SECONDS)

    def _print_line(self, line: bytes) -> None:
        self._names.follow(line)
        if self._stage is not None:
            event = parse_event(line)
            if event is None or "index" not in event or self._names[event["index"]] != self._stage:
                return
        if self._as_json:
            render.emit_ndjson(line)
            return
        self._output.emit(self._text.feed(line))
        if missing := left_out(line):
            sys.stdout.flush()
            notify((missing,))

    def _is_over(self) -> bool:
        layout = self._found.layout
        found = FoundRun(layout, read_manifest(layout))
        return liveness_of_run(found, now=SystemClock().now()) != "alive"
