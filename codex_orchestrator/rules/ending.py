"""A run's end: its final status and words (docs/reference/manifest.md, "Status" and "Run summary")."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.events import RunCompleted
from codex_orchestrator.model.manifest import Manifest, RunStatus
from codex_orchestrator.rules import recorder
from codex_orchestrator.rules.guardrails import guardrail_status
from codex_orchestrator.rules.summary import compose_summary, failure_line, joined, partial_line


@dataclass(frozen=True)
class RunEndFacts:
    """The facts that decide on a run's end besides its manifest.

    Attributes:
        selected: The ids of the stages that this session meant to run.
        cancelled_by: The signal that cancelled the run, or None.
        lines: By stage index, what the summary says of a failure where it is not the exit code.
        interrupted: The indexes of stages that were ended, and did not fail by themselves.
        warnings: Degraded recording and the like.
    """

    selected: Collection[str]
    cancelled_by: str | None
    lines: Mapping[int, str]
    interrupted: Collection[int]
    warnings: Sequence[str]


def finish(
    manifest: Manifest, ending: RunEndFacts, *, now: str, run_summary_path: str
) -> tuple[Manifest, RunCompleted]:
    """The manifest of the ended run, and the event that says so."""
    guardrails = guardrail_status(manifest, computed_at=now)
    status = final_status(manifest, ending)
    completed = RunCompleted(
        run_id=manifest.run_id,
        status=status,
        status_detail=_detail(manifest, ending, status),
        summary=compose_summary(
            manifest, guardrails, first_lines=_first_lines(manifest, ending), warnings=ending.warnings
        ),
        timestamp=now,
    )
    finished = replace(
        recorder.apply(manifest, completed),
        guardrail_status=guardrails,
        run_summary_path=run_summary_path,
    )
    return finished, completed


def _detail(manifest: Manifest, ending: RunEndFacts, status: RunStatus) -> str | None:
    if ending.cancelled_by:
        return f"cancelled:{ending.cancelled_by}"
    # Still there where a resumed run had nothing left to do but to end.
    detail = None if manifest.status_detail == recorder.RESUMING else manifest.status_detail
    ended = next((entry for entry in manifest.commands if entry.status == "failed"), None)
    if detail is None and ended is not None and status == "failed":
        # None has failed by itself, and no signal has ended them.
        return f"stage:{ended.id}:error"
    return detail


def final_status(manifest: Manifest, ending: RunEndFacts) -> RunStatus:
    """Cancelled, failed, or (only when every selected stage ended well) succeeded."""
    if ending.cancelled_by:
        return "cancelled"
    if manifest.control_plane is not None and manifest.control_plane.refuses:
        return "failed"
    ended_well = all(
        entry.status in ("succeeded", "skipped") for entry in manifest.commands if entry.id in ending.selected
    )
    return "succeeded" if ended_well else "failed"


def add_warnings(manifest: Manifest, warnings: Sequence[str]) -> Manifest:
    """The manifest with warnings that came after its summary; the guardrail part stays last."""
    if not warnings or manifest.guardrail_status is None or manifest.summary is None:
        return manifest
    guardrails = manifest.guardrail_status
    last = [line for line in (guardrails.recommendation, guardrails.summary) if line]
    lines = manifest.summary.split("\n")[: -len(last)]
    return replace(manifest, summary=joined([*lines, *warnings, *last]))


def _first_lines(manifest: Manifest, ending: RunEndFacts) -> list[str]:
    """Cancellation or failure, stages that never ran, and a partial selection."""
    control_plane = manifest.control_plane
    lines = [control_plane.summary] if control_plane is not None and control_plane.refuses else []
    failure = failure_line(manifest, ending.lines, ending.interrupted)
    if ending.cancelled_by:
        lines.append(f"Run cancelled by {ending.cancelled_by}.")
    elif failure:
        lines.append(failure)
    else:
        waiting = [e for e in manifest.commands if e.id in ending.selected and e.status == "pending"]
        if waiting:
            lines.append(f"{len(waiting)} of {len(ending.selected)} selected stages did not run.")
    partial = partial_line(len(ending.selected), len(manifest.commands))
    return [*lines, partial] if partial else lines
