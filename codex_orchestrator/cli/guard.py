"""``guard``: the built-in guards."""

from __future__ import annotations

import argparse

from codex_orchestrator.clock import SystemClock, utc_date
from codex_orchestrator.governance.guards.spec import SpecGuardRequest, check_specs, render_text
from codex_orchestrator.pipelines.loader import load_definitions

from . import render
from .common import add_format, add_root, environment_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``guard``."""
    parser.add_argument(
        "guard", choices=("spec",), metavar="GUARD", help="spec: changed code needs a changed spec"
    )
    parser.add_argument("--dry-run", action="store_true", help="print findings, but exit 0")
    parser.add_argument(
        "--base", metavar="REF", help="compare with REF (default: BASE_SHA, origin/main, first commit)"
    )
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check; 1 where there are findings, unless it is a dry run."""
    environment = environment_of(arguments)
    settings = load_definitions(environment).configuration.guards.spec
    report = check_specs(
        SpecGuardRequest(
            root=environment.root,
            environ=environment.variables,
            today=utc_date(SystemClock().now()),
            base=arguments.base,
            paths=settings.paths,
        )
    )
    if arguments.format == "json":
        render.emit_json(report.to_json())
    else:
        render.emit(render_text(report, dry_run=arguments.dry_run))
    return report.exit_code(dry_run=arguments.dry_run)
