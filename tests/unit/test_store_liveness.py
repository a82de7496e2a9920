"""Alive, dead, finished or waiting."""

from __future__ import annotations

import json

import pytest

from codex_orchestrator.clock import timestamp
from codex_orchestrator.environment import Environment
from codex_orchestrator.evidence.locks import RunLock
from codex_orchestrator.evidence.owner import judge_liveness, read_activity, render_owner, this_process
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.views.lookup import FoundRun
from codex_orchestrator.views.status import liveness_of_run, status_document

NOW = 1_795_229_072.979
WAITING = "stage:gate:awaiting-approval"


@pytest.mark.parametrize(
    ("status", "detail", "owner_alive", "age", "liveness"),
    [
        # A terminal status says it all.
        *((status, None, True, 0.0, "finished") for status in ("succeeded", "failed", "cancelled")),
        ("failed", WAITING, False, None, "finished"),
        # An owner that this machine knows of decides, whatever the heartbeat says.
        ("in_progress", None, True, 9_999.0, "alive"),
        ("in_progress", None, True, None, "alive"),
        ("in_progress", None, False, 0.0, "dead"),
        ("queued", None, False, None, "dead"),
        ("in_progress", WAITING, False, 0.0, "waiting"),
        ("in_progress", WAITING, True, 0.0, "alive"),
        # Without one, the heartbeat's age does: thirty seconds are still alive.
        ("in_progress", None, None, 0.0, "alive"),
        ("in_progress", None, None, 30.0, "alive"),
        ("in_progress", None, None, 30.001, "dead"),
        ("in_progress", None, None, None, "dead"),
        ("in_progress", WAITING, None, 31.0, "waiting"),
        ("in_progress", "stage:a:failed", None, 31.0, "dead"),
        (None, None, None, None, "dead"),
    ],
)
def test_liveness(status, detail, owner_alive, age, liveness):
    manifest = {"status": status, "status_detail": detail}
    assert judge_liveness(manifest, owner_alive, heartbeat_age=age) == liveness


@pytest.fixture
def run(tmp_path):
    """A run on disk as far as readers look, without an owner."""

    def make(*, beat: float | None = None, file_beat: float | None = None, status="in_progress") -> FoundRun:
        root = tmp_path
        layout = TaskLayout(Environment(root, root / ".runs", root / "out", root, {}), "t").run("r")
        layout.folder.mkdir(parents=True)
        if file_beat is not None:
            layout.heartbeat.write_text(timestamp(file_beat) + "\n")
        manifest = {
            "run_id": "r",
            "status": status,
            "heartbeat_at": None if beat is None else timestamp(beat),
            "commands": [],
        }
        return FoundRun(layout, manifest)

    return make


@pytest.mark.parametrize(
    ("beat", "file_beat", "age", "liveness", "stale"),
    [
        (None, None, None, "dead", True),
        (NOW - 5, None, 5.0, "alive", False),
        (NOW - 60, NOW - 5, 5.0, "alive", False),
        (NOW - 5, NOW - 60, 5.0, "alive", False),
        (NOW - 31, NOW - 40, 31.0, "dead", True),
        # The clock was set back since the last beat.
        (NOW + 3_600, None, 0.0, "alive", False),
    ],
)
def test_the_newest_heartbeat_counts_and_none_is_from_the_future(run, beat, file_beat, age, liveness, stale):
    found = run(beat=beat, file_beat=file_beat)
    document = status_document(found, now=NOW)
    assert document["heartbeat_age_seconds"] == document["activity"]["age_seconds"] == age
    assert document["liveness"] == liveness_of_run(found, now=NOW) == liveness
    assert document["stale"] is document["activity"]["stale"] is stale
    newest = max((moment for moment in (beat, file_beat) if moment is not None), default=None)
    assert document["heartbeat_at"] == (None if newest is None else timestamp(newest))


def test_a_finished_run_is_not_stale_however_old(run):
    document = status_document(run(beat=NOW - 9_999, status="succeeded"), now=NOW)
    assert (document["liveness"], document["stale"]) == ("finished", False)


@pytest.mark.parametrize("text", ["", "soon", "\udcff", '{"a": 1}'])
def test_a_heartbeat_that_cannot_be_read_is_none(run, text):
    found = run()
    found.layout.heartbeat.write_bytes(text.encode("utf-8", "surrogateescape"))
    found.manifest["heartbeat_at"] = 5
    assert read_activity(found.layout, found.manifest).latest is None


def own(run: FoundRun, **changes: object) -> None:
    owner = {**json.loads(render_owner(this_process())), **changes}
    run.layout.lock.write_text(json.dumps(owner))


@pytest.mark.parametrize(
    ("changes", "liveness"),
    [
        ({}, "alive"),
        ({"start_token": "1"}, "dead"),
        ({"boot_id": "another"}, "dead"),
        # Another host's process cannot be looked at from here: its heartbeat is old.
        ({"host": "elsewhere"}, "dead"),
        ({"pid": "no"}, "dead"),
        *(({"pid": pid}, "dead") for pid in (-1, 0, 2**31, 10**30)),
    ],
)
def test_the_owner_in_the_lock_decides_before_the_heartbeat(run, changes, liveness):
    found = run(beat=NOW - 100)
    lock = RunLock(found.layout.lock, below=found.layout.base)
    lock.acquire()
    own(found, **changes)
    assert liveness_of_run(found, now=NOW) == liveness
    lock.release()


def test_a_lock_that_names_a_live_process_which_does_not_hold_it_has_no_owner(run):
    found = run(beat=NOW - 1)
    own(found)
    assert liveness_of_run(found, now=NOW) == "dead"


def test_another_host_s_run_is_judged_by_its_heartbeat(run):
    found = run(beat=NOW - 1)
    own(found, host="elsewhere")
    assert liveness_of_run(found, now=NOW) == "alive"


def test_a_lock_that_names_nobody_is_judged_by_the_heartbeat(run):
    found = run(beat=NOW - 1)
    found.layout.lock.write_text("")
    assert liveness_of_run(found, now=NOW) == "alive"
