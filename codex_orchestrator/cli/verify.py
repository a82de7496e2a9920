"""``verify``: whether evidence is what was sealed."""

from __future__ import annotations

import argparse

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import (
    add_format,
    add_public_keys,
    add_root,
    add_run,
    add_task,
    environment_of,
    public_keys,
    task_of,
)
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED
from codex_orchestrator.evidence.seal_check import Chain
from codex_orchestrator.evidence.sealing import read_seal
from codex_orchestrator.rules.flaws import Flaw
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.text import printable
from codex_orchestrator.views.lookup import run_layouts
from codex_orchestrator.views.verification import Verification, run_to_verify, verification_document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``verify``."""
    add_run(parser)
    parser.add_argument("--all", action="store_true", help="all runs of the task, and the whole chain")
    add_public_keys(parser, "--key", "have runs be signed by this public key, a PEM file")
    add_task(parser)
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Tell what does not hold, a finding a line; 1 where there is one."""
    environment = environment_of(arguments)
    name = task_of(environment, arguments)
    keys = public_keys(environment, arguments.key)
    if arguments.all:
        task = TaskLayout(environment, name)
        layouts = sorted(run_layouts(task), key=lambda each: each.run_id)
    else:
        layouts = [run_to_verify(environment, arguments.run, name)]
        task = layouts[0].task
    chain = Chain(task)
    verification = Verification(chain, now=SystemClock().now(), keys=keys)
    as_json = arguments.format == "json"
    found: list[Flaw] = []

    def tell(flaw: Flaw) -> None:
        if flaw not in found:
            found.append(flaw)
            if not as_json:
                render.emit(f"{flaw.kind}: {printable(flaw.path)}: {printable(flaw.message)}")

    for flaw in chain.flaws:
        tell(flaw)
    sealed = 0
    for layout in layouts:
        sealed += read_seal(layout) is not None
        for flaw in verification.flaws(layout):
            tell(flaw)
    if as_json:
        render.emit_json(verification_document(found, runs=len(layouts), sealed=sealed))
    else:
        what = (
            f"run {layouts[0].run_id}" if not arguments.all else f"{len(layouts)} runs of task {task.task_id}"
        )
        render.emit(f"{what}: {_outcome(len(found))}")
    return EXIT_RUN_FAILED if found else EXIT_OK


def _outcome(count: int) -> str:
    if not count:
        return "all holds"
    return "1 finding" if count == 1 else f"{count} findings"
