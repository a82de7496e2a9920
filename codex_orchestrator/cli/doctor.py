"""``doctor``: check what runs need."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, add_root, environment_of
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED
from codex_orchestrator.model.codec import to_json
from codex_orchestrator.views.doctor import check_lines, run_checks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``doctor``."""
    parser.add_argument(
        "--cluster",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="check a cluster and its workers too: this one, or the one that is configured",
    )
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the checks; 1 where a required one has failed."""
    environment = environment_of(arguments)
    checks = list(run_checks(environment, SystemClock()))
    if arguments.cluster is not None:
        from codex_orchestrator.views.cluster import cluster_checks

        settings = load_definitions(environment).configuration.cloud
        checks += cluster_checks(environment, settings, arguments.cluster or None)
    fine = all(check.status != "failed" for check in checks)
    if arguments.format == "json":
        answer = {"root": str(environment.root), "fine": fine, "checks": [to_json(check) for check in checks]}
        render.emit_json(answer)
    else:
        render.emit_lines(check_lines(checks))
    return EXIT_OK if fine else EXIT_RUN_FAILED
