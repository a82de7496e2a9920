"""``sign``: answer for a run's seal with a key."""

from __future__ import annotations

import argparse
import shlex

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import (
    add_format,
    add_root,
    add_run,
    add_task,
    environment_of,
    found_run,
    task_of,
)
from codex_orchestrator.cli.prompt import ask_passphrase
from codex_orchestrator.clock import Clock, SystemClock
from codex_orchestrator.engine.signing import signing_key
from codex_orchestrator.environment import SIGN_KEY
from codex_orchestrator.errors import EXIT_OK, OrchestratorError, UsageError
from codex_orchestrator.evidence.approvals import kept_from_others
from codex_orchestrator.evidence.seal_check import Chain
from codex_orchestrator.evidence.signing import require_sealed, sign_run
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.views.verification import Verification


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``sign``."""
    add_run(parser)
    parser.add_argument(
        "--key", metavar="KEY", help="the private key, a PEM file (default: CODEX_ORCHESTRATOR_SIGN_KEY)"
    )
    add_task(parser)
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sign what holds; 1 where something does not."""
    environment = environment_of(arguments)
    layout = found_run(environment, arguments.run, task_of(environment, arguments)).layout
    key = signing_key(environment, arguments.key, ask_passphrase)
    if key is None:
        raise UsageError("No key is named.", hint=f"Pass --key KEY, or set {SIGN_KEY}.")
    clock = SystemClock()
    with kept_from_others(layout, clock):
        require_sealed(layout)
        _require_whole(layout, clock)
        envelope = sign_run(layout, key)
    path, keyid = layout.relative(layout.signature), envelope.signatures[-1].keyid
    if arguments.format == "json":
        render.emit_json({"run_id": layout.run_id, "signature": path, "keyid": keyid})
    else:
        render.emit_lines([f"Run signed: {layout.run_id}", f"Key: {keyid}", f"Signature: {path}"])
    return EXIT_OK


def _require_whole(layout: RunLayout, clock: Clock) -> None:
    """Refuse to answer for what is not as it was sealed.

    Raises:
        OrchestratorError: That is so.
    """
    chain = Chain(layout.task, back_to=layout.run_id)
    found = [*chain.flaws, *Verification(chain, now=clock.now()).flaws(layout)]
    # A signature of before is replaced.
    flaw = next((flaw for flaw in found if flaw.kind != "bad-signature"), None)
    if flaw is not None:
        raise OrchestratorError(
            f"Run {layout.run_id} is not signed, as its evidence does not hold: {flaw.text}",
            hint=f"See all that is wrong: codex-orchestrator verify --run {shlex.quote(layout.run_id)}",
        )
