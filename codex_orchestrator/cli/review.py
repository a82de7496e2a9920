"""``review``: hand a run over to a reviewer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from codex_orchestrator.checks.changes import ChangeRequest
from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import (
    add_format,
    add_root,
    add_task,
    environment_of,
    found_run,
    notify,
    task_of,
)
from codex_orchestrator.cli.prompt import current_actor
from codex_orchestrator.cli.relay import relayed
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.definitions.loader import Definitions, load_definitions
from codex_orchestrator.environment import PREFIX, Environment, inheritable
from codex_orchestrator.errors import EXIT_OK, UnknownRun, UsageError
from codex_orchestrator.execution import signals
from codex_orchestrator.execution.process import run_with_input
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.views.lookup import LATEST, FoundRun
from codex_orchestrator.views.review import ReviewRequest, review_document, review_text

_LONGEST_TIMEOUT = 86_400
_STDOUT, _STDERR = 1, 2
_SIGNALLED = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``review``."""
    parser.add_argument(
        "--run", metavar="RUN", help="run id, or latest (the default; in a stage, the run it is part of)"
    )
    add_task(parser)
    parser.add_argument(
        "--base",
        metavar="REF",
        help="measure the change since REF (default: BASE_SHA, guards.base, else by CI and branches)",
    )
    parser.add_argument("--notes", metavar="TEXT", help="what you have to say to the reviewer")
    parser.add_argument("--force", action="store_true", help="run the reviewer also where nobody watches")
    parser.add_argument(
        "--timeout",
        type=float,
        default=3_600.0,
        metavar="SECONDS",
        help="for the reviewer to end (default: 3600)",
    )
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the hand-off and return 0, or give it to the reviewer's command and return its exit code."""
    if not 0 < arguments.timeout <= _LONGEST_TIMEOUT:
        raise UsageError(f"--timeout must be more than 0 and at most {_LONGEST_TIMEOUT} seconds.")
    environment = environment_of(arguments)
    definitions = load_definitions(environment)
    command = _reviewer(environment, definitions, arguments)
    guard = PrivacyGuard.of(environment, definitions.configuration.privacy, definitions.own_pipelines)
    found, from_within = _run_meant(environment, arguments)
    notes = arguments.notes and guard.scrub(arguments.notes)
    change = ChangeRequest.of(environment, definitions.configuration.guards, arguments.base)
    request = ReviewRequest(found, change, notes, from_within)
    document = review_document(request, now=SystemClock().now())
    code = EXIT_OK
    if command is not None:
        notify((f"Reviewer: {guard.scrub(command)}",))
        code = _call(command, review_text(document), environment, arguments, guard)
    if arguments.format == "json":
        reviewer = None if command is None else {"command": guard.scrub(command), "exit_code": code}
        render.emit_json({**document, "reviewer": reviewer})
    elif command is None:
        render.emit(review_text(document))
    return code


def _reviewer(
    environment: Environment, definitions: Definitions, arguments: argparse.Namespace
) -> str | None:
    """The reviewer's command; None where the hand-off is to be printed.

    Raises:
        UsageError: It was asked for, and none is configured.
    """
    command = definitions.configuration.review.command
    if arguments.force and command is None:
        raise UsageError(
            "--force: no reviewer is configured.",
            hint=f"Set review.command in {environment.config_in_words}, such as to: codex review",
        )
    watched = arguments.format == "text" and current_actor().kind == "tty"
    if command is None or not (arguments.force or watched):
        return None
    notify(definitions.notices)
    return command


def _run_meant(environment: Environment, arguments: argparse.Namespace) -> tuple[FoundRun, bool]:
    """The run to hand over, and whether this process is part of it."""
    own = environment.setting(f"{PREFIX}RUN_ID")
    task = task_of(environment, arguments)
    if arguments.run is None and own is not None:
        try:
            return found_run(environment, own, task), True
        except UnknownRun:
            pass  # A run of another repository, from within which this one is looked at.
    found = found_run(environment, arguments.run or LATEST, task)
    return found, found.layout.run_id == own


def _call(
    command: str, text: str, environment: Environment, arguments: argparse.Namespace, guard: PrivacyGuard
) -> int:
    """Run the reviewer's command with the hand-off as input, and wait for its end."""
    sys.stdout.flush()
    # Standard output holds one JSON document, and nothing else.
    as_json = arguments.format == "json"
    told: list[int] = []
    # They would end this process at once, and leave the reviewer behind.
    with (
        signals.caught(told.append, left_ignored=signals.SIGNALS),
        _streams(guard, stdout=_STDERR if as_json else None) as (out, err),
    ):
        code = run_with_input(
            command,
            cwd=environment.root,
            environ=inheritable(environment.variables),
            text=f"{text}\n".encode("utf-8", "backslashreplace"),
            stdout=out,
            stderr=err,
            timeout_seconds=arguments.timeout,
            clock=SystemClock(),
            stopped=lambda: bool(told),
        )
    if told:
        return _SIGNALLED + told[0]
    if code != EXIT_OK:
        notify((f"The reviewer ended with exit code {code}.",))
    return code


@contextmanager
def _streams(guard: PrivacyGuard, *, stdout: int | None) -> Iterator[tuple[int | None, int | None]]:
    """The reviewer's output streams: ours, or with the privacy guard pipes that it looks through."""
    if not guard.enforces:
        yield stdout, None
        return
    clock = SystemClock()
    with (
        relayed(stdout or _STDOUT, guard.stream(), clock) as out,
        relayed(_STDERR, guard.stream(), clock) as err,
    ):
        yield out, err
