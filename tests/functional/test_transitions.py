"""Every status that a run and its stages can come to, and what a resume makes of it, by both ways in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from codex_orchestrator.environment import discover
from codex_orchestrator.evidence.resuming import add_receipt
from codex_orchestrator.model.definitions import ManualStage
from codex_orchestrator.rules.approvals import Actor, Answer, make_receipt
from codex_orchestrator.rules.layout import TaskLayout
from tests.support.invariants import broken, manifests

MANUAL = {"kind": "manual", "id": "ask", "title": "Ask", "instructions": "Look at it."}
SUB = {"kind": "subpipeline", "id": "sub", "title": "Sub", "pipeline": "inner"}
OPTIONAL = {**SUB, "optional": True}
# Fails until somebody has put things right.
UNTIL_OK = "test -e ok"


@dataclass(frozen=True)
class Left:
    """What a session leaves: its exit code, the run, and the stages, those of children by their own ids."""

    code: int
    status: str
    detail: str | None
    stages: dict[str, str]
    children: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    exit_codes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A project, what a run in it leaves, what is done then, and what resuming the run leaves."""

    name: str
    pipelines: dict[str, list]
    first: Left
    mend: Callable
    then: Left


def nothing(_project) -> None:
    """Nothing is done in between."""


def put_right(project) -> None:
    (project.root / "ok").touch()


def make_folder(project) -> None:
    (project.root / "absent").mkdir()


def decided(decision: str) -> Callable:
    """Somebody decides on the manual stage, in whichever run it is."""

    def decide(project) -> None:
        environment = discover(project.root, {})
        for run_id, manifest in manifests(project.root).items():
            if any(entry["id"] == "ask" and entry["status"] == "pending" for entry in manifest["commands"]):
                layout = TaskLayout(environment, "task-1").run(run_id)
                stage = ManualStage(kind="manual", id="ask", title="Ask")
                digest = json.loads(layout.plan.read_bytes())["digest"]
                answer = Answer(decision, Actor("somebody", "tty"), "seen")
                add_receipt(
                    layout,
                    make_receipt(stage, answer, run_id=layout.run_id, plan_digest=digest, now=time.time()),
                )

    return decide


