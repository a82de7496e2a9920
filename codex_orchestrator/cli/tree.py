"""``tree``: the id of the work tree, or of a commit, as runs record it."""

from __future__ import annotations

import argparse

from codex_orchestrator.checks.work_tree_id import WorkTreeId
from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, add_root, environment_of
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import EXIT_OK, UsageError
from codex_orchestrator.text import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``tree``."""
    parser.add_argument(
        "ref",
        nargs="?",
        metavar="REF",
        help="a commit, branch, tag or tree (default: the work tree as it is)",
    )
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    tree = tree_asked_for(environment_of(arguments), arguments.ref)
    if arguments.format == "json":
        render.emit_json({"ref": arguments.ref, "tree": tree})
    else:
        render.emit(tree)
    return EXIT_OK


def tree_asked_for(environment: Environment, ref: str | None) -> str:
    """The id of the tree of a ref, or of the work tree.

    Raises:
        UsageError: git knows no such ref, or the work tree has no id.
    """
    known = WorkTreeId(environment)
    if ref is not None:
        tree = known.tree_of(ref)
        if tree is None:
            raise UsageError(f'git knows no commit or tree "{printable(ref)}" here.')
        return tree
    state = known.state()
    if state.tree is None:
        root = printable(str(environment.root))
        raise UsageError(state.problem or f"{root} is in no work tree of git, so that it has no tree.")
    return state.tree
