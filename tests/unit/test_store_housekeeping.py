"""Removing a run: whole or not at all, whoever dies when and whatever the disk refuses."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.evidence import files, locks
from codex_orchestrator.evidence.housekeeping import (
    bytes_of,
    discard,
    is_queued,
    leftovers,
    merge_records,
    queued_records,
    remove_run,
    trash_dir,
)
from codex_orchestrator.model.codec import dumps, dumps_line, to_json
from codex_orchestrator.rules.layout import RunLayout
from tests.support.builders import opened_run, pipeline_of, records_of

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

CALLS = ("rename", "unlink", "rmdir", "mkdir", "open", "fsync")


def left_run(task, run_id="r1") -> RunLayout:
    """A run with files around it and below it."""
    layout = task.run(run_id)
    for folder in (layout.folder / "commands", layout.mcp_folder, layout.compat_folder, task.live_dir):
        folder.mkdir(parents=True, exist_ok=True)
    layout.manifest.write_text(dumps(to_json(opened_run(pipeline_of(), layout=layout))))
    for path in (
        *(layout.lock, layout.runner_log, layout.folder / "commands" / "01-a.ndjson"),
        *(layout.mcp_pointer, layout.compat_pointer, layout.live_marker),
    ):
        path.write_text("{}\n")
    return layout


def traces(layout: RunLayout) -> set[str]:
    """What is left of a run, as paths below the project."""
    root = layout.task.environment.root
    named = [
        path for path in root.rglob("*") if layout.run_id in path.name and "pending" not in path.parent.name
    ]
    return {path.relative_to(root).as_posix() for path in named}


def remove(layout: RunLayout, *, unchanged=True) -> str:
    return remove_run(layout, unchanged=lambda: unchanged)


# ------------------------------------------------------------------ removing


def test_a_removed_run_leaves_nothing_and_its_neighbour_everything(task):
    run, other = left_run(task), left_run(task, "r2")
    before = traces(other)
    assert remove(run) == "removed"
    assert traces(run) == set()
    assert traces(other) == before
    assert leftovers(task) == []


def test_a_run_that_changed_since_it_was_judged_stays(task):
    run = left_run(task)
    before = traces(run)
    assert remove(run, unchanged=False) == "busy"
    assert traces(run) == before


def test_it_is_judged_again_while_its_lock_is_held(task):
    run = left_run(task)

    def unchanged() -> bool:
        assert locks.try_lock(run.lock, below=run.base) is None
        return True

    assert remove_run(run, unchanged=unchanged) == "removed"


def test_a_run_whose_lock_is_held_stays(task):
    run = left_run(task)
    before = traces(run)
    with locks.held_lock(run.lock, below=run.base) as held:
        assert held
        assert remove(run) == "busy"
    assert traces(run) == before
    assert remove(run) == "removed"


def test_the_lock_of_a_run_that_stays_says_what_it_said(task):
    run = left_run(task)
    run.lock.write_text('{"pid": 1}\n')
    assert remove(run, unchanged=False) == "busy"
    assert run.lock.read_text() == '{"pid": 1}\n'


def test_a_run_without_a_lock_file_can_go(task):
    run = left_run(task)
    run.lock.unlink()
    assert remove(run) == "removed"
    assert traces(run) == set()


def test_a_folder_without_a_manifest_is_not_touched(task):
    run = left_run(task)
    run.manifest.unlink()
    before = traces(run)
    assert remove(run) == "gone"
    assert traces(run) == before


def test_a_run_that_another_process_removed_first_does_not_come_back(task, monkeypatch):
    run = left_run(task)

    def removed_meanwhile(path, *, below):
        files.remove_tree(run.folder, below=run.base)
        return locks.held_lock(path, below=below)

    monkeypatch.setattr("codex_orchestrator.evidence.housekeeping.held_lock", removed_meanwhile)
    assert remove(run) == "gone"
    assert not run.folder.exists()


def test_a_run_that_goes_while_its_lock_is_taken_is_gone(task, monkeypatch):
    run = left_run(task)

    def vanish(path, **_):
        files.remove_tree(run.folder, below=run.base)
        raise StorageError(f"Cannot lock {path}: No such file or directory.")

    monkeypatch.setattr("codex_orchestrator.evidence.housekeeping.held_lock", vanish)
    assert remove(run) == "gone"


def test_a_lock_that_cannot_be_made_is_named(task, monkeypatch):
    run = left_run(task)

    def refuse(path, **_):
        raise StorageError(f"Cannot lock {path}: Read-only file system.")

    monkeypatch.setattr("codex_orchestrator.evidence.housekeeping.held_lock", refuse)
    with pytest.raises(StorageError, match="Read-only"):
        remove(run)
    assert is_whole(run)


def test_without_locks_of_the_file_system_a_run_can_go_as_well(task, monkeypatch):
    def refuse(*_arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    run = left_run(task)
    assert remove(run) == "removed"
    assert traces(run) == set()


# ------------------------------------------------------------------ links


def test_a_link_is_removed_and_not_followed(task, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "kept").write_text("theirs")
    run = left_run(task)
    (run.folder / "out").symlink_to(theirs)
    (run.folder / "nowhere").symlink_to(tmp_path / "missing")
    files.remove_tree(run.mcp_folder, below=run.base)
    run.mcp_folder.symlink_to(theirs)
    assert bytes_of(run.folder, below=run.base) < 10_000
    assert remove(run) == "removed"
    assert (theirs / "kept").read_text() == "theirs"
    assert traces(run) == set()


def test_a_run_that_is_a_link_is_refused(task, tmp_path):
    run = left_run(task)
    elsewhere = tmp_path / "elsewhere"
    files.move(run.folder, elsewhere, below=tmp_path)
    run.folder.symlink_to(elsewhere)
    assert bytes_of(run.folder, below=run.base) == 0
    with pytest.raises(Misplaced, match="is a link"):
        remove(run)
    assert (elsewhere / "manifest.json").exists()
    assert run.folder.is_symlink()


def test_a_trash_that_is_a_link_is_refused(task, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "kept").write_text("theirs")
    trash_dir(task).symlink_to(theirs)
    run = left_run(task)
    before = traces(run)
    with pytest.raises(StorageError, match="is a link"):
        leftovers(task)
    with pytest.raises(StorageError, match="is a link"):
        remove(run)
    assert traces(run) == before
    assert (theirs / "kept").read_text() == "theirs"


# ------------------------------------------------------------------ deaths and refusals


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches SIGKILL."""


