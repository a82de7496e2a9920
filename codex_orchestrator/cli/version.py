"""``version``: which version this is."""

from __future__ import annotations

import argparse

from codex_orchestrator import __version__
from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format
from codex_orchestrator.errors import EXIT_OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``version``."""
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    if arguments.format == "json":
        render.emit_json({"name": "codex-orchestrator", "version": __version__})
    else:
        render.emit(f"codex-orchestrator {__version__}")
    return EXIT_OK
