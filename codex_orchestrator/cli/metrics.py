"""``metrics``: figures over a task's runs."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, add_root, add_task, environment_of, task_of
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import EXIT_OK
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.views.metrics import metrics_document, metrics_lines, read_metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``metrics``."""
    add_task(parser)
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them; 0 also where some lines cannot be read, which are listed."""
    environment = environment_of(arguments)
    task = TaskLayout(environment, task_of(environment, arguments))
    document = metrics_document(read_metrics(task), now=SystemClock().now())
    if arguments.format == "json":
        render.emit_json(document)
    else:
        render.emit_lines(metrics_lines(document))
    return EXIT_OK
