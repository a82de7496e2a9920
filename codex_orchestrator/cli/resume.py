"""``resume``: go on with a run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from codex_orchestrator import named
from codex_orchestrator.cli.common import add_format, add_root, add_run, add_task, environment_of, task_of
from codex_orchestrator.cli.session import add_interactive, add_running, asker_of, run_and_tell
from codex_orchestrator.engine.preparation import prepare
from codex_orchestrator.errors import UsageError
from codex_orchestrator.views.resume_invocation import resume_invocation

# More than any token, or the file that a run keeps its own in.
_LONGEST_TOKEN_FILE = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``resume``."""
    add_run(parser)
    add_task(parser)
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--token",
        metavar="TOKEN",
        help="refuse unless this is the run's resume token; others on this machine can see it meanwhile",
    )
    token.add_argument(
        "--token-file",
        metavar="FILE",
        help="the same, with the token in a file (resume-token.json will do), or in standard input (-)",
    )
    parser.add_argument("--actor", default="cli", metavar="NAME", help="who resumes (default: cli)")
    parser.add_argument(
        "--reason", default="manual-resume", metavar="TEXT", help="why (default: manual-resume)"
    )
    parser.add_argument(
        "--target", "--target-stage", metavar="STAGE", help="another target stage of the plan"
    )
    parser.add_argument(
        "--execution-mode",
        metavar="MODE",
        help="mcp or cloud, where a stage does not say (default: as the run was started)",
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
    invocation = resume_invocation(
        environment,
        arguments.run,
        task_of(environment, arguments),
        target=arguments.target,
        execution_mode=arguments.execution_mode,
        keep_going=arguments.keep_going,
        cluster=arguments.cluster,
        sign=arguments.sign,
        actor=arguments.actor,
        reason=arguments.reason,
        token=_token(arguments),
        accept_changes=arguments.accept_changes,
    )
    prepared = prepare(environment, invocation)
    return run_and_tell(prepared, arguments, verb="resumed", ask=asker_of(arguments))


def _token(arguments: argparse.Namespace) -> str | None:
    """The token given by ``--token`` or ``--token-file``.

    Raises:
        UsageError: A file was named that holds none.
    """
    name: str | None = arguments.token_file
    if name is None:
        given: str | None = arguments.token
        return given
    try:
        content = (
            sys.stdin.buffer.read(_LONGEST_TOKEN_FILE)
            if name == "-"
            else named.read(Path(name), at_most=_LONGEST_TOKEN_FILE)
        )
    except OSError as error:
        raise UsageError(f"--token-file {name} cannot be read: {error.strerror}.") from error
    text = content.decode("utf-8", "replace").strip()
    try:
        token = json.loads(text)["token"]
    except (ValueError, TypeError, LookupError, RecursionError):
        token = text  # The token alone.
    if not isinstance(token, str) or not token:
        raise UsageError(f"--token-file {name} holds no token.")
    return token
