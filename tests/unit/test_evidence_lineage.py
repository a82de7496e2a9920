"""What runs leave with the run that started them, and what is made of it."""

from __future__ import annotations

import json
import threading

import pytest

from codex_orchestrator.clock import SystemClock
from codex_orchestrator.environment import Environment, run_around
from codex_orchestrator.evidence.lineage import (
    ParentLink,
    adopt_children,
    child_layout,
    find_parent,
    live_owners,
    read_children,
)
from codex_orchestrator.evidence.locks import RunLock, held_lock
from codex_orchestrator.evidence.owner import render_owner, this_process
from codex_orchestrator.model.manifest import ChildRun
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.rules.lineage import changed_children, known_children, merged_children, with_children
from tests.support.builders import NOW, opened_run, pipeline_of

A = ChildRun("a", "p", "in_progress", ".runs/t/cli/a/manifest.json")
A_DONE = ChildRun("a", "p", "succeeded", ".runs/t/cli/a/manifest.json")
B = ChildRun("b", "p", "failed", "../other/.runs/t/cli/b/manifest.json")


def make_run(task, run_id, **changes) -> RunLayout:
    """A run's folder with a manifest of the fields that matter here."""
    layout = task.run(run_id)
    layout.folder.mkdir()
    document = {"run_id": run_id, "status": "succeeded", "child_runs": [], "commands": [], **changes}
    layout.manifest.write_text(json.dumps(document))
    return layout


def leave(layout, name, text) -> None:
    layout.children.mkdir(exist_ok=True)
    (layout.children / name).write_text(text if isinstance(text, str) else json.dumps(vars(text)))


def children_in(layout) -> list[dict]:
    return json.loads(layout.manifest.read_bytes())["child_runs"]


# Pure.


@pytest.mark.parametrize(
    ("known", "children", "news", "after"),
    [
        ([], [], [], ()),
        ([], [A, B], [A, B], (A, B)),
        ([A], [A], [], (A,)),
        ([A, B], [A_DONE], [A_DONE], (A_DONE, B)),
        ([B], [A, B], [A], (B, A)),
    ],
    ids=["none", "first", "known", "changed", "another"],
)
def test_children_are_taken_up_in_their_places(known, children, news, after):
    assert changed_children(known, children) == news
    assert merged_children(known, children) == after
    document = {"child_runs": [vars(child) for child in known], "mark": 1}
    taken = with_children(document, news, now=NOW)
    assert taken == {"child_runs": [vars(child) for child in after], "mark": 1, "updated_at": NOW}


def test_entries_of_others_are_passed_over_and_kept():
    odd = ["text", {"run_id": 1}, {"run_id": ["x"]}, None, {**vars(B), "more": True}]
    assert known_children({"child_runs": odd}) == [B]
    assert with_children({"child_runs": odd}, [A], now=NOW)["child_runs"] == [*odd, vars(A)]
    for document in ({}, {"child_runs": None}, [], None):
        assert known_children(document) == []
    assert with_children({"child_runs": None}, [A], now=NOW)["child_runs"] == [vars(A)]


# On disk.


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.json", A, [A_DONE]),
        ("other.json", A, []),
        ("a.json", "{", []),
        ("a.json", "[]", []),
        ("a.json", '{"run_id": "a"}', []),
        ("a.txt", A, []),
        ("gone.json", ChildRun("gone", "p", "in_progress", ".runs/t/cli/gone/manifest.json"), []),
        ("b.json", B, [B]),
    ],
    ids=["as it is now", "other name", "torn", "list", "part", "other file", "never begun", "removed"],
)
def test_a_record_counts_with_what_its_own_manifest_says(task, name, text, found):
    make_run(task, "a")
    parent = make_run(task, "parent")
    leave(parent, name, text)
    assert read_children(parent) == found


def test_a_manifest_that_is_another_runs_says_nothing(task):
    parent, child = make_run(task, "parent"), make_run(task, "a", status="failed")
    leave(parent, "a.json", A_DONE)
    assert [found.status for found in read_children(parent)] == ["failed"]
    child.manifest.write_text(json.dumps({"run_id": "z", "status": "failed"}))
    assert read_children(parent) == [A_DONE]
    child.manifest.write_text(json.dumps({"run_id": "a", "status": "odd"}))
    assert read_children(parent) == [A_DONE]


