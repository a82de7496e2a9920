"""Trying out what a folder's file system can do."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence.filesystem_probe import locks_in, scratch_folder, seconds_to_disk


@pytest.mark.parametrize("below", [(), ("a",), ("a", "b", "c")])
def test_a_folder_is_tried_where_it_is_or_would_be_made(tmp_path, below):
    with scratch_folder(tmp_path.joinpath(*below)) as place:
        assert place.parent == tmp_path
        assert place.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_trial_that_breaks(tmp_path):
    def break_down() -> None:
        with scratch_folder(tmp_path) as place:
            (place / "file").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_down()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_is_told(tmp_path, kind):
    path = tmp_path / "runs"
    if kind == "file":
        path.touch()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(StorageError, match="Cannot make the folder"), scratch_folder(path):
        pass


def test_the_time_to_disk_is_that_of_a_file_and_its_name(tmp_path, disk):
    clock, made = FakeClock(), disk()
    assert seconds_to_disk(tmp_path, clock) == 0.0
    assert made.calls.count("fsync") == 2


@pytest.mark.parametrize("fail_at", range(6))
def test_a_disk_that_refuses_is_told(tmp_path, disk, fail_at):
    disk(fail_at=fail_at)
    with pytest.raises(StorageError, match="No space left on device"):
        seconds_to_disk(tmp_path, FakeClock())


@pytest.mark.parametrize(
    ("flock", "kind"),
    [(None, "kernel"), (OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)), "files"), (0, "none")],
)
def test_what_a_lock_is_worth(tmp_path, monkeypatch, flock, kind):
    def replaced(*_arguments):
        if flock:
            raise flock

    if flock is not None:
        monkeypatch.setattr(fcntl, "flock", replaced)
    assert locks_in(tmp_path) == kind
    # It is given up again.
    assert locks_in(tmp_path) == kind
