"""Locks that die with their process, also where the file system has none of its own."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading

import filelock
import pytest

from codex_orchestrator.errors import Busy, Misplaced, StorageError
from codex_orchestrator.evidence.locks import RunLock, held_lock, wait_for_lock
from codex_orchestrator.evidence.owner import read_owner, render_owner, this_process

UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)

HOLDER = """
    import errno, fcntl, sys
    from pathlib import Path
    from codex_orchestrator.evidence.locks import held_lock

    if sys.argv[2] == "soft":
        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")
        fcntl.flock = refuse
    with held_lock(Path(sys.argv[1]), below=Path(sys.argv[1]).parent) as held:
        print(held, flush=True)
        sys.stdin.read()
"""


@pytest.fixture(params=["kernel", "soft"])
def kind(request, monkeypatch) -> str:
    """Locks of the kernel, and files in their place."""
    if request.param == "soft":
        monkeypatch.setattr(fcntl, "flock", refusal(errno.ENOLCK))
    return request.param


def refusal(number):
    def refuse(*_arguments):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture
def holder(tmp_path, kind):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), tmp_path / "x.lock", kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def is_free(path) -> bool:
    with held_lock(path, below=path.parent) as held:
        return held


def test_one_holder_at_a_time(tmp_path, kind):
    path = tmp_path / "x.lock"
    with held_lock(path, below=tmp_path) as first:
        assert first
        assert not is_free(path)
    assert is_free(path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_dies_with_its_process(tmp_path, holder, number):
    path = tmp_path / "x.lock"
    assert not is_free(path)
    holder.send_signal(number)
    holder.wait()
    assert is_free(path)


def test_a_stopped_process_still_holds_its_lock(tmp_path, holder):
    holder.send_signal(signal.SIGSTOP)
    assert not is_free(tmp_path / "x.lock")
    holder.send_signal(signal.SIGCONT)


def test_nothing_is_left_of_a_lock_that_stood_in_for_a_kernel_lock(tmp_path, monkeypatch):
    for number in UNSUPPORTED:
        monkeypatch.setattr(fcntl, "flock", refusal(number))
        assert is_free(tmp_path / "x.lock")
    assert [path.name for path in tmp_path.iterdir() if path.name != "x.lock"] == []


@pytest.mark.parametrize("content", ["", "someone", '{"pid": 1}'])
def test_a_file_left_over_never_blocks(tmp_path, content):
    path = tmp_path / "x.lock"
    path.write_text(content)
    os.utime(path, (0, 0))
    assert is_free(path)


def test_a_disk_that_refuses_is_no_missing_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusal(errno.EIO))
    with pytest.raises(StorageError, match=r"Cannot lock .*x\.lock: Input/output error"):
        is_free(tmp_path / "x.lock")
    with pytest.raises(StorageError, match="Cannot lock"):
        is_free(tmp_path / "missing" / "x.lock")


def test_the_owner_of_a_run_is_named_in_its_lock(tmp_path, kind):
    lock = RunLock(tmp_path / "run.lock", below=tmp_path)
    lock.acquire()
    assert lock.soft is (kind == "soft")
    assert read_owner(tmp_path / "run.lock", below=tmp_path) == this_process()
    with pytest.raises(Busy, match=r"A live process owns the run .*run\.lock"):
        RunLock(tmp_path / "run.lock", below=tmp_path).acquire(patience_seconds=0.02)
    lock.release()
    lock.release()
    RunLock(tmp_path / "run.lock", below=tmp_path).acquire(patience_seconds=0.0)
    assert read_owner(tmp_path / "run.lock", below=tmp_path) == this_process()


def test_the_name_of_an_earlier_owner_is_covered(tmp_path):
    path = tmp_path / "run.lock"
    path.write_bytes(
        render_owner(this_process()).replace(b'"pid"', b'"a-much-longer-name-than-that": 1, "pid"')
    )
    lock = RunLock(path, below=tmp_path)
    lock.acquire()
    assert json.loads(path.read_bytes())["pid"] == os.getpid()
    assert read_owner(path, below=tmp_path) == this_process()
    lock.release()


def test_a_lock_that_comes_free_is_taken_and_nobody_waits_for_what_is_done(tmp_path):
    path, asked = tmp_path / "x.lock", []
    with held_lock(path, below=tmp_path):

        def done() -> bool:
            asked.append(True)
            return len(asked) == 3

        with held_lock(path, below=tmp_path, patience_seconds=60, unless=done) as held:
            assert not held
        assert len(asked) == 3
        waiting = threading.Thread(target=lambda: asked.append(wait_for_lock(path, 60, below=tmp_path)))
        waiting.start()
    waiting.join()
    asked[-1].release()
    assert is_free(path)


def test_a_lock_of_the_library_and_ours_keep_each_other_out(tmp_path):
    """Builds before this one lock with it, and may run at the same time."""
    path = tmp_path / "x.lock"
    theirs = filelock.FileLock(path, thread_local=False, fallback_to_soft=False)
    with theirs:
        assert not is_free(path)
    with held_lock(path, below=tmp_path) as held:
        assert held
        with pytest.raises(filelock.Timeout):
            theirs.acquire(timeout=0)
    with theirs:
        assert not is_free(path)


def test_a_file_that_was_removed_is_no_lock_to_wait_for(tmp_path):
    path = tmp_path / "x.lock"
    with held_lock(path, below=tmp_path) as held:
        assert held
        path.unlink()
        assert is_free(path)


def test_a_lock_in_a_folder_that_is_not_there_yet(tmp_path):
    path = tmp_path / "later" / "x.lock"
    with held_lock(path, below=tmp_path) as held:
        assert held
        assert path.stat().st_mode == (tmp_path / "later").stat().st_mode & 0o666 | stat.S_IFREG


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path):
    (tmp_path / "x.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Misplaced):
        is_free(tmp_path / "x.lock")
    assert not (tmp_path / "elsewhere").exists()
