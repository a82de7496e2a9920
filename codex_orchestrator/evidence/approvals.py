"""Records decisions on a run that no process owns (docs/reference/manifest.md, "Approvals")."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from codex_orchestrator.clock import Clock
from codex_orchestrator.errors import Busy, UnknownRun, UsageError
from codex_orchestrator.evidence.coordinator import add_approvals
from codex_orchestrator.evidence.lines import append, mend_last_line
from codex_orchestrator.evidence.locks import wait_for_lock
from codex_orchestrator.evidence.manifests import is_owned_elsewhere
from codex_orchestrator.evidence.resuming import (
    add_receipt,
    read_log,
    read_plan,
    read_receipts,
    read_whole_manifest,
)
from codex_orchestrator.model.events import encode
from codex_orchestrator.model.manifest import PlanRecord, Receipt
from codex_orchestrator.rules.approvals import (
    Answer,
    approval_event,
    approval_of,
    make_receipt,
    refuse_decision,
    stage_to_decide,
    valid_receipt,
)
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.rules.replay import catch_up

_PATIENCE_SECONDS = 1.0


def record_decision(layout: RunLayout, stage_id: str, answer: Answer, clock: Clock) -> Receipt:
    """Append the receipt of a decision, and record the decision in log and manifest.

    The receipt comes first: it is what counts, and a run that goes on makes good what its manifest lacks.

    Raises:
        UnknownRun: The manifest cannot be used.
        UsageError: There is nothing to decide, or the decision may not be made; nothing was changed.
        Busy: A live process owns the run; nothing was changed.
        StorageError: The disk refused.
    """
    plan = read_plan(layout)
    if plan is None:
        raise UsageError(
            f"Run {layout.run_id} cannot be decided on: {layout.plan} is missing or not a plan.",
            hint="Resume the run: that writes it.",
        )
    with kept_from_others(layout, clock):
        return _record(layout, plan, stage_id, answer, clock)


def _record(layout: RunLayout, plan: PlanRecord, stage_id: str, answer: Answer, clock: Clock) -> Receipt:
    manifest = read_whole_manifest(layout)
    if manifest.run_id != layout.run_id:
        raise UnknownRun(f"{layout.manifest} is the manifest of another run: {manifest.run_id}.")
    replay = read_log(layout)
    manifest = catch_up(manifest, replay)
    stage = stage_to_decide(manifest, plan.pipeline, stage_id)
    now, ended_at = clock.now(), replay.ended.get(stage_id)
    counts = partial(
        valid_receipt,
        stage,
        plan_digest=plan.digest,
        started_at=manifest.started_at,
        ended_at=ended_at,
        now=now,
    )
    refuse_decision(manifest, stage, answer.actor, counts(read_receipts(layout)))
    receipt = make_receipt(stage, answer, run_id=layout.run_id, plan_digest=plan.digest, now=now)
    if counts([receipt]) is None:
        what = f'Stage "{stage_id}" ended' if ended_at else f"Run {layout.run_id} was started"
        raise UsageError(
            f"{what} at {ended_at or manifest.started_at}, which lies in the future.",
            hint="Set this machine's clock right.",
        )
    add_receipt(layout, receipt)
    mend_last_line(layout.runner_log, below=layout.base)
    append(layout.runner_log, encode(approval_event(receipt)), below=layout.base)
    add_approvals(layout, [*manifest.approvals, approval_of(receipt)])
    return receipt


@contextmanager
def kept_from_others(layout: RunLayout, clock: Clock) -> Iterator[None]:
    """Keep others away from a run without becoming its owner: ``status`` goes by the owner's name.

    Raises:
        Busy: A live process owns it.
    """
    busy = Busy(f"A live process owns the run ({layout.folder}).", hint="Wait for it to end.")
    if is_owned_elsewhere(layout, now=clock.now()):
        raise busy
    lock = wait_for_lock(layout.lock, _PATIENCE_SECONDS, below=layout.base)
    if lock is None:
        raise busy
    try:
        yield
    finally:
        lock.release()