class Counted:
    """Lets something happen at the n-th call of those that change or sync what is on disk."""

    def __init__(self, monkeypatch, number: int, happen) -> None:
        self.calls = 0
        self._number = number
        self._happen = happen
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real):
        def call(*arguments, **keywords):
            self.calls += 1
            if self.calls == self._number:
                self._happen()
            return real(*arguments, **keywords)

        return call


def is_whole(run: RunLayout) -> bool:
    """Whether all is there that a reader of the run may want."""
    wanted = (run.manifest, run.runner_log, run.folder / "commands" / "01-a.ndjson", run.mcp_pointer)
    return all(path.exists() for path in wanted)


def until_it_passes(task, monkeypatch, happen, kind) -> int:
    """Removes a run with something happening at the first call, the second, …; how many there are."""
    for number in range(1, 200):
        run = left_run(task, f"r{number:03}")
        with monkeypatch.context() as patched:
            counted = Counted(patched, number, happen)
            try:
                outcome = remove(run)
            except kind:
                outcome = None
        if counted.calls < number:
            assert outcome == "removed"
            assert traces(run) == set()
            return number - 1
        # Never half a run, and nothing that the next one cannot finish.
        assert is_whole(run) or not run.folder.exists()
        for remains in leftovers(task):
            discard(remains)
        if run.folder.exists():
            assert remove(run) == "removed"
        assert traces(run) == set()
    raise AssertionError("it never passed")


def test_killed_at_any_call_no_reader_meets_half_a_run(task, monkeypatch):
    def die() -> None:
        raise Killed

    assert until_it_passes(task, monkeypatch, die, Killed) > 20


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_refused_at_any_call_no_reader_meets_half_a_run(task, monkeypatch, number):
    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    assert until_it_passes(task, monkeypatch, refuse, StorageError) > 20


