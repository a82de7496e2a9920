"""Evidence that somebody has tampered with is found, at any bit; runs that were left alone are not.

The whole suite flips more than 20 000 bits of a task with four runs, and holds hundreds of runs of random
shapes to be whole; without FAULTS a sample does.
"""

from __future__ import annotations

import json
import random
from itertools import cycle

import pytest

from tests.support.projects import Project, command
from tests.support.tampering import changed, flaws_of, flipped, make_world, sealed_files

ALL_OF_SMALL_FILES = 2_000
ENOUGH = 20_000
STAGES = (
    "true",
    "echo out; echo err >&2",
    "exit 3",
    "seq 300",
    "kill -9 $$",
    "printf 'no end'",
    "sleep 0.05",
)
DEADLY = "kill -9 $CODEX_ORCHESTRATOR_OWNER_PID; sleep 30"
WORDS = ((), ("--keep-going",), ("--jobs", "3"), ("--only", "s1"), ("--from", "s2"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("world"))
    make_world(project)
    return project


def places(project, *, whole: bool) -> list[tuple]:
    """Files and places in them: every byte of the small ones, others at random; each with one of its bits."""
    chance, bits = random.Random(16), cycle(range(8))
    files = [(path, path.read_bytes()) for path in sealed_files(project)]
    found = [
        (path, place, next(bits))
        for path, content in files
        if len(content) <= ALL_OF_SMALL_FILES
        for place in range(len(content))
    ]
    while len(found) < ENOUGH:
        path, content = chance.choice(files)
        found.append((path, chance.randrange(len(content)), next(bits)))
    return found if whole else chance.sample(found, 100)


@pytest.mark.timeout(7_200)
def test_any_bit_counts(world, points):
    missed = []
    for path, place, bit in places(world, whole=points.whole):
        with changed(path, flipped(path.read_bytes(), place, bit)):
            name = path.relative_to(world.root).as_posix()
            if name not in {flaw.path for flaw in flaws_of(world)} and not is_past(path, place):
                missed.append((name, place, bit))
    assert missed == []
    assert flaws_of(world) == []


def is_past(path, place: int) -> bool:
    """Whether a place is in the time of a line whose seal was superseded: nothing else has that time."""
    if path.name != "seals.ndjson":
        return False
    before = path.read_bytes()[:place]
    start = before.rfind(b"\n") + 1
    later = [json.loads(line)["run_id"] for line in path.read_bytes()[place:].splitlines()[1:]]
    line = path.read_bytes()[start:].splitlines()[0]
    return b'"sealed_at":"' in before[start:] and json.loads(line)["run_id"] in later


def shape(chance: random.Random) -> dict[str, list]:
    """A pipeline of some stages, and the one that they may start."""
    count = chance.randrange(1, 6)
    stages = []
    for number in range(1, count + 1):
        keys = {"needs": []} if chance.random() < 0.3 else {}
        if chance.random() < 0.2:
            stages.append({"kind": "subpipeline", "id": f"s{number}", "pipeline": "inner", **keys})
            continue
        line = DEADLY if chance.random() < 0.06 else chance.choice(STAGES)
        extra = chance.choice(({}, {}, {"allowFailure": True}, {"retries": 1}, {"timeoutSeconds": 0.2}))
        stages.append(command(f"s{number}", line, **keys, **extra))
    return {"work": stages, "inner": chance.sample(STAGES, 2)}


@pytest.mark.timeout(7_200)
def test_runs_of_random_shapes_are_whole(tmp_path, points):
    wrong = []
    for number in range(250 if points.whole else 4):
        chance = random.Random(number)
        root = tmp_path / str(number)
        (root / ".git").mkdir(parents=True)
        project = Project(root)
        project.pipelines(**shape(chance))
        words = chance.choice(WORDS)
        if words == ("--from", "s2") and len(shape(random.Random(number))["work"]) < 2:
            words = ()
        project.cli("start", "work", *words)
        if chance.random() < 0.6:
            project.cli("resume")
        project.cli("start", "inner")
        told = [flaw for flaw in flaws_of(project) if flaw.kind != "not-sealed"]
        if told:
            wrong.append((number, words, told))
    assert wrong == []
