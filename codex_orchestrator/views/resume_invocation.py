"""From a run on disk to the invocation that resumes it."""

from __future__ import annotations

from typing import Any

from codex_orchestrator.engine.preparation import Invocation
from codex_orchestrator.engine.resuming import Resume, read_resumable
from codex_orchestrator.environment import Environment
from codex_orchestrator.evidence.resuming import read_plan
from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.views.lookup import find_run


def resume_invocation(
    environment: Environment,
    run: str,
    task: str,
    *,
    target: str | None = None,
    execution_mode: str | None = None,
    keep_going: bool = False,
    cluster: str | None = None,
    sign: str | None = None,
    **request: Any,
) -> Invocation:
    """The invocation that resumes a run, with its own pipeline, task and target.

    Args:
        environment: Where things are.
        run: A run id, or ``latest``.
        task: The task whose latest run is meant.
        target: Another target stage than the run's.
        execution_mode: Where stages run that do not say so; None for where they did.
        keep_going: Whether a failure stops only what needs the failed stage, whatever the definitions say.
        cluster: The cluster that runs cloud stages.
        sign: The file of the key that signs the run.
        request: The rest of a `Resume`.

    Raises:
        UnknownRun: There is no such run, or its manifest cannot be read.
        UsageError: The id could not be one.
    """
    found = find_run(environment, run, task)
    manifest = read_resumable(found.layout)
    plan = read_plan(found.layout)
    return Invocation(
        pipeline=manifest.pipeline_id,
        task=found.layout.task.task_id,
        parent_run=manifest.parent_run_id if id_problem(manifest.parent_run_id or "") is None else None,
        approval_policy=manifest.approval_policy,
        target=target,
        known_target=manifest.plan_target_id,
        execution_mode=execution_mode or (plan.execution_mode if plan is not None else None),
        keep_going=keep_going,
        cluster=cluster,
        sign=sign,
        resume=Resume(found.layout.run_id, **request),
    )
