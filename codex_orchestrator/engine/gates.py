"""Stages without a command to run: what people decide, what other runs make of them, what is left out."""

from __future__ import annotations

from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.engine.manager import TaskManager
from codex_orchestrator.evidence.resuming import add_receipt, read_receipts
from codex_orchestrator.model.definitions import ManualStage, SubpipelineStage
from codex_orchestrator.model.events import ChildChanged
from codex_orchestrator.model.manifest import TERMINAL, CommandEntry, Manifest, Receipt
from codex_orchestrator.rules.approvals import (
    Answer,
    Ask,
    approval_event,
    approval_of,
    make_receipt,
    scrubbed,
    valid_receipt,
)
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.rules.stage import StageOutcome
from codex_orchestrator.rules.verdict import (
    child_error,
    judge_child,
    judge_decision,
    skipped_by_definition,
    waiting_summary,
)


def decide(manager: TaskManager, stage: ManualStage, clock: Clock, ask: Ask | None = None) -> CommandEntry:
    """End a manual stage by the decision that is there for it, or have it wait for one.

    Args:
        manager: The run.
        stage: The stage.
        clock: Time.
        ask: Asks a person, where there is one.

    Raises:
        StorageError: The evidence cannot be written.
    """
    receipts = read_receipts(manager.layout)
    for known in receipts:
        # Whoever left it may have died before the manifest knew.
        if approval_of(known) not in manager.manifest.approvals:
            _note(manager, known)
    receipt = valid_receipt(
        stage,
        receipts,
        plan_digest=manager.live.plan_digest,
        started_at=manager.manifest.started_at,
        ended_at=manager.live.ended.get(stage.id),
        now=clock.now(),
    )
    if receipt is None:
        manager.wait(stage.id, waiting_summary(stage))
        answer = ask(manager.manifest, stage) if ask else None
        if answer is None:
            return manager.entry(stage.id)
        receipt = _record(manager, stage, answer, clock)
    place = manager.manifest.approvals.index(approval_of(receipt))
    cited = f"{manager.layout.relative(manager.layout.manifest)}#approvals[{place}]"
    verdict = judge_decision(stage, receipt, cited=cited)
    succeeded = verdict.status == "succeeded"
    outcome = StageOutcome(
        status="succeeded" if succeeded else "failed",
        exit_code=None,
        cause=None if succeeded else verdict.summary,
    )
    return manager.end_stage(stage.id, verdict, outcome)


def leave_out(manager: TaskManager, stage_id: str, reason: str) -> CommandEntry:
    """End a stage whose definition says why it is not run.

    Raises:
        StorageError: The evidence cannot be written.
    """
    outcome = StageOutcome(status="succeeded", exit_code=None)
    return manager.end_stage(stage_id, skipped_by_definition(manager.guard.scrub(reason)), outcome)


def announce_child(
    parent: TaskManager, layout: RunLayout, pipeline_id: str, stage_id: str, clock: Clock
) -> None:
    """Take up the run that a stage is about to get, so that it has a parent whenever this process dies.

    Raises:
        StorageError: The evidence cannot be written.
    """
    parent.record(
        ChildChanged(
            child_run_id=layout.run_id,
            pipeline_id=pipeline_id,
            status="queued",
            manifest=layout.relative(layout.manifest),
            timestamp=timestamp(clock.now()),
            index=parent.entry(stage_id).index,
        )
    )


def note_child(parent: TaskManager, child: TaskManager, clock: Clock, *, stage_id: str | None = None) -> None:
    """Take up how a stage's own run stands; with the stage's id where the run begins.

    Raises:
        StorageError: The evidence cannot be written.
    """
    manifest = child.manifest
    parent.record(
        ChildChanged(
            child_run_id=manifest.run_id,
            pipeline_id=manifest.pipeline_id,
            status=manifest.status,
            manifest=child.layout.relative(child.layout.manifest),
            timestamp=timestamp(clock.now()),
            index=None if stage_id is None else parent.entry(stage_id).index,
        )
    )


def complete_child(manager: TaskManager, stage: SubpipelineStage, child: Manifest) -> CommandEntry:
    """End a sub-pipeline stage as its run has ended, or have it wait as its run does.

    Raises:
        StorageError: The evidence cannot be written.
    """
    if child.status not in TERMINAL:
        manager.wait(stage.id, f"Waiting for approval in run {child.run_id}.")
        return manager.entry(stage.id)
    verdict = judge_child(stage, child)
    succeeded = verdict.status == "succeeded"
    outcome = StageOutcome(
        status="succeeded" if succeeded else "failed",
        exit_code=None,
        cause=None if succeeded else f"Run {child.run_id} of pipeline {child.pipeline_id}: {child.status}",
    )
    return manager.end_stage(stage.id, verdict, outcome)


def fail_child(manager: TaskManager, stage: SubpipelineStage, cause: str) -> CommandEntry:
    """End a sub-pipeline stage whose run could not be opened.

    Raises:
        StorageError: The evidence cannot be written.
    """
    outcome = StageOutcome(status="failed", exit_code=None, cause=cause)
    return manager.end_stage(stage.id, child_error(stage, cause), outcome)


def _record(manager: TaskManager, stage: ManualStage, answer: Answer, clock: Clock) -> Receipt:
    """Leave the receipt of a decision that was made while the run is here."""
    receipt = make_receipt(
        stage,
        scrubbed(answer, manager.guard),
        run_id=manager.layout.run_id,
        plan_digest=manager.live.plan_digest,
        now=clock.now(),
    )
    add_receipt(manager.layout, receipt)
    _note(manager, receipt)
    return receipt


def _note(manager: TaskManager, receipt: Receipt) -> None:
    manager.record(approval_event(receipt))
