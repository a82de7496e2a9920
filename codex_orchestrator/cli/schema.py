"""``schema``: print the JSON Schema of an artefact."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli import render
from codex_orchestrator.errors import EXIT_OK, UsageError
from codex_orchestrator.schemas import schema_names, schema_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``schema``."""
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of: {', '.join(schema_names())}")


def run(arguments: argparse.Namespace) -> int:
    """Print it; without a name, the names."""
    if arguments.name is None:
        render.emit("\n".join(schema_names()))
        return EXIT_OK
    try:
        render.emit(schema_text(arguments.name))
    except KeyError as error:
        raise UsageError(
            f'No schema "{arguments.name}".', hint=f"Schemas: {', '.join(schema_names())}."
        ) from error
    return EXIT_OK
