"""The approvals that a run waits for, in itself and in its sub-pipelines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UnknownRun, UsageError
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.evidence.resuming import read_plan, read_receipts
from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.model.definitions import ManualStage
from codex_orchestrator.model.manifest import TERMINAL, Receipt
from codex_orchestrator.rules.approvals import valid_receipt
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.views.lookup import FoundRun


@dataclass(frozen=True)
class PendingApproval:
    """A manual stage without an end, in a run without an end."""

    run: FoundRun
    stage_id: str
    title: str


def pending_approvals(found: FoundRun) -> Iterator[PendingApproval]:
    """The manual stages that a run waits for or will wait for, its own first."""
    if found.manifest.get("status") in TERMINAL:
        return
    for entry in found.manifest["commands"]:
        if entry.get("kind") == "manual" and entry.get("status") == "pending":
            yield PendingApproval(found, str(entry.get("id")), str(entry.get("title")))
    for child in _children(found):
        yield from pending_approvals(child)


def run_to_decide(found: FoundRun, stage_id: str) -> RunLayout:
    """The run that has a stage: the given one, or the one run of its sub-pipelines that has it.

    Raises:
        UsageError: None has it, or several have.
    """
    if any(entry.get("id") == stage_id for entry in found.manifest["commands"]):
        return found.layout
    gates = list(pending_approvals(found))
    having = [gate.run.layout for gate in gates if gate.stage_id == stage_id]
    if len(having) > 1:
        named = ", ".join(layout.run_id for layout in having)
        raise UsageError(f'Several runs have a stage "{stage_id}": {named}.', hint="Name one with --run.")
    if not having:
        known = ", ".join(gate.stage_id for gate in gates)
        raise UsageError(
            f'Unknown stage "{stage_id}" in run {found.layout.run_id}.',
            hint=f"To be decided on: {known}." if known else "There is nothing to be decided on.",
        )
    return having[0]


def run_to_resume(environment: Environment, layout: RunLayout) -> FoundRun:
    """The run to resume so that a run goes on: itself, or the topmost run that it is a sub-pipeline of."""
    found = FoundRun(layout, read_manifest(layout))
    seen = {layout.run_id}
    while True:
        parent = found.manifest.get("parent_run_id")
        if not isinstance(parent, str) or parent in seen or id_problem(parent) is not None:
            return found
        seen.add(parent)
        try:
            above = _run(TaskLayout(environment, layout.task.task_id), parent)
        except UnknownRun:
            return found
        if all(entry.get("sub_run_id") != found.layout.run_id for entry in above.manifest["commands"]):
            return found
        found = above


def waiting_lines(found: FoundRun, *, now: float) -> list[str]:
    """For people: the approvals that a run waits for, and how to decide."""
    lines = []
    for gate in pending_approvals(found):
        run_id = gate.run.layout.run_id
        receipt = _decided(gate, now=now)
        if receipt is not None:
            lines.append(f"Decided: {gate.title} ({gate.stage_id}), {receipt.decision} by {receipt.actor}")
            lines.append(f"  go on:  codex-orchestrator resume --run {shlex.quote(found.layout.run_id)}")
        elif _waits(gate):
            lines.append(f"Waiting for approval: {gate.title} ({gate.stage_id})")
            words = f"--run {shlex.quote(run_id)} --stage {shlex.quote(gate.stage_id)}"
            lines.append(f"  decide: codex-orchestrator approve {words}  (or: reject)")
    return lines


def _waits(gate: PendingApproval) -> bool:
    """Whether the run has reached the stage, whose entry then has a summary."""
    return any(
        entry.get("id") == gate.stage_id and entry.get("summary") for entry in gate.run.manifest["commands"]
    )


def _decided(gate: PendingApproval, *, now: float) -> Receipt | None:
    plan = read_plan(gate.run.layout)
    stages = plan.pipeline.stages if plan else ()
    stage = next((item for item in stages if item.id == gate.stage_id), None)
    if plan is None or not isinstance(stage, ManualStage):
        return None
    return valid_receipt(
        stage,
        read_receipts(gate.run.layout),
        plan_digest=plan.digest,
        started_at=str(gate.run.manifest.get("started_at")),
        # Whatever had been decided before would have been taken up then.
        ended_at=_last_start(gate.run.manifest),
        now=now,
    )


def _last_start(manifest: dict[str, Any]) -> str:
    events = [event for event in manifest.get("resume_events", ()) if event.get("outcome") == "accepted"]
    return str(events[-1].get("timestamp") if events else manifest.get("started_at"))


def _children(found: FoundRun) -> Iterator[FoundRun]:
    """The runs of its sub-pipelines that can be read."""
    for entry in found.manifest["commands"]:
        child = entry.get("sub_run_id")
        if entry.get("kind") == "subpipeline" and isinstance(child, str) and id_problem(child) is None:
            try:
                yield _run(found.layout.task, child)
            except UnknownRun:
                continue  # It died before it had a manifest.


def _run(task: TaskLayout, run_id: str) -> FoundRun:
    layout = task.run(run_id)
    return FoundRun(layout, read_manifest(layout))
