"""Several pipelines in one session: each its own run, with its own order and its own end."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.support import at_once
from tests.support.at_once import CODEX_JOBS, command, waits
from tests.support.environment import needs_xdist
from tests.support.invariants import broken
from tests.support.processes import is_alive, until
from tests.support.runs import by_pipeline, statuses_in

pytestmark = needs_xdist

SERIAL = "-v"
TWO = ("left", "right")


@pytest.mark.parametrize("way", [SERIAL, "-n 2"])
def test_each_is_a_run_of_its_own(project, way):
    meets = "touch {0}.up; until test -e {1}.up; do sleep 0.02; done"
    together = way != SERIAL
    project.pipelines(
        left=[
            {"id": "a", "command": meets.format("l", "r") if together else "true"},
            {"id": "b", "command": "echo left-b >> ran"},
            {"id": "c", "command": "echo left-c >> ran; exit 3"},
            {"id": "d", "command": "echo left-d >> ran"},
        ],
        right=[
            {"id": "a", "command": meets.format("r", "l") if together else "true"},
            {"id": "b", "command": "echo right-b >> ran"},
            {"kind": "subpipeline", "id": "down", "pipeline": "inner"},
        ],
        inner=[{"id": "a", "command": "echo inner-a >> ran"}],
    )
    done = at_once.run(project, way, pipelines=TWO)
    assert done.returncode == 1, done.stdout
    runs = by_pipeline(project)
    assert statuses_in(runs["left"]) == {"a": "succeeded", "b": "succeeded", "c": "failed", "d": "pending"}
    assert statuses_in(runs["right"]) == {"a": "succeeded", "b": "succeeded", "down": "succeeded"}
    assert {name: manifest["status"] for name, manifest in runs.items()} == {
        "left": "failed",
        "right": "succeeded",
        "inner": "succeeded",
    }
    assert runs["inner"]["parent_run_id"] == runs["right"]["run_id"]
    assert runs["left"]["parent_run_id"] is runs["right"]["parent_run_id"] is None
    ran = (project.root / "ran").read_text().split()
    assert [line for line in ran if "left" in line] == ["left-b", "left-c"]
    assert [line for line in ran if "left" not in line] == ["right-b", "inner-a"]
    assert broken(project.root) == []
    for name in TWO:
        assert runs[name]["run_id"] in done.stdout
        log = project.root / runs[name]["log_path"]
        said = {event.get("index") for event in map(json.loads, log.read_bytes().splitlines())}
        assert said == {None, *range(1, len(runs[name]["commands"]) + 1)}


def test_one_that_is_done_is_recorded_while_others_go_on(project, session):
    project.pipelines(left=[command("waits", waits("waits"))], right=[command("quick")])
    live = session(CODEX_JOBS, pipelines=TWO)
    live.pid("waits")
    until(lambda: by_pipeline(project)["right"]["metrics_recorded"], "the end of the other run")
    assert by_pipeline(project)["left"]["status"] == "in_progress"
    live.open_gate("waits")
    code, output = live.finish()
    assert code == 0, output
    assert broken(project.root) == []


def test_they_share_resources_and_a_signal(project, session):
    stages = {
        name: [
            {
                "kind": "command",
                "title": "T",
                **command("only", f"mkdir held && sleep 0.05 && rmdir held && {waits(name)}"),
                "resources": {"port": 1},
            }
        ]
        for name in TWO
    }
    pipelines = [{"id": name, "title": name, "stages": given} for name, given in stages.items()]
    project.write({"pipelines": pipelines})
    live = session("-n 2", pipelines=TWO)
    first = live.pid("left")
    assert not (project.root / "right.pid").exists()
    live.open_gate("left")
    second = live.pid("right")
    assert not is_alive(first)
    live.process.send_signal(signal.SIGINT)
    code, output = live.finish()
    assert code == 2, output
    assert not is_alive(second)
    runs = by_pipeline(project)
    assert (runs["left"]["status"], runs["right"]["status"]) == ("succeeded", "cancelled")
    assert broken(project.root) == []


def test_a_killed_worker_is_told_of_by_the_run_that_it_worked_for(project, session):
    project.pipelines(
        left=[command("waits", waits("waits"), retries=1)], right=[command("other", waits("other"))]
    )
    live = session("-n 2", pipelines=TWO)
    worker, other = live.worker_of("waits"), live.worker_of("other")
    (project.root / "waits.pid").unlink()
    os.kill(worker, signal.SIGKILL)
    assert live.worker_of("waits") not in (worker, other)
    for name in ("waits", "other"):
        live.open_gate(name)
    code, output = live.finish()
    assert code == 0, output
    runs = by_pipeline(project)
    told = {
        name: [
            [attempt["status"] for attempt in worker["attempts"]]
            for worker in runs[name]["scheduler"]["assignments"]
        ]
        for name in TWO
    }
    assert told == {"left": [["requeued"], ["completed"]], "right": [["completed"]]}
    assert broken(project.root) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--codex-pipeline=left",), "--codex-pipeline: each pipeline once."),
        (("--codex-only=a",), "--codex-only names a stage: with several pipelines, leave it out."),
        (("--codex-from=a",), "--codex-from names a stage: with several pipelines, leave it out."),
        (("--codex-target=a",), "--codex-target names a stage: with several pipelines, leave it out."),
        (("--codex-pipeline=gone",), 'Unknown pipeline "gone".'),
    ],
)
def test_what_can_be_meant_for_one_only_is_refused(project, run, words, message):
    project.pipelines(left=["true"], right=["true"])
    done = run("--codex-pipeline=right", *words, pipeline="left")
    assert done.ret == 4
    assert message in str(done.stderr)
    assert not (project.root / ".runs").exists()
