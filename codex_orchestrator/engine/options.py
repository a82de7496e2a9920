"""What a user asks of a run beyond its pipeline: all that `plan` needs of how a run is opened."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.definitions import ExecutionMode
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.rules.layout import RunLayout

if TYPE_CHECKING:  # Most runs are not signed.
    from codex_orchestrator.evidence.keys import SigningKey


@dataclass(frozen=True)
class RunOptions:
    """What the user asked of this run, beyond the pipeline.

    Attributes:
        task_id: Its task.
        parent_run_id: The run that started it, or None.
        parent: Where that one lies, if it is to be told; None for a run of the same session.
        guard: Keeps secrets out of its evidence.
        approval_policy: As asked for, or None.
        task_slug: The task's slug, or None where it is not known: then the id stands for it.
        signing_key: What signs it at its end, or None.
        log_bytes: How much of each stage's output is logged, in bytes; None for all of it.
        execution_mode: Where stages run that do not say so, as asked for, or None.
    """

    task_id: str
    parent_run_id: str | None = None
    approval_policy: str | None = None
    parent: RunLayout | None = None
    task_slug: str | None = None
    guard: PrivacyGuard = field(default_factory=PrivacyGuard)
    signing_key: SigningKey | None = None
    log_bytes: int | None = None
    execution_mode: ExecutionMode | None = None
