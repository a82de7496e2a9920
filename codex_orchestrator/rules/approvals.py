"""Who may decide on manual stages, and which decision counts (docs/reference/manifest.md, "Approvals").

A receipt is good for one run and its plan, until it expires, and once: for a stage that has not ended since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Literal

from codex_orchestrator.clock import timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import UsageError
from codex_orchestrator.model.definitions import ManualStage, Pipeline
from codex_orchestrator.model.events import ApprovalRecorded
from codex_orchestrator.model.manifest import Approval, Manifest, Receipt
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.text import flattened

ActorKind = Literal["agent", "ci", "tty", "unattended"]
ApprovalDecision = Literal["approved", "rejected"]

_AGENTS = (
    "AI_AGENT",
    "CLAUDECODE",
    "CODEX_SANDBOX",
    "CODEX_THREAD_ID",
    "CURSOR_AGENT",
    "GEMINI_CLI",
    # A command that was started from within a stage is not a person's either.
    "CODEX_ORCHESTRATOR_RUN_ID",
)
_CI = ("CI", "GITHUB_ACTIONS")


@dataclass(frozen=True)
class Actor:
    """Who decides: a name, and the kind of actor by the environment."""

    name: str
    kind: ActorKind


@dataclass(frozen=True)
class Answer:
    """A decision on a manual stage; the reason is None where none was given."""

    decision: ApprovalDecision
    actor: Actor
    reason: str | None = None


# Asks a person about a stage of a run; None where the decision is left for later.
Ask = Callable[[Manifest, ManualStage], Answer | None]


def scrubbed(answer: Answer, guard: PrivacyGuard) -> Answer:
    """The answer with secrets removed from its reason and its actor's name."""
    actor = replace(answer.actor, name=guard.line(answer.actor.name))
    return replace(answer, actor=actor, reason=guard.line(answer.reason) if answer.reason else answer.reason)


def actor_kind(environ: Mapping[str, str], *, terminal: bool) -> ActorKind:
    """The kind of actor that runs this process, by environment variables.

    Args:
        environ: Its environment.
        terminal: Whether it talks to a person's terminal.
    """
    if any(environ.get(name) for name in _AGENTS):
        return "agent"
    if any(environ.get(name) for name in _CI):
        return "ci"
    return "tty" if terminal else "unattended"


def valid_receipt(
    stage: ManualStage,
    receipts: Iterable[Receipt],
    *,
    plan_digest: str,
    started_at: str,
    ended_at: str | None,
    now: float,
) -> Receipt | None:
    """The decision that counts for a stage now, or None.

    Args:
        stage: The stage.
        receipts: All of the run, in the order they were given; none that names another run.
        plan_digest: Of the plan that is run.
        started_at: When the run began.
        ended_at: When the stage last ended, which used up every receipt from before.
        now: Epoch seconds; what is from after them would outlast every end of the stage.
    """
    moment = timestamp(now)
    for receipt in receipts:
        if (
            receipt.stage_id == stage.id
            and receipt.plan_digest == plan_digest
            and started_at <= receipt.timestamp <= moment
            and (receipt.expires_at is None or receipt.expires_at > moment)
            and (ended_at is None or receipt.timestamp > ended_at)
            and may_decide(stage, receipt.actor_kind)
        ):
            return receipt
    return None


def may_decide(stage: ManualStage, kind: str) -> bool:
    """Whether an actor of that kind may decide: policy ``human`` allows only a person at a terminal."""
    return stage.policy == "any" or kind == "tty"


def stage_to_decide(manifest: Manifest, pipeline: Pipeline, stage_id: str) -> ManualStage:
    """The manual stage that a decision is about.

    Args:
        manifest: The run as it stands.
        pipeline: What it was planned to run.
        stage_id: The stage that somebody names.

    Raises:
        UsageError: There is nothing to decide there.
    """
    stage = next((item for item in pipeline.stages if item.id == stage_id), None)
    entry = next((item for item in manifest.commands if item.id == stage_id), None)
    if stage is None or entry is None:
        known = ", ".join(item.id for item in pipeline.stages if item.kind == "manual")
        raise UsageError(
            f'Unknown stage "{stage_id}" in run {manifest.run_id}.',
            hint=f"Manual stages: {known}." if known else "The run has no manual stages.",
        )
    if not isinstance(stage, ManualStage):
        raise UsageError(
            f'Stage "{stage_id}" of run {manifest.run_id} is of kind {stage.kind}: '
            "only manual stages are decided on."
        )
    if entry.status != "pending" or manifest.status == "succeeded":
        ended = entry.status if entry.status != "pending" else "the run has succeeded without it"
        raise UsageError(
            f'Stage "{stage_id}" of run {manifest.run_id} has ended: {ended}.',
            hint="A run that is resumed asks again about a stage that was rejected.",
        )
    return stage


def refuse_decision(manifest: Manifest, stage: ManualStage, actor: Actor, known: Receipt | None) -> None:
    """Raise where a decision may not be made.

    Args:
        manifest: The run as it stands.
        stage: The stage.
        actor: Who wants to decide.
        known: The decision that counts already, if any.

    Raises:
        UsageError: It may not.
    """
    if not may_decide(stage, actor.kind):
        raise UsageError(
            f'Stage "{stage.id}" is for a person at a terminal to decide (policy human), '
            f"and this is none ({actor.kind})."
        )
    if known is not None:
        raise UsageError(
            f'Stage "{stage.id}" of run {manifest.run_id} is {known.decision} already, '
            f"by {known.actor} at {known.timestamp}.",
            hint="The run takes it up when it is resumed.",
        )


def approved_stages(receipts: Iterable[Receipt], plan_digest: str) -> frozenset[str]:
    """The ids of the stages that somebody has approved in that plan: a changed plan is asked about again."""
    return frozenset(
        receipt.stage_id
        for receipt in receipts
        if receipt.decision == "approved" and receipt.plan_digest == plan_digest
    )


def make_receipt(stage: ManualStage, answer: Answer, *, run_id: str, plan_digest: str, now: float) -> Receipt:
    """A decision, as of now."""
    return Receipt(
        run_id=run_id,
        stage_id=stage.id,
        decision=answer.decision,
        actor=flattened(answer.actor.name),
        actor_kind=answer.actor.kind,
        reason=flattened(answer.reason or "") or None,
        timestamp=timestamp(now),
        expires_at=timestamp(now + stage.expires_seconds) if stage.expires_seconds is not None else None,
        plan_digest=plan_digest,
    )


def approval_of(receipt: Receipt) -> Approval:
    """A decision as the manifest lists it."""
    said = f": {receipt.reason}" if receipt.reason else ""
    return Approval(
        actor=receipt.actor,
        timestamp=receipt.timestamp,
        reason=f"stage:{receipt.stage_id}:{receipt.decision}{said}",
    )


def approval_event(receipt: Receipt) -> ApprovalRecorded:
    """A decision as an event of the run."""
    approval = approval_of(receipt)
    return ApprovalRecorded(actor=approval.actor, reason=approval.reason or "", timestamp=approval.timestamp)
