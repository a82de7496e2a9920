"""``start``: run a pipeline."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli.common import add_format, add_root, add_task, environment_of, parent_of
from codex_orchestrator.cli.session import add_interactive, add_running, asker_of, run_and_tell
from codex_orchestrator.engine.preparation import Invocation, prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``start``."""
    parser.add_argument("pipeline", nargs="?", help="pipeline id (default: the config's, then diagnostics)")
    add_task(parser)
    parser.add_argument(
        "--parent-run", metavar="RUN", help="the run that starts this one (default: the one whose stage does)"
    )
    parser.add_argument("--approval-policy", metavar="POLICY", help="record this approval policy")
    parser.add_argument("--target", "--target-stage", metavar="STAGE", help="target stage of the plan")
    parser.add_argument(
        "--only", action="append", metavar="STAGE", default=[], help="run only this stage (repeatable)"
    )
    parser.add_argument("--from", dest="start_from", metavar="STAGE", help="begin at this stage")
    parser.add_argument("--execution-mode", metavar="MODE", help="mcp or cloud, where a stage does not say")
    add_running(parser)
    add_interactive(parser)
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the pipeline; 0, 1 or 128 plus the number of the signal that cancelled it."""
    environment = environment_of(arguments)
    prepared = prepare(
        environment,
        Invocation(
            pipeline=arguments.pipeline,
            task=arguments.task,
            parent_run=parent_of(environment, arguments),
            approval_policy=arguments.approval_policy,
            target=arguments.target,
            execution_mode=arguments.execution_mode,
            only=tuple(arguments.only),
            start_from=arguments.start_from,
            keep_going=arguments.keep_going,
            cluster=arguments.cluster,
            sign=arguments.sign,
        ),
    )
    return run_and_tell(prepared, arguments, verb="started", ask=asker_of(arguments))
