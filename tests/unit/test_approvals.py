"""Decisions on manual stages: who may make them, and which one counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from codex_orchestrator.clock import timestamp
from codex_orchestrator.engine.preparation import Invocation, prepare
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UsageError
from codex_orchestrator.model.definitions import CommandStage, ManualStage
from codex_orchestrator.rules.approvals import (
    Actor,
    Answer,
    actor_kind,
    approval_of,
    approved_stages,
    make_receipt,
    may_decide,
    refuse_decision,
    stage_to_decide,
    valid_receipt,
)
from codex_orchestrator.rules.verdict import SUMMARY_LENGTH, judge_decision, waiting_summary
from tests.support.builders import opened_run, pipeline_of

NOW = 1_763_693_072.979
STAGE = ManualStage(kind="manual", id="gate", title="Gate")
HUMAN = replace(STAGE, policy="human")
ADA = Actor("ada", "unattended")


def receipt_of(
    stage: ManualStage = STAGE, decision="approved", actor=ADA, *, digest="d", now=NOW, reason=None
):
    return make_receipt(stage, Answer(decision, actor, reason), run_id="r", plan_digest=digest, now=now)


@pytest.mark.parametrize(
    ("environ", "terminal", "kind"),
    [
        ({}, True, "tty"),
        ({}, False, "unattended"),
        ({"CI": "true"}, True, "ci"),
        ({"GITHUB_ACTIONS": "true"}, False, "ci"),
        ({"CI": ""}, True, "tty"),
        ({"AI_AGENT": "x"}, True, "agent"),
        ({"CLAUDECODE": "1"}, True, "agent"),
        ({"CODEX_SANDBOX": "seatbelt"}, True, "agent"),
        ({"CODEX_THREAD_ID": "1"}, True, "agent"),
        ({"CURSOR_AGENT": "1"}, True, "agent"),
        ({"GEMINI_CLI": "1"}, True, "agent"),
        ({"CODEX_ORCHESTRATOR_RUN_ID": "r"}, True, "agent"),
        ({"CI": "true", "AI_AGENT": "x"}, False, "agent"),
        ({"AI_AGENT": ""}, True, "tty"),
    ],
)
def test_the_environment_tells_what_kind_of_actor_it_is(environ, terminal, kind):
    assert actor_kind(environ, terminal=terminal) == kind


@pytest.mark.parametrize("kind", ["agent", "ci", "tty", "unattended"])
def test_only_a_person_decides_where_a_human_must(kind):
    assert may_decide(STAGE, kind)
    assert may_decide(HUMAN, kind) == (kind == "tty")


def counts(*receipts, stage=STAGE, digest="d", ended_at=None, now=NOW):
    since = timestamp(NOW - 60)
    return valid_receipt(stage, receipts, plan_digest=digest, started_at=since, ended_at=ended_at, now=now)


def test_the_first_decision_that_counts_counts():
    first, second = receipt_of(), receipt_of(decision="rejected", now=NOW + 1)
    assert counts() is None
    assert counts(first, second) is first
    assert counts(receipt_of(digest="other"), second, now=NOW + 1) is second
    assert counts(receipt_of(replace(STAGE, id="other"))) is None


def test_a_decision_is_used_up_by_the_end_of_its_stage():
    assert counts(receipt_of(), ended_at=timestamp(NOW - 0.001)) is not None
    assert counts(receipt_of(), ended_at=timestamp(NOW)) is None
    assert counts(receipt_of(), ended_at=timestamp(NOW + 1)) is None


@pytest.mark.parametrize(
    ("made", "counted"), [(-60.001, False), (-60, True), (0, True), (0.001, False), (10**9, False)]
)
def test_a_decision_from_before_the_run_or_from_the_future_does_not_count(made, counted):
    assert (counts(receipt_of(now=NOW + made)) is not None) == counted


@pytest.mark.parametrize("written", ["", "1", "soon", "~"])
def test_a_decision_without_a_time_does_not_count(written):
    assert counts(replace(receipt_of(), timestamp=written)) is None


def test_a_decision_counts_until_it_expires():
    receipt = receipt_of(replace(STAGE, expires_seconds=60))
    assert receipt.expires_at == timestamp(NOW + 60)
    assert counts(receipt, now=NOW + 59.999) is receipt
    assert counts(receipt, now=NOW + 60) is None
    assert receipt_of().expires_at is None


@pytest.mark.parametrize("kind", ["agent", "ci", "unattended"])
def test_a_decision_of_the_wrong_kind_of_actor_does_not_count(kind):
    receipt = receipt_of(actor=Actor("x", kind))
    assert counts(receipt) is receipt
    assert counts(receipt, stage=HUMAN) is None


def test_what_was_approved_in_this_plan():
    other = replace(STAGE, id="other")
    receipts = [receipt_of(decision="rejected"), receipt_of(other), receipt_of(digest="old")]
    assert approved_stages(receipts, "d") == {"other"}
    assert approved_stages([*receipts, receipt_of()], "d") == {"other", "gate"}


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        (None, "stage:gate:approved"),
        ("", "stage:gate:approved"),
        (" \n", "stage:gate:approved"),
        ("fine", "stage:gate:approved: fine"),
        ("a\nb", "stage:gate:approved: a b"),
    ],
)
def test_the_manifest_names_a_decision(reason, named):
    approval = approval_of(receipt_of(reason=reason))
    assert (approval.actor, approval.timestamp, approval.reason) == ("ada", timestamp(NOW), named)


def test_long_words_leave_room_for_what_matters():
    long = "x" * 1000
    summary = judge_decision(STAGE, receipt_of(reason=long), cited="m#approvals[0]").summary
    assert summary.endswith("… — m#approvals[0]")
    assert len(summary) < 2 * SUMMARY_LENGTH
    assert len(waiting_summary(replace(STAGE, instructions=long))) == SUMMARY_LENGTH + 1
    assert waiting_summary(STAGE) == "Waiting for approval: Gate"


COMMAND = CommandStage(kind="command", id="build", title="Build", command="true")
PIPELINE = pipeline_of(COMMAND, STAGE)
RUN = opened_run(PIPELINE)


def ended(status: str):
    return replace(RUN, commands=(RUN.commands[0], replace(RUN.commands[1], status=status)))


@pytest.mark.parametrize(
    ("manifest", "stage", "message"),
    [
        (RUN, "gat", 'Unknown stage "gat" in run r.\nManual stages: gate.'),
        (RUN, "build", 'Stage "build" of run r is of kind command: only manual stages are decided on.'),
        (ended("succeeded"), "gate", 'Stage "gate" of run r has ended: succeeded.'),
        (ended("failed"), "gate", 'Stage "gate" of run r has ended: failed.'),
        (replace(RUN, status="succeeded"), "gate", "has ended: the run has succeeded without it."),
        (replace(RUN, commands=RUN.commands[:1]), "gate", 'Unknown stage "gate"'),
    ],
)
def test_where_there_is_nothing_to_decide(manifest, stage, message):
    with pytest.raises(UsageError) as refused:
        stage_to_decide(manifest, PIPELINE, stage)
    assert message in str(refused.value)


@pytest.mark.parametrize("status", ["in_progress", "failed", "cancelled"])
def test_what_can_be_decided(status):
    assert stage_to_decide(replace(RUN, status=status), PIPELINE, "gate") is STAGE
    refuse_decision(RUN, STAGE, ADA, None)


def test_what_may_not_be_decided():
    with pytest.raises(UsageError, match=r"for a person at a terminal .* \(unattended\)"):
        refuse_decision(RUN, HUMAN, ADA, None)
    with pytest.raises(UsageError, match="is rejected already, by ada at "):
        refuse_decision(RUN, STAGE, ADA, receipt_of(decision="rejected"))


# The order of items: people are asked when nothing else can run.


def order_of(tmp_path: Path, definitions: str) -> list[str]:
    """The order of the pipelines in a sketch: ``name: stage<needs stage= stage!``, the last one's items."""
    pipelines = []
    for line in definitions.split("; "):
        name, _, words = line.partition(": ")
        pipelines.append({"id": name, "title": name, "stages": [stage_of(word) for word in words.split()]})
    (tmp_path / "codex.orchestrator.json").write_text(str({"pipelines": pipelines}).replace("'", '"'))
    environment = Environment(tmp_path, tmp_path / ".runs", tmp_path / "out", tmp_path, {})
    planned = prepare(environment, Invocation(pipeline=pipelines[-1]["id"], task="t")).planned
    assert sorted(planned.work().order()) == sorted(planned.declared())
    return [nodeid.partition("::")[2] for nodeid in planned.work().order()]


