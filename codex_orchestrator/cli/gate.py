"""``gate``: whether there is evidence that pipelines hold on the code in front of us."""

from __future__ import annotations

import argparse

from codex_orchestrator.checks.work_tree_id import WorkTreeId
from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import (
    add_format,
    add_public_keys,
    add_root,
    add_task,
    environment_of,
    public_keys,
    task_of,
)
from codex_orchestrator.cli.tree import tree_asked_for
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED, EXIT_WAITING, UsageError
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.rules.retention import parse_age
from codex_orchestrator.views.gate import Gate, gate_document, gate_lines

_WORK_TREE = "worktree"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``gate``."""
    parser.add_argument(
        "pipelines",
        nargs="*",
        metavar="PIPELINE",
        help="pipeline ids (default: the config's, then diagnostics)",
    )
    parser.add_argument(
        "--tree", metavar="TREE", default=_WORK_TREE, help="worktree (the default), or a commit or tree"
    )
    parser.add_argument("--max-age", metavar="AGE", help="how old a run may be, as 30m, 12h or 7d")
    add_public_keys(parser, "--signed", "have the run be signed by this public key, a PEM file")
    add_task(parser)
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Answer; 1 where evidence is missing, 3 where a run waits for an approval."""
    environment = environment_of(arguments)
    max_age, keys = _age(arguments.max_age), public_keys(arguments.signed)
    definitions = load_definitions(environment)
    asked = dict.fromkeys(arguments.pipelines) or {None: None}
    pipelines = [definitions.choose(name).id for name in asked]
    tree = tree_asked_for(environment, None if arguments.tree == _WORK_TREE else arguments.tree)
    gate = Gate(
        TaskLayout(environment, task_of(environment, arguments)),
        tree,
        WorkTreeId(environment),
        now=SystemClock().now(),
        max_age_seconds=max_age,
        keys=keys,
    )
    answers = [gate.ask(pipeline) for pipeline in pipelines]
    if arguments.format == "json":
        render.emit_json(gate_document(tree, answers))
    else:
        render.emit_lines(gate_lines(tree, answers))
    if all(answer.passes for answer in answers):
        return EXIT_OK
    only_waits = all(answer.passes or answer.waits for answer in answers)
    return EXIT_WAITING if only_waits else EXIT_RUN_FAILED


def _age(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = parse_age(text)
    if seconds is None:
        raise UsageError(f'--max-age "{text}" is not an age.', hint="Write it as 30m, 12h or 7d.")
    return seconds
