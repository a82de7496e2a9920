"""Resuming a run: what is kept, and what runs again (docs/reference/manifest.md, "Resuming")."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator
from dataclasses import fields, replace
from hashlib import sha256

from codex_orchestrator.model import scheduler as instances
from codex_orchestrator.model.definitions import Pipeline, Stage
from codex_orchestrator.model.manifest import CommandEntry, Handle, Manifest, ResumeEvent
from codex_orchestrator.model.privacy_record import empty_record
from codex_orchestrator.privacy.policy import Mode
from codex_orchestrator.rules.first_manifest import first_entry
from codex_orchestrator.rules.guardrails import guardrails_required
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.rules.recorder import RESUMING

_DIGEST = "sha256:"


def token_fits(manifest: Manifest, token: str) -> bool:
    """Whether a token is the run's, compared in constant time; manifests of the Node CLI hold it as it is."""
    known = manifest.resume_token
    given = f"{_DIGEST}{sha256(token.encode()).hexdigest()}" if known.startswith(_DIGEST) else token
    return hmac.compare_digest(known.encode(), given.encode())


def with_resume_event(manifest: Manifest, event: ResumeEvent) -> Manifest:
    """The manifest with one more attempt to resume it; nothing else of it changes."""
    return replace(manifest, resume_events=(*manifest.resume_events, event), updated_at=event.timestamp)


def resumed_manifest(
    manifest: Manifest,
    pipeline: Pipeline,
    layout: RunLayout,
    event: ResumeEvent,
    *,
    approved: Collection[str] = (),
    privacy_mode: Mode = "shadow",
) -> Manifest:
    """The manifest of a resumed run: stages that succeeded keep their entries, matched by id.

    Args:
        manifest: The run as it ended, however it ended.
        pipeline: What to run now.
        layout: Where the run lives.
        event: Who resumes it, and why.
        approved: The ids of the manual stages that somebody has approved in this very pipeline.
        privacy_mode: The privacy guard's, from now on.
    """
    known = {entry.id: entry for entry in manifest.commands}
    commands = tuple(
        _entry(layout, index, stage, known.get(stage.id), approved)
        for index, stage in enumerate(pipeline.stages, start=1)
    )
    return replace(
        with_resume_event(manifest, event),
        pipeline_title=pipeline.title,
        status="in_progress",
        status_detail=RESUMING,
        completed_at=None,
        summary=None,
        metrics_recorded=False,
        commands=commands,
        run_summary_path=None,
        guardrails_required=guardrails_required(pipeline),
        scheduler=manifest.scheduler and instances.ended(manifest.scheduler, timestamp=event.timestamp),
        guardrail_status=None,
        handles=_closed_handles(manifest),
        privacy=replace(manifest.privacy or empty_record(privacy_mode), mode=privacy_mode),
    )


def changes(before: Pipeline, after: Pipeline) -> list[str]:
    """The differences between two versions of a pipeline, a line each."""
    lines = [
        f"{field.name} is different"
        for field in fields(Pipeline)
        if field.name != "stages" and getattr(before, field.name) != getattr(after, field.name)
    ]
    old = {stage.id: stage for stage in before.stages}
    new = {stage.id: stage for stage in after.stages}
    lines += [f'stage "{name}" is gone' for name in old if name not in new]
    lines += [f'stage "{name}" is new' for name in new if name not in old]
    for name, stage in old.items():
        if name in new:
            lines += [f'stage "{name}": {what}' for what in _stage_changes(stage, new[name])]
    if not lines and list(old) != list(new):
        lines.append("the stages are in another order")
    return lines


def changes_by_entries(entries: tuple[CommandEntry, ...], after: Pipeline) -> list[str]:
    """`changes`, for a run that has no plan and of which only the manifest is known."""
    old = {entry.id: entry for entry in entries}
    new = {stage.id: stage for stage in after.stages}
    lines = [f'stage "{name}" is gone' for name in old if name not in new]
    lines += [f'stage "{name}" is new' for name in new if name not in old]
    for name, entry in old.items():
        stage = new.get(name)
        if stage is not None and entry.kind != stage.kind:
            lines.append(f'stage "{name}": kind is different')
        elif stage is not None and entry.command not in (None, getattr(stage, "command", None)):
            lines.append(f'stage "{name}": command is different')
    return lines


def _stage_changes(before: Stage, after: Stage) -> Iterator[str]:
    if before.kind != after.kind:
        yield f"kind is {after.kind}, was {before.kind}"
        return
    for field in fields(before):
        if getattr(before, field.name) != getattr(after, field.name):
            # Values may be secrets, and commands are long: the file shows them.
            yield f"{field.name} is different"


def _entry(
    layout: RunLayout, index: int, stage: Stage, known: CommandEntry | None, approved: Collection[str]
) -> CommandEntry:
    fresh = first_entry(layout, index, stage)
    if known is None or known.kind != stage.kind:
        return fresh
    # What was approved was the pipeline as it was then.
    if known.status == "succeeded" and (stage.kind != "manual" or stage.id in approved):
        return replace(known, index=index, title=stage.title)
    # A child run is taken up again too, and not made anew.
    return replace(fresh, sub_run_id=known.sub_run_id)


def _closed_handles(manifest: Manifest) -> tuple[Handle, ...] | None:
    return manifest.handles and tuple(replace(handle, status="closed") for handle in manifest.handles)