def stage_of(word: str) -> dict:
    """``a`` a command, ``a?`` a gate, ``a=p`` a run of p; ``<b,c`` what it needs, ``<`` nothing."""
    name, needing, needs = word.partition("<")
    keys = {"needs": [need for need in needs.split(",") if need]} if needing else {}
    if name.endswith("?"):
        return {"kind": "manual", "id": name[:-1], "title": name, **keys}
    stage_id, runs, pipeline = name.partition("=")
    if runs:
        return {"kind": "subpipeline", "id": stage_id, "title": name, "pipeline": pipeline, **keys}
    return {"kind": "command", "id": name, "title": name, "command": "x", **keys}


@pytest.mark.parametrize(
    ("definitions", "order"),
    [
        ("p: a b c", "a b c"),
        ("p: a<b b<", "b a"),
        ("p: a g? b", "a g b"),
        ("p: g? a<", "a g"),
        ("p: g? a b<g c<", "c g a b"),
        ("p: g? h?< a<", "a g h"),
        ("p: g? a h?<", "g a h"),
        ("q: a b; p: s=q c", "s::a s::b c"),
        ("q: a g? b; p: s=q c<", "s::a c s::g s::b"),
        ("q: g? a; p: s=q t=q< c<", "c s::g s::a t::g t::a"),
        ("q: a g?; p: s=q t=q< c<s", "s::a t::a s::g c t::g"),
        ("r: g? x; q: a s=r; p: s=q b<", "s::a b s::s::g s::s::x"),
        ("q: a b; p: s=q<c c<", "c s::a s::b"),
    ],
)
def test_gates_come_when_nothing_else_can_run(tmp_path, definitions, order):
    assert order_of(tmp_path, definitions) == order.split()
