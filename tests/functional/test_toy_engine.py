"""An engine of somebody else's, in a session without pytest: the protocol has all that it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from codex_orchestrator.clock import SystemClock
from codex_orchestrator.definitions.schedule import ReadyQueue
from codex_orchestrator.engine.dispatcher import Dispatcher
from codex_orchestrator.engine.halt import Halt
from codex_orchestrator.engine.jobs import Place
from codex_orchestrator.engine.preparation import Invocation, prepare
from codex_orchestrator.engine.runs import SessionRuns
from codex_orchestrator.environment import discover
from codex_orchestrator.execution.builder import CommandBuilder
from codex_orchestrator.execution.signals import Cancellation

CLOCK = SystemClock()


class LastFirstEngine:
    """Runs what it was given last, one after the other, when it has been given two commands."""

    size = 2

    def __init__(self, cancellation: Cancellation) -> None:
        self.cancellation = cancellation
        self.given: list[tuple] = []
        self.order: list[str] = []

    def free(self) -> bool:
        return len(self.given) < self.size

    def start(self, nodeid, request, run) -> Place:
        self.given.append((nodeid, request, run))
        return Place("toy-1")

    def cancel(self, number: int, by: str) -> None:
        self.cancellation.request(number, by)

    def drive(self, dispatcher: Dispatcher) -> None:
        dispatcher.advance()
        while self.given:
            nodeid, request, run = self.given.pop()
            self.order.append(nodeid)
            builder = CommandBuilder(
                lambda event, nodeid=nodeid: dispatcher.said(nodeid, event),
                lambda _, outcome, nodeid=nodeid: dispatcher.failed(nodeid, outcome),
                CLOCK,
                self.cancellation.branch(),
                run.guardian,
                run.manager.late,
            )
            dispatcher.ended(nodeid, builder.run(request))


class PlainStages:
    """Stages of a session that nobody watches: what came of each command is recorded, and no more."""

    def __init__(self, runs: SessionRuns) -> None:
        self.runs = runs
        self.blocked: list[str] = []

    def has_command(self, nodeid: str) -> bool:
        return self.runs.obstacle(self.run_of(nodeid), nodeid.rpartition("::")[2]) is None

    def set_up(self, nodeid: str) -> bool:
        return self.runs.enter(self.run_of(nodeid)) is not None

    def report(self, nodeid: str) -> None:
        self.blocked.append(nodeid)

    def take_up(self, nodeid: str, executed) -> None:
        self.run_of(nodeid).manager.complete(nodeid.rpartition("::")[2], executed.outcome)

    def write_down(self, nodeid: str, outcome, broken_by: BaseException) -> None:
        raise AssertionError(nodeid) from broken_by

    def stop(self) -> str | None:
        return None

    def warn(self, text: str) -> None:
        raise AssertionError(text)

    def run_of(self, nodeid: str):
        return self.runs.of(nodeid)


def leave(error: Exception):
    raise error


@pytest.fixture
def ran(project):
    """Run the pipeline ``work`` on the toy engine."""

    def run() -> tuple[LastFirstEngine, PlainStages, dict]:
        prepared = prepare(
            discover(project.root, {"PATH": "/usr/bin:/bin"}), Invocation(pipeline="work", task="task-1")
        )
        runs = SessionRuns([prepared], CLOCK, leave, lambda *_: None)
        halt = Halt(leave)
        halt.cancellation = Cancellation()
        stages, engine = PlainStages(runs), LastFirstEngine(halt.cancellation)
        work = prepared.planned.work()
        runs.expect(work.order())
        runs.open()
        engine.drive(Dispatcher(stages, halt, ReadyQueue(work, {}), engine, CLOCK))
        runs.close(halt.conclude())
        return engine, stages, project.manifest()

    return run


def test_a_graph_runs_on_it_and_the_evidence_is_as_ever(project, ran):
    project.pipeline(
        "echo one",
        {"command": "echo two", "needs": []},
        {"command": "exit 3", "needs": ["s1", "s2"]},
        {"command": "true", "needs": ["s3"]},
        {"command": "echo five", "needs": ["s1"], "retries": 1},
    )
    engine, stages, manifest = ran()
    assert engine.order[:2] == ["work::s2", "work::s1"]
    assert stages.blocked == ["work::s4"]
    statuses = {entry["id"]: entry["status"] for entry in manifest["commands"]}
    assert statuses == {
        "s1": "succeeded",
        "s2": "succeeded",
        "s3": "failed",
        "s4": "pending",
        "s5": "succeeded",
    }
    assert (manifest["status"], manifest["status_detail"]) == ("failed", "stage:s3:failed")
    assert {one["instance_id"] for one in manifest["scheduler"]["assignments"]} == {"toy-1"}
    assert project.cli("validate", ".runs", "out").returncode == 0


def test_neither_pytest_nor_the_plugin_is_needed_for_that():
    code = (
        "import sys; sys.modules['pytest'] = sys.modules['pytest_codex'] = None;"
        "import codex_orchestrator.engine.dispatcher, codex_orchestrator.engine.threads; print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")
