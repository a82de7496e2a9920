"""What a lock file says of a process is a claim: who is believed, and who is signalled."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from codex_orchestrator.evidence import owner as module
from codex_orchestrator.evidence.locks import RunLock, is_held
from codex_orchestrator.evidence.owner import exists, has_open, is_alive, objection, owns, this_process
from codex_orchestrator.execution import process as process_module
from codex_orchestrator.execution.process import signal_if
from codex_orchestrator.model.codec import Mismatch, from_json, to_json
from codex_orchestrator.model.manifest import LARGEST_PID, Owner

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="without /proc")  # noqa: PTH112
NO_IDS = (-(2**40), -1, 0, LARGEST_PID + 1, 10**30)


@pytest.fixture
def other():
    """A process that has nothing to do with us."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield replace(this_process(), pid=process.pid, start_token=module._start_token(process.pid))
    process.communicate()


@pytest.fixture
def lock(tmp_path):
    """A run's lock that this process holds."""
    held = RunLock(tmp_path / "run.lock", below=tmp_path)
    held.acquire()
    yield tmp_path / "run.lock"
    held.release()


@pytest.fixture
def without_proc(monkeypatch):
    """As on systems that tell nothing of a process but whether it is there."""
    monkeypatch.setattr(module, "_start_token", lambda pid: None)
    monkeypatch.setattr(module, "_boot_id", lambda: None)
    monkeypatch.setattr(module, "has_open", lambda pid, path: None)


@pytest.mark.parametrize("pid", NO_IDS)
def test_what_is_no_process_id_is_none_in_a_lock_either(pid):
    assert not exists(pid)
    with pytest.raises(Mismatch):
        from_json(Owner, {**to_json(this_process()), "pid": pid})


@needs_proc
def test_the_holder_of_a_lock_has_its_file_open(lock, other, tmp_path):
    assert has_open(os.getpid(), lock) is True
    assert has_open(other.pid, lock) is False
    (tmp_path / "elsewhere").mkdir()
    namesake = tmp_path / "elsewhere" / "run.lock"
    namesake.touch()
    assert has_open(os.getpid(), namesake) is False
    assert has_open(LARGEST_PID, lock) is None
    assert has_open(os.getpid(), tmp_path / "missing") is None


@needs_proc
def test_so_has_one_where_a_file_stands_for_the_lock(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = RunLock(tmp_path / "run.lock", below=tmp_path)
    lock.acquire()
    assert lock.soft
    assert owns(this_process(), tmp_path / "run.lock") is True
    assert is_held(tmp_path / "run.lock", below=tmp_path)
    lock.release()
    assert owns(this_process(), tmp_path / "run.lock") is False


@needs_proc
def test_an_owner_is_who_holds_the_lock(lock, other):
    assert owns(this_process(), lock) is True
    assert is_alive(other) is True
    assert owns(other, lock) is False
    assert owns(replace(other, host="elsewhere"), lock) is None
    assert owns(replace(this_process(), start_token="1"), lock) is False


def test_without_proc_an_id_that_is_taken_proves_nothing(without_proc, lock, other):
    tokenless = replace(other, start_token=None, boot_id=None)
    assert is_alive(tokenless) is None
    assert owns(tokenless, lock) is None
    assert is_alive(replace(tokenless, pid=LARGEST_PID)) is False


def test_without_proc_a_process_of_ours_may_be_signalled_where_the_run_is_ours(
    without_proc, lock, other, monkeypatch
):
    tokenless = replace(other, start_token=None, boot_id=None)
    monkeypatch.setattr(module, "_uid_of", lambda pid: None)
    assert objection(tokenless, lock) is None
    monkeypatch.setattr(os, "geteuid", lambda: lock.stat().st_uid + 1)
    assert objection(tokenless, lock) == f"its process {other.pid} is another user's"


@needs_proc
@pytest.mark.parametrize(
    ("owner", "against"),
    [
        (lambda other: replace(other, pid=1), "process 1 ends with its machine or container"),
        (lambda other: this_process(), "does not hold"),
        (lambda other: other, "does not hold"),
        (lambda other: replace(other, start_token="1"), "does not hold"),
    ],
    ids=["init", "this process", "does not hold it", "recycled"],
)
def test_what_speaks_against_signalling(lock, other, owner, against):
    assert against in objection(owner(other), lock)


@needs_proc
def test_another_user_s_process_is_not_signalled(lock, other, monkeypatch):
    monkeypatch.setattr(module, "has_open", lambda pid, path: True)
    assert objection(other, lock) is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "_uid_of", lambda pid: lock.stat().st_uid + 1)
    # Root could: but a run's own user must not be able to have root do it.
    assert objection(other, lock) == f"its process {other.pid} is another user's"


def test_a_lock_is_held_or_not(lock, tmp_path):
    assert is_held(lock, below=tmp_path)
    (tmp_path / "left").write_bytes(b"{}")
    assert not is_held(tmp_path / "left", below=tmp_path)
    assert (tmp_path / "left").read_bytes() == b"{}"


@pytest.mark.parametrize(
    "pid", [-2, -1, 0, 1, os.getpid(), -os.getppid()], ids=["-2", "all", "own group", "1", "own", "group"]
)
@pytest.mark.parametrize("pidfd", [True, False])
def test_a_number_that_stands_for_others_is_never_signalled(monkeypatch, pid, pidfd):
    sent = []
    monkeypatch.setattr(os, "kill", lambda *args: sent.append(args))
    if hasattr(signal, "pidfd_send_signal"):
        monkeypatch.setattr(signal, "pidfd_send_signal", lambda *args: sent.append(args))
    if not pidfd:
        monkeypatch.setattr(process_module, "_open_pidfd", lambda pid: None)
    assert signal_if(pid, signal.SIGTERM, lambda: True) is False
    assert sent == []
