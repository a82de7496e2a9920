"""``runs``: which runs there are."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, add_root, environment_of, notify
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import EXIT_OK, Misplaced, UsageError
from codex_orchestrator.identifiers import check_id
from codex_orchestrator.views.lookup import list_runs
from codex_orchestrator.views.status import runs_row

_HEADER = ("RUN", "TASK", "PIPELINE", "STATUS", "LIVENESS", "STARTED")
_KEYS = ("run_id", "task_id", "pipeline_id", "status", "liveness", "started_at")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``runs``."""
    parser.add_argument("--task", metavar="ID", help="only this task's runs (default: all tasks)")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N runs, the newest")
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them, newest first."""
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError("--limit must be at least 1.")
    if arguments.task is not None:
        check_id(arguments.task, name="task ID")
    now = SystemClock().now()
    found, notices = list_runs(environment_of(arguments), arguments.task, arguments.limit)
    rows = []
    for run in found:
        try:
            rows.append(runs_row(run, now=now))
        except Misplaced as error:
            notices.append(error.in_a_line)
    notify(tuple(f"notice: {notice}" for notice in notices))
    if arguments.format == "json":
        render.emit_json(rows)
    else:
        render.emit_table(_HEADER, [tuple(str(row[key]) for key in _KEYS) for row in rows])
    return EXIT_OK
