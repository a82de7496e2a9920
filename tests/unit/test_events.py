"""Events as lines of the logs."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from codex_orchestrator.model.codec import from_json
from codex_orchestrator.model.events import (
    AnyEvent,
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
    encode,
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
from codex_orchestrator.model.scheduler import Checkpoint

STAMP = {"timestamp": "2026-11-21T02:44:32.979Z", "index": 2}
ATTEMPT = {"correlation_id": "c", "attempt": 1}
CASES = [
    (CommandStart(command="make", **STAMP), ["command"]),
    (
        ExecBegin(command="make", cwd="/r", session_id="s", **ATTEMPT, **STAMP),
        ["correlation_id", "attempt", "command", "args", "cwd", "session_id", "sandbox_state", "persisted"],
    ),
    (
        ExecChunk(stream="stdout", sequence=1, bytes=3, data="€", **ATTEMPT, **STAMP),
        ["correlation_id", "attempt", "stream", "sequence", "bytes", "data"],
    ),
    (
        ExecRetry(delay_ms=10, error="e", **ATTEMPT, **STAMP),
        ["correlation_id", "attempt", "delay_ms", "sandbox_state", "error"],
    ),
    (
        ExecEnd(exit_code=0, signal=None, duration_ms=1, status="succeeded", **ATTEMPT, **STAMP),
        ["correlation_id", "attempt", "exit_code", "signal", "duration_ms", "status"],
    ),
    (
        OutputLeftOut(stage_id="s", left_out_bytes=1, limit_bytes=65_536, **STAMP),
        ["stage_id", "left_out_bytes", "limit_bytes"],
    ),
    (
        CommandEnd(exit_code=None, signal="SIGKILL", duration_ms=1, **STAMP),
        ["exit_code", "signal", "duration_ms"],
    ),
    (StageAssigned(stage_id="a", instance_id="gw0", **STAMP), ["stage_id", "instance_id"]),
    (
        StageReleased(
            stage_id="a",
            instance_id="gw0",
            outcome="requeued",
            checkpoint=Checkpoint(reason="auto", action="requeue"),
            **STAMP,
        ),
        ["stage_id", "instance_id", "outcome", "checkpoint"],
    ),
]


@pytest.mark.parametrize(("event", "keys"), CASES, ids=lambda case: getattr(case, "type", ""))
def test_a_line_has_its_type_first_then_its_keys_then_time_and_index(event, keys):
    line = encode(event)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert b": " not in line.replace(b'"data":": "', b"")
    assert list(json.loads(line)) == ["type", *keys, "timestamp", "index"]


def test_what_an_attempt_says_of_sandbox_and_session_unless_told():
    line = json.loads(encode(CASES[1][0]))
    assert (line["args"], line["sandbox_state"], line["persisted"]) == ([], "none", False)


def test_a_chunk_stays_one_line_whatever_it_holds():
    data = 'a\nb\r\n\x00\u2028\u2029\x85€🙂"\\'
    line = encode(ExecChunk(stream="stderr", sequence=7, bytes=40, data=data, **ATTEMPT, **STAMP))
    assert line.count(b"\n") == 1
    assert "€🙂".encode() in line
    assert json.loads(line)["data"] == data


EVERY = [
    *(event for event, _ in CASES),
    StageCompleted(
        stage_id="a",
        status="failed",
        exit_code=1,
        summary="s",
        reason="command-failed",
        error_file="e",
        correlation_id="c",
        frames=3,
        **STAMP,
    ),
    AttemptFailed(stage_id="a", reason="command-failed", error_file=None, frames=3, **ATTEMPT, **STAMP),
    StageSkipped(stage_id="a", reason="blocked by b", **STAMP),
    StageWaiting(stage_id="a", reason="look", **STAMP),
    ChildChanged(child_run_id="k", pipeline_id="q", status="failed", manifest="m", timestamp="t", index=2),
    ApprovalRecorded(actor="sam", reason="stage:a:approved", timestamp="t"),
    RunResumed(run_id="r", actor="cli", reason="again", timestamp="t"),
    RunStarted(run_id="r", pipeline_id="p", timestamp="t"),
    SchedulerStarted(min_instances=1, max_instances=4, timestamp="t"),
    PrivacyDecided(
        correlation_id="c", sequence=0, action="redact", rule="r", reason="w", timestamp="t", index=1
    ),
    RunCompleted(run_id="r", status="failed", status_detail=None, summary="s", timestamp="t"),
]


def test_every_event_reads_back_as_it_was():
    assert {type(event) for event in EVERY} == set(get_args(Event))
    for event in EVERY:
        assert from_json(AnyEvent, json.loads(encode(event))) == event


def test_every_type_has_a_name_of_its_own():
    assert len({event.type for event in EVERY}) == len(EVERY)


def test_what_is_not_known_is_left_out():
    child = ChildChanged(child_run_id="k", pipeline_id="q", status="failed", manifest="m", timestamp="t")
    assert "index" not in json.loads(encode(child))
    assert "detail" not in json.loads(encode(next(e for e in EVERY if isinstance(e, StageCompleted))))
    free = StageReleased(stage_id="a", instance_id="gw0", outcome="completed", **STAMP)
    assert "checkpoint" not in json.loads(encode(free))
    lost = next(event for event in EVERY if isinstance(event, StageReleased))
    assert json.loads(encode(lost))["checkpoint"] == {"reason": "auto", "action": "requeue"}
