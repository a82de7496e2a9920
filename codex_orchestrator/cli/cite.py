"""``cite``: lines for a pull request, each with a token that can be checked."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_root, add_run, add_task, environment_of, found_run, task_of
from codex_orchestrator.errors import EXIT_OK
from codex_orchestrator.views.citations import claim_document, claim_lines, claims_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``cite``."""
    add_run(parser)
    parser.add_argument(
        "--stage", action="append", default=[], metavar="STAGE", help="only this stage (repeatable)"
    )
    add_task(parser)
    parser.add_argument(
        "--format", choices=("markdown", "json"), default="markdown", help="markdown (the default), or json"
    )
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them; 0 however the run ended."""
    environment = environment_of(arguments)
    found = found_run(environment, arguments.run, task_of(environment, arguments))
    claims = claims_of(found, arguments.stage)
    if arguments.format == "json":
        render.emit_json(claim_document(claims))
    else:
        render.emit_lines(claim_lines(claims))
    return EXIT_OK
