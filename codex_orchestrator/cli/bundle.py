"""``bundle``: a run in one file, to be sent to somebody."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import (
    add_format,
    add_root,
    add_run,
    add_task,
    current_folder,
    environment_of,
    found_run,
    notify,
    task_of,
)
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import EXIT_OK
from codex_orchestrator.evidence.bundling import write_bundle
from codex_orchestrator.views.bundles import runs_to_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``bundle``."""
    add_run(parser)
    add_task(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE.zip", help="the file, replaced where it is there (default: RUN.zip)"
    )
    parser.add_argument(
        "--logs",
        choices=("none", "failed", "all"),
        default="all",
        help="the logs of no stage, of those that have failed, or of all (the default)",
    )
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write it; 0 however the run ended."""
    environment = environment_of(arguments)
    found = found_run(environment, arguments.run, task_of(environment, arguments))
    runs = runs_to_bundle(found, now=SystemClock().now())
    name = arguments.output or f"{found.layout.run_id}.zip"
    listed = write_bundle(runs, current_folder() / name, logs=arguments.logs)
    first, *others = listed.runs
    notify(tuple(f"notice: Run {each.run_id} is not sealed." for each in listed.runs if each.root is None))
    if arguments.format == "json":
        left_out = [{"path": one.path, "reason": one.reason} for one in listed.left_out]
        runs_in_it = [each.run_id for each in listed.runs]
        document = {"file": name, "run_id": first.run_id, "root": first.root}
        render.emit_json({**document, "runs": runs_in_it, "left_out": left_out})
        return EXIT_OK
    render.emit(f"{name}: run {first.run_id}{f' and {len(others)} that it has started' if others else ''}")
    if listed.left_out:
        count = len(listed.left_out)
        render.emit(f"left out: {count} file{'' if count == 1 else 's'}, which its bundle.json names")
    return EXIT_OK