def test_an_unlink_that_fails_in_the_middle_leaves_the_rest_in_the_trash(task, monkeypatch):
    run = left_run(task)
    real = os.unlink

    def unlink(path, *arguments, **keywords):
        if Path(path).name == "01-a.ndjson":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        real(path, *arguments, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        with pytest.raises(StorageError, match="Operation not permitted"):
            remove(run)
        assert not run.folder.exists()
        assert [one.run_id for one in leftovers(task)] == ["r1"]
        with pytest.raises(StorageError, match="Operation not permitted"):
            discard(run)
    discard(run)
    assert traces(run) == set()


def test_two_that_delete_the_same_folder_finish_it(task, monkeypatch):
    run = left_run(task)
    real = os.unlink
    stolen = []

    def unlink(path, *arguments, **keywords):
        if Path(path).name == "manifest.json" and not stolen:
            stolen.append(path)
            real(path, *arguments, **keywords)
        real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "unlink", unlink)
    assert remove(run) == "removed"
    assert stolen
    assert traces(run) == set()


def test_a_lock_file_that_is_made_while_its_folder_goes_goes_too(task, monkeypatch):
    run = left_run(task)
    real = os.rmdir
    late = []

    def rmdir(path, *arguments, **keywords):
        if Path(path).name == "r1" and not late:
            late.append(trash_dir(task) / "r1" / "run.lock")
            late[0].write_text("")
        real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "rmdir", rmdir)
    assert remove(run) == "removed"
    assert late
    assert traces(run) == set()


def test_remains_do_not_take_the_files_of_a_run_of_their_name(task):
    run = left_run(task)
    (trash_dir(task) / "r1").mkdir(parents=True)
    discard(run)
    assert is_whole(run)
    assert leftovers(task) == []


def test_whatever_is_in_the_trash_can_be_discarded(task, tmp_path):
    trash = trash_dir(task)
    trash.mkdir()
    (trash / "a file").write_text("x")
    (trash / "a link").symlink_to(tmp_path)
    (trash / "a folder" / "b").mkdir(parents=True)
    for one in leftovers(task):
        discard(one)
    assert list(trash.iterdir()) == []
    assert tmp_path.exists()


def test_a_trash_that_is_no_folder_is_named(task):
    assert leftovers(task) == []
    trash_dir(task).write_text("x")
    with pytest.raises(Misplaced, match="is a file where a folder belongs"):
        leftovers(task)
    with pytest.raises(StorageError, match="Cannot make the folder"):
        remove(left_run(task))


# ------------------------------------------------------------------ queued records


def queue(task, run_id: str, suffix=".json") -> None:
    for pending, record in zip(task.pending_dirs[:3], records_of(run_id), strict=True):
        pending.mkdir(parents=True, exist_ok=True)
        (pending / f"{run_id}{suffix}").write_text(dumps_line(to_json(record)))


def test_what_is_queued_is_merged_and_counted(task):
    left_run(task)
    assert merge_records(task, FakeClock()) == 0
    assert not task.journal_lock.exists()
    assert not task.control_plane_dir.exists()
    queue(task, "r1")
    assert queued_records(task) == 3
    assert is_queued(task.run("r1"))
    assert not is_queued(task.run("r2"))
    assert merge_records(task, FakeClock()) == 3
    assert queued_records(task) == 0
    assert not is_queued(task.run("r1"))
    assert '"r1"' in task.metrics.read_text()
    assert '"r1"' in task.history.read_text()


def test_what_cannot_be_merged_now_stays_queued(task):
    left_run(task)
    queue(task, "r1")
    with locks.held_lock(task.journal_lock, below=task.environment.runs_dir) as mine:
        assert mine
        assert merge_records(task, FakeClock()) == 0
    assert is_queued(task.run("r1"))
    assert merge_records(task, FakeClock()) == 3
    assert not is_queued(task.run("r1"))


def test_a_record_whose_merger_is_not_done_is_queued_still(task):
    run = left_run(task)
    queue(task, "r1")
    with locks.held_lock(run.lock, below=run.base):
        assert merge_records(task, FakeClock()) == 3
    assert is_queued(run)
    assert merge_records(task, FakeClock()) == 0
    assert not is_queued(run)


def test_sizes(task, tmp_path):
    folder = tmp_path / "a"
    (folder / "b").mkdir(parents=True)
    (folder / "one").write_bytes(b"x" * 10)
    (folder / "b" / "two").write_bytes(b"x" * 5)
    assert bytes_of(folder, below=tmp_path) == 15
    assert bytes_of(tmp_path / "missing", below=tmp_path) == 0
