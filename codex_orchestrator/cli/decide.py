"""What ``approve`` and ``reject`` share (docs/reference/manifest.md, "Approvals")."""

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
from codex_orchestrator.cli.prompt import current_actor
from codex_orchestrator.cli.session import add_running, passphrase_asker, run_and_tell
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.engine.preparation import Prepared, prepare, require_runnable, with_signing_key
from codex_orchestrator.environment import PRIVACY_GUARD, Environment
from codex_orchestrator.errors import EXIT_OK, UsageError
from codex_orchestrator.evidence.approvals import record_decision
from codex_orchestrator.model.codec import to_json
from codex_orchestrator.model.manifest import Receipt
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.rules.approvals import Answer, ApprovalDecision, scrubbed
from codex_orchestrator.text import flattened
from codex_orchestrator.views.lookup import FoundRun
from codex_orchestrator.views.pending_approvals import run_to_decide, run_to_resume
from codex_orchestrator.views.resume_invocation import resume_invocation


def add_deciding(parser: argparse.ArgumentParser) -> None:
    """The flags of ``approve`` and ``reject``."""
    add_run(parser)
    parser.add_argument("--stage", required=True, metavar="STAGE", help="the manual stage")
    parser.add_argument("--actor", metavar="NAME", help="who decides (default: the login name)")
    parser.add_argument("--reason", metavar="TEXT", help="why")
    parser.add_argument("--resume", action="store_true", help="go on with the run at once")
    add_running(parser)
    add_task(parser)
    add_format(parser)
    add_root(parser)


def decide(arguments: argparse.Namespace, decision: ApprovalDecision) -> int:
    """Record the decision, and (``--resume``) go on with the run: then with the exit codes of ``resume``."""
    if arguments.actor is not None and not flattened(arguments.actor):
        raise UsageError("--actor is empty.", hint="Name who decides, or leave it out for the login name.")
    environment = environment_of(arguments)
    found = found_run(environment, arguments.run, task_of(environment, arguments))
    layout = run_to_decide(found, arguments.stage)
    resumed = run_to_resume(environment, layout)
    answer = Answer(decision, current_actor(arguments.actor), arguments.reason)
    if environment.enforces(PRIVACY_GUARD):
        answer = scrubbed(answer, _guard(environment))
    prepared = _prepared(environment, resumed, answer, arguments) if arguments.resume else None
    receipt = record_decision(layout, arguments.stage, answer, SystemClock())
    manifest = layout.relative(layout.manifest)
    if prepared is not None:
        # With JSON, the run's answer is the one document.
        (render.tell if arguments.format == "json" else render.emit_lines)([_line(receipt, layout.run_id)])
        return run_and_tell(prepared, arguments, verb="resumed")
    if arguments.format == "json":
        render.emit_json({"run_id": layout.run_id, "manifest": manifest, **to_json(receipt)})
    else:
        go_on = f"Go on with: codex-orchestrator resume --run {shlex.quote(resumed.layout.run_id)}"
        render.emit_lines([_line(receipt, layout.run_id), f"Manifest: {manifest}", go_on])
    return EXIT_OK


def _guard(environment: Environment) -> PrivacyGuard:
    definitions = load_definitions(environment)
    return PrivacyGuard.of(environment, definitions.configuration.privacy, definitions.own_pipelines)


def _prepared(
    environment: Environment, found: FoundRun, answer: Answer, arguments: argparse.Namespace
) -> Prepared:
    """Prepare to resume the run, before the decision is recorded, so that refusals come first."""
    invocation = resume_invocation(
        environment,
        found.layout.run_id,
        found.layout.task.task_id,
        keep_going=arguments.keep_going,
        cluster=arguments.cluster,
        sign=arguments.sign,
        actor=answer.actor.name,
        reason=f"stage:{arguments.stage}:{answer.decision}",
    )
    prepared = prepare(environment, invocation)
    require_runnable(prepared)
    return with_signing_key(prepared, passphrase_asker(arguments))


def _line(receipt: Receipt, run_id: str) -> str:
    said = f": {receipt.reason}" if receipt.reason else ""
    until = f", until {receipt.expires_at}" if receipt.expires_at else ""
    who = f"{receipt.actor} ({receipt.actor_kind})"
    return f"Stage {receipt.stage_id} of run {run_id}: {receipt.decision} by {who}{until}{said}"
