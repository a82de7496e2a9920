"""Kill -9 at every file-system call that touches the runs or out folders (README.md beside this file).

After each: what is on disk is readable and says nothing untrue; a later run of the same task ends
well, counts what was finished, and leaves no trace of the death.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from .evidence import readable, settled
from .processes import Call, Pool, calls_in

SAMPLE = 16
FEWEST = 250
AIMS = 8


@dataclass(frozen=True)
class Scenario:
    """Where runs start from, and all calls of the one that is killed."""

    name: str
    past: Path | None
    calls: list[Call]


def kill(pool: Pool, projects, name: str, call: Call, past: Path | None) -> Path | None:
    """A project whose run was killed on entering a call; None where the call was missed each time.

    How often the owner reads from pipes and /proc is not the same in each run, so that the number of a call
    may differ: the log of a run that missed it tells how to aim the next one.
    """
    number = call.number
    for attempt in range(AIMS):
        root = projects.make(f"{name}-{call.name}-{call.place}-{attempt}", like=past)
        log = root.parent / "killed"
        inject = f"inject={call.name}:signal=KILL:when={number}"
        done = pool.start(root, "-o", str(log), "-e", f"trace={call.name}", "-e", inject)
        made = {made.place: made.number for made in calls_in(log.read_text(encoding="utf-8"), root)}
        if done.exit_code == -signal.SIGKILL and made.get(call.place) == number:
            return root
        number = made.get(call.place, number + max(1, call.place - len(made)))
        projects.drop(root)
    return None


def first(_pool, _projects) -> None:
    """A project without a past."""


def later(pool, projects) -> Path:
    """A project with runs that ended, one killed among its stages and one killed while it was recorded."""
    root = projects.make("past")
    for name, files in (("renameat", '"manifest.json"'), ("unlinkat", "/metrics.pending>")):
        assert pool.start(root).exit_code == 0
        calls = pool.calls(projects.make(f"past-{name}", like=root))
        call = next(call for call in reversed(calls) if call.name == name and files in call.text)
        root = kill(pool, projects, f"past-{name}-killed", call, root)
        assert root is not None
    return root


@pytest.fixture(scope="module", params=[first, later], ids=lambda made: made.__name__)
def scenario(request, pool, projects) -> Scenario:
    past = request.param(pool, projects)
    name = request.param.__name__
    return Scenario(name, past, pool.calls(projects.make(f"{name}-calls", like=past)))


@pytest.mark.timeout(3_000)
def test_whenever_a_run_is_killed_its_evidence_holds_and_the_next_run_goes_on(
    scenario, pool, projects, points
):
    assert len(scenario.calls) >= FEWEST

    missed = []

    def killed(call: Call) -> list[str]:
        root = kill(pool, projects, scenario.name, call, scenario.past)
        if root is None:
            missed.append(call)
            return []
        problems = readable(root)
        after = pool.start(root)
        problems += settled(root) if after.exit_code == 0 else [f"later: {after.stderr}"]
        if problems:
            return [call.text, *problems]
        projects.drop(root)
        return []

    changes = [call for call in scenario.calls if call.changes]
    chosen = points.of(scenario.calls, changes, SAMPLE)
    points.tried(chosen, killed)
    assert len(chosen) - len(missed) >= (FEWEST if points.whole else 1), f"missed: {missed}"
