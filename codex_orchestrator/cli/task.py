"""``task``: begin a task, or keep the files of tasks in step."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, add_root, environment_of, notify
from codex_orchestrator.clock import SystemClock, utc_date
from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.environment import TASK_INDEX, Environment
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED, UsageError
from codex_orchestrator.tasks.index import read_index
from codex_orchestrator.tasks.mirrors import plan_sync, write_changes
from codex_orchestrator.tasks.new import create_task, new_task
from codex_orchestrator.tasks.registry import require_place
from codex_orchestrator.tasks.texts import Texts, task_files_lock
from codex_orchestrator.views.tasks import created_document, created_lines, sync_document, sync_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``task``."""
    parser.add_argument(
        "action",
        choices=("new", "sync"),
        metavar="ACTION",
        help="new: write the files of a new task; sync: bring the files of all tasks into step",
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="new: the task, as ID-SLUG: 0042-payments, say"
    )
    parser.add_argument(
        "--title", metavar="TEXT", help="new: its name for people (default: the slug's words)"
    )
    parser.add_argument(
        "--check", action="store_true", help="sync: write nothing, exit 1 where something is out of step"
    )
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Create or sync tasks; 1 where a file could not be written, or (``--check``) must be changed."""
    environment = environment_of(arguments)
    if arguments.action == "sync":
        if arguments.name is not None or arguments.title is not None:
            raise UsageError("task sync takes neither a NAME nor --title: it is for all tasks.")
        return _sync(environment, arguments)
    if arguments.name is None:
        raise UsageError(
            "task new: NAME is missing.", hint="Name the task: <id>-<slug>, as in 0042-payments."
        )
    if arguments.check:
        raise UsageError("--check is for task sync.")
    return _new(environment, arguments)


def _new(environment: Environment, arguments: argparse.Namespace) -> int:
    task = new_task(arguments.name, arguments.title, utc_date(SystemClock().now()))
    registry = load_definitions(environment).configuration.tasks or {}
    require_place(environment, registry, (task.name, task.bare_id))
    with task_files_lock(environment):
        changes, troubles = create_task(environment, task)
    if arguments.format == "json":
        render.emit_json(created_document(task, changes, troubles))
    else:
        render.emit_lines(created_lines(task, changes, troubles))
    return EXIT_RUN_FAILED if troubles else EXIT_OK


def _sync(environment: Environment, arguments: argparse.Namespace) -> int:
    # Who only looks leaves nothing, not even a lock.
    with nullcontext() if arguments.check else task_files_lock(environment):
        index = read_index(environment.root)
        texts = Texts(environment.root)
        sync = plan_sync(environment, index, texts)
        if not arguments.check:
            sync.troubles += write_changes(texts, sync.changes)
    if index is None:
        notify((f"There is no {TASK_INDEX}, and so no task to keep in step.",))
    if arguments.format == "json":
        render.emit_json(sync_document(sync, check=arguments.check))
    else:
        render.emit_lines(sync_lines(sync, check=arguments.check))
    to_do = arguments.check and sync.changes
    return EXIT_RUN_FAILED if sync.troubles or to_do else EXIT_OK
