"""``check``: what became of the evidence that a text cites."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from codex_orchestrator import named
from codex_orchestrator.checks.work_tree_id import WorkTreeId
from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, add_root, environment_of
from codex_orchestrator.cli.tree import tree_asked_for
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED, Misplaced, UsageError
from codex_orchestrator.rules.tokens import citations
from codex_orchestrator.text import printable
from codex_orchestrator.views.citations import Checker, answer_document, answer_lines

_ANY, _WORK_TREE, _STDIN = "any", "worktree", "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``check``."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a text; - for standard input")
    parser.add_argument(
        "--tree",
        metavar="TREE",
        default=_WORK_TREE,
        help="what it is to be evidence for: worktree (the default), a commit or tree, or any",
    )
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Answer each token; 1 unless there are some, and all are supported."""
    environment = environment_of(arguments)
    texts = [(name, _text(name)) for name in arguments.files]
    checker = Checker(
        environment,
        _tree(environment, arguments.tree),
        now=SystemClock().now(),
        any_tree=arguments.tree == _ANY,
    )
    answers = [checker.answer(found, name) for name, text in texts for found in citations(text)]
    document = answer_document(answers)
    if arguments.format == "json":
        render.emit_json(document)
    else:
        render.emit_lines(answer_lines(answers) or ["No token was found: nothing is cited."])
    return EXIT_OK if document["supported"] else EXIT_RUN_FAILED


def _tree(environment: Environment, asked: str) -> str | None:
    if asked == _ANY:
        return None
    if asked == _WORK_TREE:
        return WorkTreeId(environment).state().tree
    return tree_asked_for(environment, asked)


def _text(name: str) -> str:
    if name == _STDIN:
        return sys.stdin.buffer.read().decode("utf-8", "replace") if sys.stdin is not None else ""
    try:
        return named.read(Path(name)).decode("utf-8-sig", "replace")
    except Misplaced as error:
        raise UsageError(error.message, hint=error.hint) from error
    except OSError as error:
        raise UsageError(f"Cannot read {printable(name)}: {error.strerror or error}.") from error