GOOD = Left(0, "succeeded", None, {"s1": "succeeded"})
CASES = [
    Case("succeeds", {"work": ["true"]}, GOOD, nothing, GOOD),
    Case(
        "fails",
        {"work": [UNTIL_OK, "true", {"command": "true", "needs": []}]},
        Left(
            1,
            "failed",
            "stage:s1:failed",
            {"s1": "failed", "s2": "pending", "s3": "succeeded"},
            reasons={"s1": "command-failed"},
            exit_codes={"s1": 1},
        ),
        put_right,
        Left(0, "succeeded", None, {"s1": "succeeded", "s2": "succeeded", "s3": "succeeded"}),
    ),
    Case(
        "fails again",
        {"work": ["true", "exit 3"]},
        Left(
            1,
            "failed",
            "stage:s2:failed",
            {"s1": "succeeded", "s2": "failed"},
            reasons={"s2": "command-failed"},
        ),
        nothing,
        Left(1, "failed", "stage:s2:failed", {"s1": "succeeded", "s2": "failed"}, exit_codes={"s2": 3}),
    ),
    Case(
        "may fail",
        {"work": [{"command": UNTIL_OK, "allowFailure": True}]},
        Left(0, "succeeded", None, {"s1": "skipped"}, reasons={"s1": "command-allow-failure"}),
        put_right,
        Left(0, "succeeded", None, {"s1": "skipped"}),
    ),
    Case(
        "may fail, and another fails",
        {"work": [{"command": UNTIL_OK, "allowFailure": True}, UNTIL_OK]},
        Left(1, "failed", "stage:s2:failed", {"s1": "skipped", "s2": "failed"}),
        put_right,
        Left(0, "succeeded", None, {"s1": "succeeded", "s2": "succeeded"}),
    ),
    Case(
        "takes too long",
        {"work": [{"command": f"{UNTIL_OK} || exec sleep 60", "timeoutSeconds": 2}]},
        Left(1, "failed", "stage:s1:timeout", {"s1": "failed"}, reasons={"s1": "command-timeout"}),
        put_right,
        GOOD,
    ),
    Case(
        "is killed",
        {"work": [f"{UNTIL_OK} || kill -KILL $$"]},
        Left(
            1,
            "failed",
            "stage:s1:failed",
            {"s1": "failed"},
            reasons={"s1": "command-failed"},
            exit_codes={"s1": 137},
        ),
        put_right,
        GOOD,
    ),
    Case(
        "cannot be started",
        {"work": [{"command": "true", "cwd": "absent"}]},
        Left(1, "failed", "stage:s1:error", {"s1": "failed"}, reasons={"s1": "command-execution-error"}),
        make_folder,
        GOOD,
    ),
    Case(
        "is cancelled",
        {"work": ["true", f"{UNTIL_OK} || {{ kill -TERM $PPID; exec sleep 60; }}", "true"]},
        Left(
            143,
            "cancelled",
            "cancelled:SIGTERM",
            {"s1": "succeeded", "s2": "failed", "s3": "pending"},
            reasons={"s2": "command-cancelled"},
        ),
        put_right,
        Left(0, "succeeded", None, {"s1": "succeeded", "s2": "succeeded", "s3": "succeeded"}),
    ),
    Case(
        "waits, and waits on",
        {"work": ["true", MANUAL, "true", {"command": "true", "needs": ["s1"]}]},
        Left(
            3,
            "in_progress",
            "stage:ask:awaiting-approval",
            {"s1": "succeeded", "ask": "pending", "s3": "pending", "s4": "succeeded"},
        ),
        nothing,
        Left(3, "in_progress", "stage:ask:awaiting-approval", {"ask": "pending", "s3": "pending"}),
    ),
    Case(
        "waits, and is approved",
        {"work": [MANUAL, "true"]},
        Left(3, "in_progress", "stage:ask:awaiting-approval", {"ask": "pending", "s2": "pending"}),
        decided("approved"),
        Left(0, "succeeded", None, {"ask": "succeeded", "s2": "succeeded"}),
    ),
    Case(
        "waits, and is rejected",
        {"work": [MANUAL, "true"]},
        Left(3, "in_progress", "stage:ask:awaiting-approval", {"ask": "pending", "s2": "pending"}),
        decided("rejected"),
        Left(
            1,
            "failed",
            "stage:ask:rejected",
            {"ask": "failed", "s2": "pending"},
            reasons={"ask": "command-failed"},
        ),
    ),
    Case(
        "a child succeeds",
        {"work": [SUB, UNTIL_OK], "inner": [{"id": "i1", "command": "true"}]},
        Left(
            1,
            "failed",
            "stage:s2:failed",
            {"sub": "succeeded", "s2": "failed", "i1": "succeeded"},
            children={"inner": "succeeded"},
        ),
        put_right,
        Left(
            0,
            "succeeded",
            None,
            {"sub": "succeeded", "s2": "succeeded"},
            children={"inner": "succeeded"},
        ),
    ),
    Case(
        "a child fails",
        {
            "work": [SUB, "true"],
            "inner": [{"id": "i1", "command": "true"}, {"id": "i2", "command": UNTIL_OK}],
        },
        Left(
            1,
            "failed",
            "subpipeline:inner:failed",
            {"sub": "failed", "s2": "pending", "i1": "succeeded", "i2": "failed"},
            children={"inner": "failed"},
            reasons={"sub": "command-failed", "i2": "command-failed"},
        ),
        put_right,
        Left(
            0,
            "succeeded",
            None,
            {"sub": "succeeded", "s2": "succeeded", "i2": "succeeded"},
            children={"inner": "succeeded"},
        ),
    ),
    Case(
        "an optional child fails",
        {"work": [OPTIONAL, "true"], "inner": [{"id": "i1", "command": UNTIL_OK}]},
        Left(
            0,
            "succeeded",
            None,
            {"sub": "skipped", "s2": "succeeded", "i1": "failed"},
            children={"inner": "failed"},
            reasons={"sub": "command-allow-failure"},
        ),
        put_right,
        Left(0, "succeeded", None, {"sub": "skipped", "i1": "failed"}, children={"inner": "failed"}),
    ),
    Case(
        "an optional child fails, and then another stage",
        {"work": [OPTIONAL, UNTIL_OK], "inner": [{"id": "i1", "command": UNTIL_OK}]},
        Left(
            1, "failed", "stage:s2:failed", {"sub": "skipped", "s2": "failed"}, children={"inner": "failed"}
        ),
        put_right,
        Left(0, "succeeded", None, {"sub": "succeeded", "s2": "succeeded"}, children={"inner": "succeeded"}),
    ),
    Case(
        "a child is cancelled",
        {
            "work": [OPTIONAL, "true"],
            "inner": [{"id": "i1", "command": f"{UNTIL_OK} || {{ kill -TERM $PPID; exec sleep 60; }}"}],
        },
        Left(
            143,
            "cancelled",
            "cancelled:SIGTERM",
            {"sub": "failed", "s2": "pending", "i1": "failed"},
            children={"inner": "cancelled"},
            reasons={"sub": "command-cancelled", "i1": "command-cancelled"},
        ),
        put_right,
        Left(0, "succeeded", None, {"sub": "succeeded", "s2": "succeeded"}, children={"inner": "succeeded"}),
    ),
    Case(
        "a child waits, and is approved",
        {"work": [SUB, "true", {"command": "true", "needs": []}], "inner": [MANUAL]},
        Left(
            3,
            "in_progress",
            "stage:sub:awaiting-approval",
            {"sub": "pending", "s2": "pending", "s3": "succeeded", "ask": "pending"},
            children={"inner": "in_progress"},
        ),
        decided("approved"),
        Left(
            0,
            "succeeded",
            None,
            {"sub": "succeeded", "s2": "succeeded", "ask": "succeeded"},
            children={"inner": "succeeded"},
        ),
    ),
    Case(
        "a child waits, and is rejected",
        {"work": [SUB, "true"], "inner": [MANUAL]},
        Left(3, "in_progress", "stage:sub:awaiting-approval", {"ask": "pending"}),
        decided("rejected"),
        Left(
            1,
            "failed",
            "subpipeline:inner:failed",
            {"sub": "failed", "ask": "failed"},
            children={"inner": "failed"},
        ),
    ),
]

