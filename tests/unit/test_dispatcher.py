"""The dispatcher by itself, with more stages and workers than a machine has: each is run once, wherever."""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace

from codex_orchestrator.clock import SystemClock
from codex_orchestrator.definitions.graph import Work
from codex_orchestrator.definitions.schedule import ReadyQueue
from codex_orchestrator.engine.dispatcher import Dispatcher
from codex_orchestrator.engine.halt import Halt
from codex_orchestrator.engine.jobs import Place
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.model.events import StageAssigned, StageReleased
from codex_orchestrator.rules.stage import StageOutcome, StageRequest

STAGES, WORKERS = 10_000, 100


class Workers:
    """Simulated ones, each with one command at a time, which end in any order; one in fifty dies over it."""

    size = WORKERS

    def __init__(self) -> None:
        self.chance = random.Random(7)
        self.idle = [f"w{number}" for number in range(1, WORKERS + 1)]
        self.busy: dict[str, str] = {}
        self.begun: Counter[str] = Counter()
        self.died: Counter[str] = Counter()

    def free(self, nodeid: str) -> bool:
        return bool(self.idle)

    def start(self, nodeid: str, request: StageRequest, run) -> Place:
        self.begun[nodeid] += 1
        self.busy[nodeid] = self.idle.pop()
        return Place(self.busy[nodeid])

    def cancel(self, number: int, by: str) -> None:
        raise AssertionError(by)

    def drive(self, dispatcher: Dispatcher) -> None:
        dispatcher.advance()
        while not dispatcher.finished:
            nodeid = self.chance.choice(list(self.busy))
            self.idle.append(self.busy.pop(nodeid))
            if self.chance.random() < 0.02 and not self.died[nodeid]:
                self.died[nodeid] += 1
                dispatcher.lost(nodeid, "Its worker died")
                dispatcher.advance()
            else:
                dispatcher.ended(nodeid, StageOutcome("succeeded", 0))


class Stages:
    """A session that lets everything run, and notes what it is told."""

    def __init__(self) -> None:
        self.events: list = []
        self.ended: list[str] = []
        manager = SimpleNamespace(start=self._request, record=self.events.append)
        guardian = SimpleNamespace(forget_empty=lambda: None)
        self.run = SimpleNamespace(nodeid="work", manager=manager, guardian=guardian, closed=False)

    def _request(self, stage_id: str) -> StageRequest:
        return StageRequest(int(stage_id), stage_id, "true", "/", {}, None, 100, retries=1)

    def has_command(self, nodeid: str) -> bool:
        return True

    def set_up(self, nodeid: str) -> bool:
        return True

    def take_up(self, nodeid: str, executed) -> None:
        self.ended.append(nodeid)

    def stop(self) -> None:
        return None

    def run_of(self, nodeid: str):
        return self.run


def _left(error: Exception):
    raise error


def test_ten_thousand_stages_on_a_hundred_workers_end_once_each():
    # Each waits for two of the row before it.
    nodeids = [f"work::{number}" for number in range(1, STAGES + 1)]
    waits = {
        nodeid: [nodeids[place - WORKERS], nodeids[place - WORKERS // 2]] if place >= WORKERS else []
        for place, nodeid in enumerate(nodeids)
    }
    stages, workers, halt = Stages(), Workers(), Halt(_left)
    halt.cancellation = Cancellation()
    workers.drive(Dispatcher(stages, halt, ReadyQueue(Work(waits), {}), workers, SystemClock()))
    assert sorted(stages.ended) == sorted(nodeids)
    assert sum(workers.died.values()) > 100
    # A lost one had not begun to run its command, so that each is given away once more and no oftener.
    assert workers.begun == Counter(nodeids) + workers.died
    place = {nodeid: number for number, nodeid in enumerate(stages.ended)}
    assert all(place[need] < place[nodeid] for nodeid, needs in waits.items() for need in needs)
    # No worker had two at a time, nor was given two at one moment.
    holds: dict[str, tuple[str, str]] = {}
    given = set()
    for event in stages.events:
        if isinstance(event, StageAssigned):
            assert event.instance_id not in holds
            holds[event.instance_id] = event.stage_id, event.timestamp
            given.add((event.instance_id, event.timestamp))
        elif isinstance(event, StageReleased):
            assert holds.pop(event.instance_id) == (event.stage_id, event.assigned_at)
    assert holds == {}
    assert len(given) == sum(workers.begun.values())
