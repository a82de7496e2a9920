"""``verify``: whether evidence is what was sealed."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import (
    add_format,
    add_public_keys,
    add_root,
    add_run,
    add_task,
    current_folder,
    environment_of,
    is_bundle,
    notify,
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
    add_run(parser, bundles=True)
    parser.add_argument("--all", action="store_true", help="all runs of the task, and the whole chain")
    add_public_keys(parser, "--key", "have runs be signed by this public key, a PEM file")
    add_task(parser)
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Tell what does not hold, a finding a line; 1 where there is one."""
    if is_bundle(arguments.run):
        return _verify_bundle(arguments)
    environment = environment_of(arguments)
    name = task_of(environment, arguments)
    keys = public_keys(arguments.key)
    if arguments.all:
        task = TaskLayout(environment, name)
        layouts = sorted(run_layouts(task), key=lambda each: each.run_id)
    else:
        layouts = [run_to_verify(environment, arguments.run, name)]
        task = layouts[0].task
    chain = Chain(task)
    verification = Verification(chain, now=SystemClock().now(), keys=keys)
    findings = _Findings(as_json=arguments.format == "json")
    findings.tell(chain.flaws)
    sealed = 0
    for layout in layouts:
        sealed += read_seal(layout) is not None
        findings.tell(verification.flaws(layout))
    what = f"run {layouts[0].run_id}" if not arguments.all else f"{len(layouts)} runs of task {task.task_id}"
    return findings.conclude(what, runs=len(layouts), sealed=sealed)


def _verify_bundle(arguments: argparse.Namespace) -> int:
    """The same for all runs in a bundle."""
    from codex_orchestrator.evidence.bundles import opened_bundle
    from codex_orchestrator.views.bundles import bundle_flaws

    keys = public_keys(arguments.key)
    findings = _Findings(as_json=arguments.format == "json")
    with opened_bundle(current_folder() / arguments.run) as bundle:
        findings.tell(bundle_flaws(bundle, now=SystemClock().now(), keys=keys))
        left_out = bundle.left_out().values()
        notify(tuple(f"note: left out: {one.path} ({one.reason})" for one in left_out))
        runs = bundle.listed.runs
        more = f" and {len(runs) - 1} that it has started" if len(runs) > 1 else ""
        sealed = sum(each.root is not None for each in runs)
        return findings.conclude(f"run {runs[0].run_id}{more}", runs=len(runs), sealed=sealed)


class _Findings:
    """Tells what is wrong as it is found, each thing once."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._found: dict[Flaw, None] = {}

    def tell(self, flaws: Iterable[Flaw]) -> None:
        for flaw in flaws:
            if flaw not in self._found:
                self._found[flaw] = None
                if not self._as_json:
                    render.emit(f"{flaw.kind}: {printable(flaw.path)}: {printable(flaw.message)}")

    def conclude(self, what: str, *, runs: int, sealed: int) -> int:
        """Tell what became of it; the exit code."""
        if self._as_json:
            render.emit_json(verification_document(self._found, runs=runs, sealed=sealed))
        else:
            render.emit(f"{what}: {_outcome(len(self._found))}")
        return EXIT_RUN_FAILED if self._found else EXIT_OK


def _outcome(count: int) -> str:
    if not count:
        return "all holds"
    return "1 finding" if count == 1 else f"{count} findings"
