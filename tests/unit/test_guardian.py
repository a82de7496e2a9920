"""The guardian told by hand, and what it finds and ends; tests/crash/test_orphans.py has whole runs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from codex_orchestrator.clock import FakeClock, SystemClock
from codex_orchestrator.execution import leftovers
from codex_orchestrator.execution import process as process_module
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.execution.leftovers import (
    LeftProcess,
    end_left,
    find_left,
    has_members,
    kill_left,
    named,
)
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.privacy.policy import PrivacyPolicy
from codex_orchestrator.text import flattened
from tests.support.processes import is_alive, until

MARK_NAME = "CODEX_TEST_MARK"


@pytest.fixture
def mark(tmp_path):
    """What the processes of this test have in their environment."""
    return f"{MARK_NAME}={tmp_path}"


@pytest.fixture
def spawn(tmp_path):
    """Starts shells in sessions of their own, and ends them afterwards."""
    started = []

    def spawner(command="exec sleep 600", *, marked=False, path="/bin/sh", words=None, **variables):
        process = subprocess.Popen(
            words or ["sh", "-c", command],
            executable=path,
            env={"PATH": os.environ["PATH"], **({MARK_NAME: str(tmp_path)} if marked else {}), **variables},
            cwd=tmp_path,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        started.append(process)
        return process.pid

    yield spawner
    for process in started:
        if has_members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def guardian(mark):
    guardian = Guardian()
    guardian.start(mark)
    yield guardian
    guardian.dismiss()


def die(guardian):
    """What the death of this process is to the guardian: its input ends without a farewell."""
    listener, guardian._listener = guardian._listener, None
    listener.close()


def test_the_death_of_its_owner_ends_what_is_watched(guardian, spawn):
    watched, forgotten, other, late = spawn(), spawn("exit 0"), spawn(), spawn()
    for group in (watched, forgotten, late):
        guardian.watch(group)
    os.waitpid(forgotten, 0)
    guardian.forget_empty()
    assert guardian.groups == {watched, late}
    die(guardian)
    for group in (watched, late):
        until(lambda group=group: not is_alive(group), "the end of a watched group")
    assert is_alive(other)
    assert guardian.warnings == []


def test_it_finds_what_carries_the_mark(guardian, spawn):
    marked, other = spawn(marked=True), spawn()
    die(guardian)
    until(lambda: not is_alive(marked), "the end of the marked process")
    assert is_alive(other)


def test_it_leaves_alone_what_a_later_owner_of_the_run_has_started(spawn, mark):
    guardian = Guardian()
    guardian.start(f"{mark}\0OWNER=1")
    earlier, later = spawn(marked=True, OWNER="1"), spawn(marked=True, OWNER="2")
    die(guardian)
    until(lambda: not is_alive(earlier), "the end of what the dead owner has started")
    assert is_alive(later)


@pytest.mark.parametrize(("named", "found"), [("run", True), ("copy", False), ("moved", True), (None, True)])
def test_the_copy_of_a_run_is_another_run(spawn, tmp_path, mark, named, found):
    run = tmp_path / "run"
    for folder in (run, tmp_path / "copy"):
        folder.mkdir()
    named_folder = {"CODEX_ORCHESTRATOR_RUN_DIR": str(tmp_path / named)} if named else {}
    pid = spawn(marked=True, **named_folder)
    until(lambda: find_left(mark), "the process")
    assert [process.pid for process in find_left(mark, folder=run)] == ([pid] if found else [])


@pytest.mark.parametrize("group", [-5, -1, 0, 1])
def test_a_number_that_is_no_group_of_ours_stands_for_none(group, mark):
    assert not has_members(group)
    assert find_left(mark, {group, os.getpgrp()}) == []
    with pytest.raises(ValueError, match="no process group"):
        Guardian().watch(group)


def test_dismissed_it_ends_nothing(guardian, spawn):
    watched, marked = spawn(), spawn(marked=True)
    guardian.watch(watched)
    process = guardian._listener._popen
    guardian.dismiss()
    # It is gone when this returns, and nobody is left to end them.
    assert process.returncode == 0
    assert is_alive(watched)
    assert is_alive(marked)
    assert guardian.warnings == []


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, "Broken pipe"), (signal.SIGSTOP, "Resource temporarily unavailable")],
)
def test_one_that_does_not_listen_is_said_once_and_disturbs_nothing(guardian, number, said):
    process = guardian._listener._popen
    os.kill(process.pid, number)
    if number == signal.SIGKILL:
        until(lambda: not is_alive(process.pid), "the end of the guardian, before its pipe is full")
    for _ in range(20_000):
        guardian._tell("watch 1")
        if guardian.warnings:
            break
    guardian._tell("watch 1")
    guardian.dismiss()
    assert process.returncode == -signal.SIGKILL
    assert guardian.warnings == [
        f"No guardian: if this process is killed, what stages started may live on ({said})."
    ]


def test_one_that_cannot_be_started_is_said(monkeypatch, tmp_path, mark):
    monkeypatch.setattr(process_module, "_SHELL", str(tmp_path / "sh"))
    guardian = Guardian()
    guardian.start(mark)
    guardian.watch(os.getpgrp())
    guardian.forget_empty()
    guardian.dismiss()
    assert guardian.groups == {os.getpgrp()}
    assert [warning.partition("(")[2] for warning in guardian.warnings] == ["No such file or directory)."]


def test_members_are_told_by_group_and_session_whatever_they_are_called(spawn, tmp_path, mark):
    name = tmp_path / "a) Z 1 (b"
    name.symlink_to("/bin/sleep")
    odd = spawn(path=str(name), words=["odd", "600"])
    # The shell is followed by a child in a group of its own.
    session = spawn("set -m; sleep 600 & wait")
    until(lambda: len(find_left(mark, {session})) == 2, "the child")
    assert [process.pid for process in find_left(mark, {odd})] == [odd]
    assert find_left(mark, ()) == []
    kill_left(mark, {odd, session}, clock=SystemClock())
    assert find_left(mark, {odd, session}) == []


def test_what_starts_others_again_and_again_is_ended(spawn, mark):
    spawn("trap '' TERM; while :; do setsid sleep 600 & setsid sleep 600 & sleep 0.05; done", marked=True)
    until(lambda: len(find_left(mark)) > 4, "some processes")
    assert len(end_left(mark, clock=SystemClock())) > 4
    assert find_left(mark) == []


def test_the_grace_is_measured_however_long_it_takes_to_look(spawn, mark, monkeypatch, tmp_path):
    clock = FakeClock()
    looks = []

    def slow_look(*arguments) -> list[LeftProcess]:
        clock.advance(0.4)
        looks.append(clock.monotonic())
        return find_left(*arguments)

    monkeypatch.setattr(leftovers, "find_left", slow_look)
    pid = spawn("trap '' TERM; echo up > up; while :; do sleep 600; done", marked=True)
    until((tmp_path / "up").exists, "the process, deaf to SIGTERM")
    assert end_left(mark, clock=clock)
    until(lambda: not is_alive(pid), "its end")
    assert looks[-1] < 5


def test_zombies_are_nothing_to_wait_for(spawn, mark):
    group = spawn("exit 0", marked=True)
    until(lambda: not is_alive(group), "the end of the shell, which nobody waits for")
    assert has_members(group)
    assert find_left(mark, {group}) == []


@pytest.mark.parametrize("end", [end_left, kill_left])
def test_without_proc_groups_are_all_there_is_to_see(monkeypatch, spawn, mark, end):
    monkeypatch.setattr(leftovers, "_proc_entries", list)
    watched, ended, other = spawn(marked=True), spawn("exit 0"), spawn(marked=True)
    os.waitpid(ended, 0)
    assert [process.command for process in find_left(mark, {watched, ended})] == [f"process group {watched}"]
    reaper = threading.Thread(target=os.waitpid, args=(watched, 0))
    reaper.start()
    end(mark, {watched, ended}, clock=SystemClock())
    reaper.join()
    until(lambda: not has_members(watched), "the end of the group")
    assert is_alive(other)


def test_a_command_line_is_known_whole(spawn, mark):
    pid = spawn(words=["sh", "-c", f"sleep 600; : {'x' * 10_000}"], marked=True)
    [shell] = [process for process in find_left(mark) if process.pid == pid]
    assert shell.command == f"sh -c sleep 600; : {'x' * 10_000}"
    assert Path(f"/proc/{pid}").exists()


def test_of_what_was_ended_the_first_few_are_named():
    left = [LeftProcess(number, f"run\nno {number}") for number in range(1, 2_001)]
    assert named(left[:2], flattened) == "run no 1 (pid 1), run no 2 (pid 2)"
    told = named(left, flattened)
    assert told.startswith("run no 1 (pid 1), run no 2 (pid 2), ")
    assert told.endswith("run no 5 (pid 5) and 1995 more")


def test_a_command_line_is_looked_through_before_it_is_cut():
    secret = "Zk39fjKQ82lmXw71pQ5r"
    guard = PrivacyGuard(PrivacyPolicy("enforce", (), (secret,)))
    for place in range(60, 90):
        told = named([LeftProcess(7, f"{'x' * place}{secret} and\n::error::on")], guard.line)
        assert not any(secret[start : start + 4] in told for start in range(len(secret) - 3))
        assert "\n" not in told
        assert len(told) < 100


@pytest.mark.parametrize(
    ("numbers", "first", "requests"),
    [
        ((signal.SIGTERM, signal.SIGINT), "SIGTERM", 2),
        # Shell and kernel both tell of one hang-up.
        ((signal.SIGHUP, signal.SIGHUP), "SIGHUP", 1),
        ((signal.SIGTERM, signal.SIGHUP), "SIGTERM", 1),
        ((signal.SIGHUP, signal.SIGTERM), "SIGHUP", 2),
    ],
)
def test_who_asks_twice_is_impatient_unless_it_is_the_terminal(numbers, first, requests):
    cancellation = Cancellation()
    for number in numbers:
        cancellation.request(number)
    cancellation.close()
    assert (cancellation.by, cancellation.requests) == (first, requests)
