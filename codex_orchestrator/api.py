"""All that plugins and programs may use of this package; everything else may move.

Stages and pipelines, the shapes of a manifest, the events of a run, the readers of manifests, and the errors;
each is loaded when it is first asked for (docs/reference/python-api.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codex_orchestrator.errors import (
        Busy,
        ConfigurationError,
        InternalError,
        Misplaced,
        OrchestratorError,
        StorageError,
        ToolMissing,
        UnknownRun,
        UsageError,
    )
    from codex_orchestrator.evidence.manifests import load_manifest, validate_manifest
    from codex_orchestrator.model.control_plane import ControlPlane
    from codex_orchestrator.model.definitions import (
        CommandStage,
        Expect,
        ManualStage,
        Pipeline,
        PlanHints,
        Session,
        Stage,
        SubpipelineStage,
    )
    from codex_orchestrator.model.events import (
        ApprovalRecorded,
        AttemptFailed,
        ChildChanged,
        Event,
        OutputLeftOut,
        RunCompleted,
        RunResumed,
        RunStarted,
        SchedulerStarted,
        StageAssigned,
        StageCompleted,
        StageReleased,
        StageSkipped,
        StageWaiting,
    )
    from codex_orchestrator.model.exec_events import (
        CommandEnd,
        CommandStart,
        ExecBegin,
        ExecChunk,
        ExecEnd,
        ExecRetry,
        PrivacyDecided,
    )
    from codex_orchestrator.model.manifest import (
        Approval,
        ChildRun,
        CommandEntry,
        GuardrailCounts,
        GuardrailStatus,
        Handle,
        HandleMetadata,
        Manifest,
        ResumeEvent,
    )
    from codex_orchestrator.model.privacy_record import Privacy
    from codex_orchestrator.model.scheduler import Scheduler

__all__ = [
    "Approval",
    "ApprovalRecorded",
    "AttemptFailed",
    "Busy",
    "ChildChanged",
    "ChildRun",
    "CommandEnd",
    "CommandEntry",
    "CommandStage",
    "CommandStart",
    "ConfigurationError",
    "ControlPlane",
    "Event",
    "ExecBegin",
    "ExecChunk",
    "ExecEnd",
    "ExecRetry",
    "Expect",
    "GuardrailCounts",
    "GuardrailStatus",
    "Handle",
    "HandleMetadata",
    "InternalError",
    "Manifest",
    "ManualStage",
    "Misplaced",
    "OrchestratorError",
    "OutputLeftOut",
    "Pipeline",
    "PlanHints",
    "Privacy",
    "PrivacyDecided",
    "ResumeEvent",
    "RunCompleted",
    "RunResumed",
    "RunStarted",
    "Scheduler",
    "SchedulerStarted",
    "Session",
    "Stage",
    "StageAssigned",
    "StageCompleted",
    "StageReleased",
    "StageSkipped",
    "StageWaiting",
    "StorageError",
    "SubpipelineStage",
    "ToolMissing",
    "UnknownRun",
    "UsageError",
    "load_manifest",
    "validate_manifest",
]

_HOMES = {
    "codex_orchestrator.errors": (
        "Busy",
        "ConfigurationError",
        "InternalError",
        "Misplaced",
        "OrchestratorError",
        "StorageError",
        "ToolMissing",
        "UnknownRun",
        "UsageError",
    ),
    "codex_orchestrator.evidence.manifests": (
        "load_manifest",
        "validate_manifest",
    ),
    "codex_orchestrator.model.definitions": (
        "CommandStage",
        "Expect",
        "ManualStage",
        "Pipeline",
        "PlanHints",
        "Session",
        "Stage",
        "SubpipelineStage",
    ),
    "codex_orchestrator.model.control_plane": ("ControlPlane",),
    "codex_orchestrator.model.events": (
        "ApprovalRecorded",
        "AttemptFailed",
        "ChildChanged",
        "Event",
        "OutputLeftOut",
        "RunCompleted",
        "RunResumed",
        "RunStarted",
        "SchedulerStarted",
        "StageAssigned",
        "StageCompleted",
        "StageReleased",
        "StageSkipped",
        "StageWaiting",
    ),
    "codex_orchestrator.model.exec_events": (
        "CommandEnd",
        "CommandStart",
        "ExecBegin",
        "ExecChunk",
        "ExecEnd",
        "ExecRetry",
        "PrivacyDecided",
    ),
    "codex_orchestrator.model.scheduler": ("Scheduler",),
    "codex_orchestrator.model.privacy_record": ("Privacy",),
    "codex_orchestrator.model.manifest": (
        "Approval",
        "ChildRun",
        "CommandEntry",
        "GuardrailCounts",
        "GuardrailStatus",
        "Handle",
        "HandleMetadata",
        "Manifest",
        "ResumeEvent",
    ),
}


def __getattr__(name: str) -> object:
    """The name, from where it lives."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What there is to be used."""
    return list(__all__)
