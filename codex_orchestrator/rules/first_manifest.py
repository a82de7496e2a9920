"""The first manifest of a run: every planned stage has its entry from the first write on."""

from __future__ import annotations

from dataclasses import replace

from codex_orchestrator.model.control_plane import REFUSED, ControlPlane
from codex_orchestrator.model.definitions import CommandStage, Pipeline, Stage
from codex_orchestrator.model.manifest import HEARTBEAT_SECONDS, STALE_SECONDS, CommandEntry, Manifest
from codex_orchestrator.rules.guardrails import guardrails_required
from codex_orchestrator.rules.layout import RunLayout


def first_manifest(
    layout: RunLayout,
    pipeline: Pipeline,
    *,
    started_at: str,
    token: str,
    target: str | None,
    parent_run_id: str | None,
    approval_policy: str | None,
    instructions_hash: str | None,
    instructions_sources: tuple[str, ...],
) -> Manifest:
    """The manifest of a run that is about to start.

    Args:
        layout: Where the run lives.
        pipeline: What it runs.
        started_at: Its start, as a timestamp.
        token: ``sha256:…`` of the resume token.
        target: The plan's target id.
        parent_run_id: The run that started this one, or None.
        approval_policy: As asked for, or None.
        instructions_hash: Of the repo's instructions, or None.
        instructions_sources: The files it covers.
    """
    return Manifest(
        version=1,
        task_id=layout.task.task_id,
        task_slug=layout.task.task_id,
        run_id=layout.run_id,
        parent_run_id=parent_run_id,
        pipeline_id=pipeline.id,
        pipeline_title=pipeline.title,
        runner="codex-cli",
        approval_policy=approval_policy,
        status="queued",
        status_detail=None,
        started_at=started_at,
        completed_at=None,
        updated_at=started_at,
        heartbeat_at=None,
        heartbeat_interval_seconds=HEARTBEAT_SECONDS,
        heartbeat_stale_after_seconds=STALE_SECONDS,
        artifact_root=layout.relative(layout.folder),
        compat_path=layout.relative(layout.mcp_folder),
        log_path=layout.relative(layout.runner_log),
        summary=None,
        metrics_recorded=False,
        resume_token=token,
        resume_events=(),
        approvals=(),
        commands=tuple(
            first_entry(layout, index, stage) for index, stage in enumerate(pipeline.stages, start=1)
        ),
        child_runs=(),
        run_summary_path=None,
        plan_target_id=target,
        instructions_hash=instructions_hash,
        instructions_sources=instructions_sources,
        guardrails_required=guardrails_required(pipeline),
    )


def with_request(manifest: Manifest, found: ControlPlane) -> Manifest:
    """The manifest with the result of checking the run's request, which may forbid that anything runs."""
    detail = REFUSED if found.refuses else manifest.status_detail
    return replace(manifest, control_plane=found, status_detail=detail)


def first_entry(layout: RunLayout, index: int, stage: Stage) -> CommandEntry:
    """The entry of a stage that has not begun."""
    is_command = isinstance(stage, CommandStage)
    return CommandEntry(
        index=index,
        id=stage.id,
        title=stage.title,
        command=stage.command if isinstance(stage, CommandStage) else None,
        kind=stage.kind,
        status="pending",
        started_at=None,
        completed_at=None,
        exit_code=None,
        summary=None,
        log_path=layout.relative(layout.command_log(index, stage.id)) if is_command else None,
        error_file=None,
        sub_run_id=None,
    )
