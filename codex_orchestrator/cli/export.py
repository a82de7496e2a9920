"""``export``: a run in a format of other tools."""

from __future__ import annotations

import argparse

from codex_orchestrator import named
from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_root, add_run, add_task, environment_of, found_run, task_of
from codex_orchestrator.errors import EXIT_OK, UsageError
from codex_orchestrator.evidence import files
from codex_orchestrator.views.exports import FORMATS, exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``export``."""
    add_run(parser)
    parser.add_argument(
        "--format", choices=tuple(FORMATS), required=True, help="in-toto: the statement that `sign` signs"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: standard output)")
    add_task(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the run to a file, or to standard output."""
    environment = environment_of(arguments)
    found = found_run(environment, arguments.run, task_of(environment, arguments))
    content = exported(found.layout, arguments.format)
    if arguments.output is None:
        render.emit(content.decode().rstrip("\n"))
        return EXIT_OK
    target = named.place(environment.cwd / arguments.output)
    if named.kind(target.parent) != "folder":
        raise UsageError(f"There is no folder for {arguments.output}: {target.parent}.")
    files.replace(target, content, below=target.parent)
    return EXIT_OK
