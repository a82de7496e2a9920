"""``doctor``: check what runs need."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, add_root, environment_of
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED
from codex_orchestrator.model.codec import to_json
from codex_orchestrator.views.doctor import check_lines, run_checks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``doctor``."""
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the checks; 1 where a required one has failed."""
    environment = environment_of(arguments)
    checks = list(run_checks(environment, SystemClock()))
    fine = all(check.status != "failed" for check in checks)
    if arguments.format == "json":
        answer = {"root": str(environment.root), "fine": fine, "checks": [to_json(check) for check in checks]}
        render.emit_json(answer)
    else:
        render.emit_lines(check_lines(checks))
    return EXIT_OK if fine else EXIT_RUN_FAILED
