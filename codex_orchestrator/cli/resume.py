"""``resume``: take a run up again."""

from __future__ import annotations

import argparse

from codex_orchestrator.preparation import prepare
from codex_orchestrator.report.resuming import asked_to_resume

from .asking import asker
from .common import add_format, add_root, add_task, environment_of, task_of
from .session import add_interactive, add_running, run_and_tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``resume``."""
    parser.add_argument("--run", required=True, metavar="RUN", help="run id, or latest")
    add_task(parser)
    parser.add_argument("--token", metavar="TOKEN", help="refuse unless this is the run's resume token")
    parser.add_argument("--actor", default="cli", metavar="NAME", help="who resumes (default: cli)")
    parser.add_argument(
        "--reason", default="manual-resume", metavar="TEXT", help="why (default: manual-resume)"
    )
    parser.add_argument(
        "--target", "--target-stage", metavar="STAGE", help="another target stage of the plan"
    )
    parser.add_argument(
        "--accept-changes", action="store_true", help="go on although the pipeline has changed since"
    )
    add_running(parser)
    add_interactive(parser)
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Resume the run; the same exit codes as ``start``, and 75 where it is alive."""
    environment = environment_of(arguments)
    asked = asked_to_resume(
        environment,
        arguments.run,
        task_of(environment, arguments),
        target=arguments.target,
        actor=arguments.actor,
        reason=arguments.reason,
        token=arguments.token,
        accept_changes=arguments.accept_changes,
    )
    prepared = prepare(environment, asked)
    return run_and_tell(prepared, arguments, verb="resumed", ask=asker(arguments))
