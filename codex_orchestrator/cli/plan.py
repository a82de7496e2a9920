"""``plan``: what a pipeline would run."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, add_root, add_task, environment_of, notify
from codex_orchestrator.engine.preparation import Invocation, prepare
from codex_orchestrator.errors import EXIT_OK
from codex_orchestrator.views.plan import plan_document, plan_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``plan``."""
    parser.add_argument("pipeline", nargs="?", help="pipeline id (default: the config's, then diagnostics)")
    add_task(parser)
    parser.add_argument("--target", "--target-stage", metavar="STAGE", help="target stage of the plan")
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    invocation = Invocation(pipeline=arguments.pipeline, task=arguments.task, target=arguments.target)
    prepared = prepare(environment_of(arguments), invocation)
    notify(prepared.notices)
    if arguments.format == "json":
        render.emit_json(plan_document(prepared))
    else:
        render.emit_lines(plan_lines(prepared))
    return EXIT_OK
