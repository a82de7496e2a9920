"""``init``: set up a repository."""

from __future__ import annotations

import argparse

from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED
from codex_orchestrator.pipelines.project import Project
from codex_orchestrator.records import to_json
from codex_orchestrator.scaffold import Placed, ignore, place, starter_files

from . import render
from .common import add_format, add_root, environment_of

_WIDTH = len("unchanged")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``init``."""
    parser.add_argument("--force", action="store_true", help="replace files that are there already")
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the files; 1 where one could not be written."""
    environment = environment_of(arguments)
    starters = list(starter_files(environment))
    placed = [place(environment.root, file, force=arguments.force) for file in starters]
    placed.append(ignore(environment.root))
    failed = any(one.outcome == "failed" for one in placed)
    kind = Project(environment).kind
    if arguments.format == "json":
        render.emit_json(
            {"root": str(environment.root), "kind": kind, "files": [to_json(one) for one in placed]}
        )
    else:
        what = f"Repository: {environment.root} ({kind})"
        after = [] if failed else ["Next: codex-orchestrator doctor, then codex-orchestrator start"]
        render.emit_lines([what, *map(_text, placed), *after])
    return EXIT_RUN_FAILED if failed else EXIT_OK


def _text(one: Placed) -> str:
    return f"{one.outcome:<{_WIDTH}}  {one.path}" + (f": {one.detail}" if one.detail else "")