def test_a_link_leaves_and_settles(task):
    parent, child = make_run(task, "parent"), make_run(task, "r", status="in_progress")
    link = ParentLink(parent, child, SystemClock())
    manifest = opened_run(pipeline_of(), layout=child)
    link.report(manifest)
    assert json.loads((parent.children / "r.json").read_bytes()) == {
        "run_id": "r",
        "pipeline_id": "p",
        "status": "queued",
        "manifest": ".runs/t/cli/r/manifest.json",
    }
    link.adopt()
    assert [entry["status"] for entry in children_in(parent)] == ["in_progress"]
    for nobody in (None, task.run("gone")):
        link = ParentLink(nobody, child, SystemClock())
        link.report(manifest)
        link.adopt()
    assert not task.run("gone").folder.exists()


def test_the_owner_of_a_live_parent_is_left_alone_and_settles_when_it_ends(task):
    parent = make_run(task, "parent", status="in_progress")
    make_run(task, "a")
    leave(parent, "a.json", A_DONE)
    lock = RunLock(parent.lock, below=parent.base)
    lock.acquire()
    adopt_children(parent, SystemClock())
    assert children_in(parent) == []
    lock.release()
    adopt_children(parent, SystemClock(), as_owner=True)
    assert children_in(parent) == [vars(A_DONE)]


def test_a_lock_that_somebody_holds_for_a_moment_is_waited_for(task):
    parent = make_run(task, "parent")
    make_run(task, "a")
    leave(parent, "a.json", A_DONE)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with held_lock(parent.lock, below=parent.base):
            held.set()
            done.wait(0.1)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    adopt_children(parent, SystemClock())
    holder.join()
    assert children_in(parent) == [vars(A_DONE)]


def test_temporary_files_of_dead_children_are_swept_with_it(task):
    parent = make_run(task, "parent")
    make_run(task, "a")
    leave(parent, "a.json", A_DONE)
    (parent.children / ".b.json.4194305-00000000.tmp").write_text("{")
    adopt_children(parent, SystemClock())
    assert children_in(parent) == [vars(A_DONE)]
    assert [path.name for path in parent.children.iterdir()] == ["a.json"]


def test_only_live_children_have_owners(task):
    parent = make_run(task, "parent")
    locks = [RunLock(task.run(run_id).lock, below=task.run(run_id).base) for run_id in "ab"]
    for run_id, status in (("a", "in_progress"), ("b", "succeeded"), ("c", "in_progress")):
        child = make_run(task, run_id, status=status)
        leave(parent, f"{run_id}.json", ChildRun(run_id, "p", "in_progress", parent.relative(child.manifest)))
    # Its name in a file that nobody holds makes nobody an owner.
    task.run("c").lock.write_bytes(render_owner(this_process()))
    for lock in locks:
        lock.acquire()
    assert live_owners(parent) == {this_process().pid}
    locks[0].release()
    assert live_owners(parent) == set()
    locks[1].release()
    assert child_layout(parent, A).manifest == task.run("a").manifest


# The run around this process.


def around(task, **variables):
    environment = task.environment
    named = {f"CODEX_ORCHESTRATOR_{name}": str(value) for name, value in variables.items()}
    return Environment(environment.root, environment.runs_dir, environment.out_dir, environment.root, named)


@pytest.mark.parametrize(
    ("value", "found"), [("a", "a"), ("", None), ("..", None), ("a/b", None), ("latest", None)]
)
def test_only_what_could_be_a_run_is_around(task, value, found):
    assert run_around(around(task, RUN_ID=value)) == found


def test_a_parent_is_the_run_around_or_one_under_this_root(task, tmp_path):
    here = make_run(task, "a")
    there = tmp_path / "far" / ".runs" / "u" / "cli" / "a"
    there.mkdir(parents=True)
    (there / "manifest.json").write_text('{"run_id": "a"}')
    environment = around(task, RUN_ID="a", RUN_DIR=there, ROOT=tmp_path / "far")
    found = find_parent(environment, "a")
    assert found is not None
    assert (found.folder, found.task.task_id) == (there, "u")
    assert found.relative(here.manifest) == "../.runs/t/cli/a/manifest.json"
    (there / "manifest.json").write_text('{"run_id": "b"}')
    assert find_parent(environment, "a") == RunLayout.at(here.folder, task.environment.root)
    assert find_parent(around(task), "a") == RunLayout.at(here.folder, task.environment.root)
    assert find_parent(around(task), "nobody") is None
