"""The request that a run is made by, a plain JSON value (docs/reference/manifest.md, "Control plane")."""

from __future__ import annotations

from typing import Any

from codex_orchestrator.model.control_plane import SCHEMA, VERSION
from codex_orchestrator.model.definitions import CommandStage, Pipeline, Stage, SubpipelineStage
from codex_orchestrator.model.manifest import HEARTBEAT_SECONDS
from codex_orchestrator.model.scheduler import POLICY
from codex_orchestrator.rules.layout import RunLayout

_PIPELINE_VERSION = "1.0.0"
_POLICY_VERSION = "1.0.0"
_MOST_SUBSCRIBERS = 8
# What every metrics line names.
_DIMENSIONS = ("task_id", "pipeline_id", "status")


def build_request(
    layout: RunLayout, pipeline: Pipeline, *, approval_policy: str | None, requested_at: str
) -> dict[str, Any]:
    """The request of a run.

    Args:
        layout: The run.
        pipeline: What it runs.
        approval_policy: As asked for, or None.
        requested_at: When, as a timestamp.
    """
    capabilities = list(pipeline.tags or ()) or ["general"]
    task_id = layout.task.task_id
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "requestId": layout.run_id,
        "task": {"id": task_id, "title": task_id, "slug": task_id, "tags": capabilities},
        "pipeline": {
            "id": pipeline.id,
            "version": _PIPELINE_VERSION,
            "title": pipeline.title,
            "capabilities": capabilities,
            "stages": [_stage(stage) for stage in pipeline.stages],
        },
        "schedule": _schedule(capabilities, max(1, len(pipeline.stages))),
        "streaming": {
            "handles": True,
            "resumeSupported": True,
            # Nobody who looks on holds a command up.
            "observers": {"maxSubscribers": _MOST_SUBSCRIBERS, "defaultBackpressureMs": 0},
        },
        "constraints": {
            "privacyLevel": "standard",
            "policyVersion": _POLICY_VERSION,
            "approvalPolicy": approval_policy,
        },
        "metrics": {"emitIntervalSeconds": HEARTBEAT_SECONDS, "requiredDimensions": list(_DIMENSIONS)},
        "requestedAt": requested_at,
        "requestedBy": {"actorId": "codex-cli", "channel": "cli", "name": "codex-orchestrator"},
        "metadata": {
            "artifactRoot": layout.relative(layout.folder),
            "pipelineId": pipeline.id,
            "taskSlug": task_id,
        },
    }


def _stage(stage: Stage) -> dict[str, Any]:
    may_fail = (isinstance(stage, CommandStage) and stage.allow_failure) or (
        isinstance(stage, SubpipelineStage) and stage.optional
    )
    entry = {"id": stage.id, "kind": stage.kind, "title": stage.title, "optional": may_fail}
    session = stage.session if isinstance(stage, CommandStage) else None
    if session is not None and session.id is not None:
        entry["capabilities"] = [f"session:{session.id}"]
    return entry


def _schedule(capabilities: list[str], most: int) -> dict[str, Any]:
    return {
        "strategy": "auto",
        "minInstances": 1,
        "maxInstances": most,
        "fanOut": [{"capability": name, "weight": 1, "maxConcurrency": 1} for name in capabilities],
        "recovery": {
            "heartbeatIntervalSeconds": POLICY.heartbeat_interval_seconds,
            "missingHeartbeatTimeoutSeconds": POLICY.missing_heartbeat_timeout_seconds,
            "maxRetries": POLICY.max_retries,
        },
    }
