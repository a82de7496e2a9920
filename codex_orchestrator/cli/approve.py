"""``approve``: approve a manual stage."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli.decide import add_deciding, decide


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``approve``."""
    add_deciding(parser)


def run(arguments: argparse.Namespace) -> int:
    """Approve the stage; 0, or (``--resume``) the exit codes of ``resume``."""
    return decide(arguments, "approved")
