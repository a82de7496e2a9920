"""What dead runs left half done is swept; nothing else is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.locks import held_lock
from codex_orchestrator.evidence.owner import render_owner, this_process
from codex_orchestrator.evidence.run_folder import create_run_folder
from codex_orchestrator.evidence.sweep import SweepResult, sweep
from codex_orchestrator.rules.layout import RunLayout, TaskLayout

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

TEMPORARY = ".manifest.json.4711-0123abcd.tmp"


def dead():
    """The owner that a process was which has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return replace(this_process(), pid=process.pid)


DEAD = {
    "ended": dead,
    "recycled pid": lambda: replace(this_process(), start_token="1"),
    "earlier boot": lambda: replace(this_process(), boot_id="another"),
}
LIVING = {
    "this process": this_process,
    "another host": lambda: replace(this_process(), host="elsewhere"),
}


def run_of(task: TaskLayout, owner) -> RunLayout:
    """A run of that owner that has a manifest, and a temporary file in every folder that it writes to."""
    layout = create_run_folder(task, FakeClock())
    files.overwrite(layout.live_marker, render_owner(owner), below=layout.base)
    layout.manifest.write_text("{}")
    for folder in folders(layout):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TEMPORARY).write_bytes(b"{")
    for pending in task.pending_dirs:
        pending.mkdir(parents=True, exist_ok=True)
        (pending / f".{layout.run_id}.json.4711-0123abcd.tmp").write_bytes(b"{")
    return layout


def folders(layout: RunLayout) -> list[Path]:
    own = [layout.folder, layout.folder / "commands", layout.folder / "errors"]
    return [*own, layout.mcp_folder, layout.compat_folder]


def found_in(swept: SweepResult) -> tuple[int, int, tuple[str, ...]]:
    return len(swept.temporaries), len(swept.folders), swept.warnings


def temporaries(task: TaskLayout) -> list[str]:
    return sorted(path.name for path in task.environment.root.rglob("*.tmp"))


@pytest.mark.parametrize("owner", DEAD.values(), ids=DEAD)
def test_temporary_files_of_the_dead_are_swept_and_their_evidence_stays(task, owner):
    layout = run_of(task, owner())
    assert found_in(sweep(task)) == (9, 0, ())
    assert temporaries(task) == []
    assert layout.manifest.read_text() == "{}"
    assert not layout.live_marker.exists()
    assert sweep(task) == SweepResult()


@pytest.mark.parametrize("owner", LIVING.values(), ids=LIVING)
def test_the_living_are_left_alone(task, owner):
    layout = run_of(task, owner())
    layout.manifest.unlink()
    before = temporaries(task)
    assert sweep(task) == SweepResult()
    assert temporaries(task) == before
    assert layout.live_marker.exists()


def test_a_dead_run_that_somebody_has_taken_up_is_left_alone(task):
    layout = run_of(task, dead())
    with held_lock(layout.lock, below=layout.base):
        assert sweep(task) == SweepResult()
    assert layout.live_marker.exists()
    assert found_in(sweep(task)) == (9, 0, ())


def test_a_folder_without_a_manifest_never_became_a_run(task):
    layout = run_of(task, dead())
    layout.manifest.unlink()
    assert sweep(task) == SweepResult(folders=(layout.relative(layout.folder),))
    for folder in (layout.folder, layout.mcp_folder, layout.compat_folder):
        assert not folder.exists()
    assert not layout.live_marker.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_a_marker_that_was_cut_short_has_nothing_else_to_it(task, content):
    task.live_dir.mkdir()
    marker = task.run("r").live_marker
    marker.write_bytes(content)
    assert sweep(task) == SweepResult()
    assert not marker.exists()


def test_what_cannot_be_swept_is_a_warning_and_no_reason_to_stop(task, monkeypatch):
    first, second = run_of(task, dead()), run_of(task, dead())
    real = files.remove

    def refuse(path, **keywords):
        if path.parent == min(first.folder, second.folder):
            raise StorageError(f"Cannot remove {path}: Permission denied.")
        return real(path, **keywords)

    monkeypatch.setattr(files, "remove", refuse)
    swept = sweep(task)
    stuck = min(first, second, key=lambda layout: layout.run_id)
    refused = f"Cannot remove {stuck.folder / TEMPORARY}: Permission denied."
    assert found_in(swept) == (9, 0, (f"Leftovers of run {stuck.run_id} not swept: {refused}",))
    assert stuck.live_marker.exists()


def test_foreign_files_stay(task):
    layout = run_of(task, dead())
    foreign = layout.folder / "notes.tmp"
    foreign.write_text("mine")
    sweep(task)
    assert foreign.read_text() == "mine"


def test_a_new_run_is_marked_before_its_folder_is_there(task, monkeypatch):
    seen = []
    real = files.make_new_folder

    def look(path, **keywords):
        seen.append([path.name for path in task.live_dir.iterdir()])
        return real(path, **keywords)

    monkeypatch.setattr(files, "make_new_folder", look)
    layout = create_run_folder(task, FakeClock())
    assert seen == [[f"{layout.run_id}.json"]]
    assert sweep(task) == SweepResult()
    assert layout.folder.is_dir()
