"""The manifest's encoder writes what `codec.dumps` would, byte for byte, also from its memory."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.model.codec import dumps, to_json
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
from codex_orchestrator.model.manifest_encoder import ManifestEncoder
from codex_orchestrator.model.scheduler import (
    Assignment,
    AssignmentMetadata,
    RecoveryCheckpoint,
    RecoveryPolicy,
    Scheduler,
    WorkerAttempt,
)

TEXT = st.text(st.sampled_from('ab\n"\\\t\x00é€🙂\u2028\x7f') | st.characters(codec="utf-8"), max_size=6)
MAYBE = st.none() | TEXT
STATUS = st.sampled_from(["queued", "in_progress", "succeeded", "failed", "cancelled"])
ENTRIES = st.builds(
    CommandEntry,
    index=st.integers(1, 99),
    id=TEXT,
    title=TEXT,
    command=MAYBE,
    kind=st.just("command"),
    status=st.sampled_from(["pending", "running", "succeeded"]),
    started_at=MAYBE,
    completed_at=MAYBE,
    exit_code=st.none() | st.integers(0, 255),
    summary=MAYBE,
    log_path=MAYBE,
    error_file=MAYBE,
    sub_run_id=MAYBE,
)
HANDLES = st.builds(
    Handle,
    handle_id=TEXT,
    correlation_id=TEXT,
    stage_id=MAYBE,
    pipeline_id=TEXT,
    status=st.sampled_from(["open", "closed"]),
    frame_count=st.integers(0, 9),
    latest_sequence=st.integers(0, 9),
    created_at=TEXT,
    metadata=st.builds(HandleMetadata, TEXT),
)
GUARDRAILS = st.builds(
    GuardrailStatus,
    present=st.booleans(),
    recommendation=MAYBE,
    summary=TEXT,
    computed_at=TEXT,
    counts=st.builds(GuardrailCounts, *[st.integers(0, 9)] * 5),
)


def some(items):
    return st.lists(items, max_size=3).map(tuple)


CHECKPOINTS = st.builds(
    RecoveryCheckpoint,
    timestamp=TEXT,
    reason=st.sampled_from(["missed-heartbeat", "manual", "auto"]),
    action=st.sampled_from(["requeue", "escalate", "ack"]),
    detail=MAYBE,
)
ATTEMPTS = st.builds(
    WorkerAttempt,
    number=st.integers(1, 9),
    assigned_at=TEXT,
    started_at=MAYBE,
    completed_at=MAYBE,
    status=st.sampled_from(["pending", "running", "completed", "failed", "requeued"]),
    recovery_checkpoints=some(CHECKPOINTS),
)
WORKERS = st.builds(
    Assignment,
    instance_id=TEXT,
    capability=TEXT,
    status=st.sampled_from(["assigned", "running", "succeeded", "failed", "recovered"]),
    assigned_at=TEXT,
    completed_at=MAYBE,
    metadata=st.builds(AssignmentMetadata, st.integers(0, 9) | st.floats(0, 9), st.integers(1, 9)),
    attempts=some(ATTEMPTS),
)
SCHEDULERS = st.builds(
    Scheduler,
    mode=st.just("multi-instance"),
    requested_at=TEXT,
    min_instances=st.integers(1, 9),
    max_instances=st.integers(1, 9),
    recovery=st.builds(RecoveryPolicy, *[st.integers(1, 9)] * 3),
    assignments=some(WORKERS),
)
MANIFESTS = st.builds(
    Manifest,
    version=st.just(1),
    task_id=TEXT,
    task_slug=MAYBE,
    run_id=TEXT,
    parent_run_id=MAYBE,
    pipeline_id=TEXT,
    pipeline_title=TEXT,
    runner=st.just("codex-cli"),
    approval_policy=MAYBE,
    status=STATUS,
    status_detail=MAYBE,
    started_at=TEXT,
    completed_at=MAYBE,
    updated_at=TEXT,
    heartbeat_at=MAYBE,
    heartbeat_interval_seconds=st.just(5),
    heartbeat_stale_after_seconds=st.just(30),
    artifact_root=TEXT,
    compat_path=TEXT,
    log_path=TEXT,
    summary=MAYBE,
    metrics_recorded=st.booleans(),
    resume_token=TEXT,
    resume_events=some(
        st.builds(
            ResumeEvent,
            actor=TEXT,
            reason=TEXT,
            outcome=st.sampled_from(["accepted", "blocked"]),
            timestamp=TEXT,
            detail=MAYBE,
        )
    ),
    approvals=some(st.builds(Approval, actor=TEXT, timestamp=TEXT, reason=MAYBE)),
    commands=some(ENTRIES),
    child_runs=some(st.builds(ChildRun, run_id=TEXT, pipeline_id=TEXT, status=STATUS, manifest=TEXT)),
    run_summary_path=MAYBE,
    plan_target_id=MAYBE,
    instructions_hash=MAYBE,
    instructions_sources=some(TEXT),
    guardrails_required=st.none() | st.booleans(),
    scheduler=st.none() | SCHEDULERS,
    guardrail_status=st.none() | GUARDRAILS,
    handles=st.none() | some(HANDLES),
)


@given(manifest=MANIFESTS, later=some(ENTRIES), handles=some(HANDLES), more=some(ATTEMPTS))
def test_every_write_is_what_dumps_would_write(manifest, later, handles, more):
    encoder = ManifestEncoder()
    changed = replace(
        manifest, commands=(*manifest.commands, *later), handles=(*(manifest.handles or ()), *handles)
    )
    if manifest.scheduler is not None:
        workers = tuple(
            replace(worker, attempts=(*worker.attempts, *more)) for worker in manifest.scheduler.assignments
        )
        changed = replace(changed, scheduler=replace(manifest.scheduler, assignments=workers))
    for state in (manifest, changed, manifest, replace(changed, commands=changed.commands[::-1])):
        assert encoder.encode(state) == dumps(to_json(state)).encode()
