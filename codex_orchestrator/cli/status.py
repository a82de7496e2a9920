"""``status``: the state of a run."""

from __future__ import annotations

import argparse
import sys

from codex_orchestrator import named, places
from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import (
    add_format,
    add_root,
    add_run,
    add_task,
    shown_run,
)
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import EXIT_OK, UsageError
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.tasks.registry import look_up
from codex_orchestrator.views.lookup import FoundRun
from codex_orchestrator.views.status import status_document, status_lines, worker_lines

_LONGEST_INTERVAL = 86_400
_OVER = ("finished", "dead", "waiting")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``status``."""
    add_run(parser, bundles=True)
    add_task(parser)
    parser.add_argument(
        "--watch", action="store_true", help="go on until the run ends or its process is dead"
    )
    parser.add_argument(
        "--interval", type=float, default=2.0, metavar="SECONDS", help="between polls (default: 2)"
    )
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print it; 0 however the run ended."""
    if not 0 < arguments.interval <= _LONGEST_INTERVAL:
        raise UsageError(f"--interval must be more than 0 and at most {_LONGEST_INTERVAL} seconds.")
    with shown_run(arguments) as found:
        if arguments.watch:
            _watch(found, arguments)
        else:
            _show(found, as_json=arguments.format == "json")
    return EXIT_OK


def _watch(found: FoundRun, arguments: argparse.Namespace) -> None:
    clock = SystemClock()
    while True:
        liveness = _show_poll(found, as_json=arguments.format == "json")
        if liveness in _OVER or not render.is_read():
            return
        clock.sleep(arguments.interval)
        found = FoundRun(found.layout, read_manifest(found.layout))


def _show(found: FoundRun, *, as_json: bool) -> None:
    now = SystemClock().now()
    document = status_document(found, now=now)
    if as_json:
        render.emit_json(document)
    else:
        waiting = _waiting_lines(found, now) if document["liveness"] == "waiting" else []
        tree = _tree_lines(found, now)
        known = look_up(found.layout.task.environment, found.layout.task.task_id).task
        task = f"{known.title} ({known.name})" if known and known.title else None
        render.emit_lines(
            status_lines(
                document,
                found.manifest.get("summary"),
                task=task,
                waiting=waiting,
                tree=tree,
                workers=worker_lines(found.manifest),
            )
        )


# Imported where they are needed: most runs wait for nobody, and start no others.


def _waiting_lines(found: FoundRun, now: float) -> list[str]:
    from codex_orchestrator.views.pending_approvals import waiting_lines

    return waiting_lines(found, now=now)


def _tree_lines(found: FoundRun, now: float) -> list[str]:
    children = found.layout.children
    is_there = places.is_archived(children) or named.is_there(children)
    if not found.manifest.get("child_runs") and not is_there:
        return []
    from codex_orchestrator.views.lineage import tree_lines

    return tree_lines(found, now=now)


def _show_poll(found: FoundRun, *, as_json: bool) -> str:
    document = status_document(found, now=SystemClock().now())
    if as_json:
        render.emit_json_line(document)
    else:
        done = sum(entry.get("status") not in ("pending", "running") for entry in document["commands"])
        running = ", ".join(str(e.get("id")) for e in document["commands"] if e.get("status") == "running")
        at = f", running {running}" if running else ""
        stages = f"{done} of {len(document['commands'])} stages"
        render.emit_lines([f"{document['status']}, {document['liveness']}: {stages}{at}"])
    sys.stdout.flush()
    return str(document["liveness"])
