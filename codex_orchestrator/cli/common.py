"""Flags and look-ups that several commands share."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from codex_orchestrator.environment import TASK_VARIABLE, Environment, choose_task, discover
from codex_orchestrator.errors import UsageError
from codex_orchestrator.identifiers import id_problem


def add_root(parser: argparse.ArgumentParser) -> None:
    """``--root``."""
    parser.add_argument(
        "--root", metavar="DIR", help="the repo root (default: found from the current folder)"
    )


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


def environment_of(arguments: argparse.Namespace) -> Environment:
    """Where things are, for this process."""
    try:
        cwd = Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("The current folder no longer exists.", hint="Change to another one.") from error
    return discover(cwd, os.environ, arguments.root)


def notify(notices: tuple[str, ...]) -> None:
    """Tell the user something once, on stderr."""
    for notice in notices:
        print(notice, file=sys.stderr)


def task_of(environment: Environment, arguments: argparse.Namespace) -> str:
    """The task whose runs are meant; a guess needs no notice where nothing is written."""
    configured = None
    if arguments.task is None and environment.setting(TASK_VARIABLE) is None:
        configured = _configured_task(environment.config_path)
    return choose_task(environment, arguments.task, configured).task_id


def _configured_task(path: Path) -> str | None:
    """``taskId`` of the definitions; a file that cannot be used is no reason to hide a run's status."""
    try:
        task = json.loads(path.read_bytes()).get("taskId")
    except (OSError, ValueError, AttributeError):
        return None
    return task if isinstance(task, str) and id_problem(task) is None else None