# pytest's own: 2 is a session that was interrupted.
OF_PYTEST = {0: 0, 1: 1, 3: 1, 143: 2}


class CommandLine:
    """``start`` and ``resume``."""

    @staticmethod
    def start(project) -> tuple[int, str]:
        done = project.cli("start", "work")
        return done.returncode, done.stdout + done.stderr

    @staticmethod
    def resume(project) -> tuple[int, str]:
        done = project.cli("resume", "--run", "latest")
        return done.returncode, done.stdout + done.stderr

    @staticmethod
    def code(left: Left) -> int:
        return left.code


class Pytest:
    """``pytest`` with our options."""

    @staticmethod
    def start(project) -> tuple[int, str]:
        done = project.pytest("--codex-pipeline", "work")
        return done.returncode, done.stdout + done.stderr

    @staticmethod
    def resume(project) -> tuple[int, str]:
        done = project.pytest("--codex-resume", "latest")
        return done.returncode, done.stdout + done.stderr

    @staticmethod
    def code(left: Left) -> int:
        return OF_PYTEST[left.code]


def compare(project, left: Left) -> None:
    """Hold what is on disk against what is expected."""
    known = manifests(project.root)
    (top,) = (manifest for manifest in known.values() if manifest["parent_run_id"] is None)
    assert (top["status"], top["status_detail"]) == (left.status, left.detail)
    entries = {entry["id"]: entry for manifest in known.values() for entry in manifest["commands"]}
    assert {name: entries[name]["status"] for name in left.stages} == left.stages
    children = {child["pipeline_id"]: child["status"] for child in top["child_runs"]}
    assert left.children == {name: children[name] for name in left.children}
    for name, reason in left.reasons.items():
        error = json.loads((project.root / entries[name]["error_file"]).read_bytes())
        assert (name, error["reason"]) == (name, reason)
    assert {name: entries[name]["exit_code"] for name in left.exit_codes} == left.exit_codes
    assert broken(project.root) == []


@pytest.mark.parametrize("way", [CommandLine, Pytest], ids=["cli", "pytest"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_run_comes_to_its_status_and_a_resume_to_the_next(project, case, way):
    project.pipelines(**case.pipelines)

    code, said = way.start(project)
    assert code == way.code(case.first), said
    compare(project, case.first)
    before = set(manifests(project.root))

    case.mend(project)
    code, said = way.resume(project)
    assert code == way.code(case.then), said
    compare(project, case.then)
    # The same runs went on, and no others came.
    assert set(manifests(project.root)) == before
