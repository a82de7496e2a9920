"""Flags and look-ups that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from codex_orchestrator.cli import render
from codex_orchestrator.environment import Environment, discover
from codex_orchestrator.errors import UsageError

if TYPE_CHECKING:  # `start` looks nothing up, and most commands know no keys.
    from codex_orchestrator.evidence.keys import PublicKey
    from codex_orchestrator.views.lookup import FoundRun


_RUN = "run id, or latest (the default)"


def add_root(parser: argparse.ArgumentParser) -> None:
    """``--root``."""
    parser.add_argument(
        "--root", metavar="DIR", help="the repo root (default: found from the current folder)"
    )


def add_run(parser: argparse.ArgumentParser, *, bundles: bool = False) -> None:
    """``--run``, which may name a bundle where the command reads these."""
    from codex_orchestrator.views.lookup import LATEST

    known = "run id, latest (the default), or FILE.zip: a bundle" if bundles else _RUN
    parser.add_argument("--run", metavar="RUN", default=LATEST, help=known)


def add_format(parser: argparse.ArgumentParser) -> None:
    """``--format``."""
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="json: one document on stdout, all else on stderr",
    )


def add_task(parser: argparse.ArgumentParser) -> None:
    """``--task``."""
    parser.add_argument("--task", metavar="ID", help="task id (default: MCP_RUNNER_TASK_ID, then the config)")


def add_public_keys(parser: argparse.ArgumentParser, flag: str, words: str) -> None:
    """A flag that names public keys: any of them will do."""
    parser.add_argument(
        flag,
        action="append",
        metavar="KEY",
        default=[],
        help=f"{words} or a certificate (repeatable: any of them will do)",
    )


def public_keys(names: Sequence[str]) -> tuple[PublicKey, ...]:
    """The keys in the files that flags name, from the current folder.

    Raises:
        UsageError: One cannot be read or used, or what checks signatures is not installed.
    """
    if not names:
        return ()
    from codex_orchestrator.clock import SystemClock
    from codex_orchestrator.evidence.keys import load_public_key

    now = SystemClock().now()
    return tuple(load_public_key(current_folder() / name, name, now=now) for name in names)


def environment_of(arguments: argparse.Namespace) -> Environment:
    """Where things are, for this process."""
    return discover(current_folder(), os.environ, arguments.root)


def current_folder() -> Path:
    """The folder that the command was called from.

    Raises:
        UsageError: It is gone, or this user may not know where it is.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("The current folder no longer exists.", hint="Change to another one.") from error
    except PermissionError as error:
        raise UsageError(
            "The current folder may not be entered by this user.", hint="Change to another one."
        ) from error


def notify(notices: tuple[str, ...]) -> None:
    """Tell the user something once, on stderr."""
    render.tell(notices)


def found_run(environment: Environment, run: str, task: str) -> FoundRun:
    """The run that flags name; notices about runs that cannot be read go to stderr.

    Raises:
        UsageError: The id could not be one.
        UnknownRun: There is no such run, or its manifest cannot be read.
        Misplaced: What lies in its place is not to be opened.
    """
    from codex_orchestrator.views.lookup import find_run

    found = find_run(environment, run, task)
    notify(tuple(f"notice: {notice}" for notice in found.notices))
    return found


def is_bundle(run: str) -> bool:
    """Whether ``--run`` names a file: no run id that we make ends so."""
    return run.endswith(".zip")


@contextmanager
def shown_run(arguments: argparse.Namespace) -> Iterator[FoundRun]:
    """The run that flags name, of the repository or of a bundle, for the length of a block.

    Raises:
        UsageError: As `found_run` does, or the bundle cannot be read.
    """
    if not is_bundle(arguments.run):
        environment = environment_of(arguments)
        yield found_run(environment, arguments.run, task_of(environment, arguments))
        return
    from codex_orchestrator.evidence.bundles import opened_bundle
    from codex_orchestrator.views.bundles import bundled_run

    with opened_bundle(current_folder() / arguments.run) as bundle:
        yield bundled_run(bundle)


def task_of(environment: Environment, arguments: argparse.Namespace) -> str:
    """The task whose runs to read."""
    from codex_orchestrator.views import lookup

    return lookup.task_of(environment, arguments.task)


def parent_of(environment: Environment, arguments: argparse.Namespace) -> str | None:
    """The id of the run that ``--parent-run`` names, or None.

    Raises:
        UnknownRun: The task has no run.
        UsageError: The task id could not be one.
    """
    if arguments.parent_run is None:
        return None
    from codex_orchestrator.views.lookup import named_run

    return named_run(environment, arguments.parent_run, arguments.task)
