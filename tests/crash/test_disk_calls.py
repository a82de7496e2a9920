"""The n-th call of the storage layer fails, for every n, in a whole run without processes (README.md)."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from codex_orchestrator.clock import SystemClock, timestamp
from codex_orchestrator.engine.manager import TaskManager
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.model.exec_events import CommandEnd, CommandStart, ExecChunk
from codex_orchestrator.rules.stage import StageOutcome
from tests.support.builders import opened_manager, pipeline_of

from .evidence import gaps, readable, settled, truthful
from .processes import TASK, Done

CALLS = ("open", "write", "fsync", "rename", "unlink", "mkdir", "ftruncate")
# What a full disk refuses; it still renames, removes and truncates.
NEED_ROOM = ("open", "write", "fsync", "mkdir")
STAGES = {"passes": 0, "fails": 3}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
MOST_CALLS = 400


class Disk:
    """The calls of one process on files below a folder, one of which is the n-th.

    Attributes:
        calls: The names of those that were made.
    """

    def __init__(self, folder: Path, fault: Callable[[Disk, Callable, tuple], object]) -> None:
        self._folder = str(folder)
        self._fault = fault
        self._descriptors: set[int] = set()
        self._folders: set[int] = set()
        self.calls: list[str] = []

    def install(self) -> None:
        """Come between this process and its disk, for good; nobody waits, as nobody cuts the power."""
        os.fsync = lambda _descriptor: None
        SystemClock.sleep = lambda _clock, _seconds: None
        for name in CALLS:
            setattr(os, name, partial(self._call, name, getattr(os, name)))

    def _call(self, name: str, real: Callable, *arguments, **keywords):
        target = arguments[0]
        within = keywords.get("dir_fd", keywords.get("src_dir_fd"))
        if within is not None:
            below = within in self._folders
        elif isinstance(target, int):
            below = target in self._descriptors | self._folders
        else:
            below = str(target).startswith(self._folder)
        if not below or (name == "open" and not arguments[1] & WRITING):
            # Whoever only reads, or opens a folder on the way, is not refused for want of room.
            answer = real(*arguments, **keywords)
            if name == "open" and below:
                self._folders.add(answer)
            return answer
        self.calls.append(name)
        answer = self._fault(self, real, arguments)
        if answer is None:
            answer = real(*arguments, **keywords)
        if name == "open":
            self._folders.discard(answer)
            self._descriptors.add(answer)
        return answer


def once(at: int, disk: Disk, _real, _arguments) -> None:
    """One call fails."""
    if len(disk.calls) == at:
        raise FULL


def from_then_on(at: int, disk: Disk, _real, _arguments) -> None:
    """That call fails and all after it."""
    if len(disk.calls) >= at:
        raise FULL


def half_full(at: int, disk: Disk, real, arguments) -> int | None:
    """The disk has room for half of what is written, and none after that."""
    if len(disk.calls) < at or disk.calls[-1] not in NEED_ROOM:
        return None
    if len(disk.calls) == at and disk.calls[-1] == "write" and len(arguments[1]) > 1:
        return real(arguments[0], arguments[1][: len(arguments[1]) // 2])
    raise FULL


def killed(at: int, disk: Disk, _real, _arguments) -> None:
    """The process dies before that call."""
    if len(disk.calls) == at:
        os.kill(os.getpid(), signal.SIGKILL)


FAULTS = (once, from_then_on, half_full, killed)


def short(disk: Disk, real, arguments) -> int | None:
    """Every write takes a few bytes only."""
    return real(arguments[0], arguments[1][:100]) if disk.calls[-1] == "write" else None


def well(_disk: Disk, _real, _arguments) -> None:
    """Nothing happens."""


def run(root: Path) -> None:
    """Two stages, the second of which fails and may."""
    stages = [
        CommandStage(kind="command", id=name, title=name, command=name, allow_failure=bool(code))
        for name, code in STAGES.items()
    ]
    pipeline = pipeline_of(*stages)
    manager = opened_manager(
        Environment(root, root / ".runs", root / "out", root, {}), pipeline, clock=SystemClock(), task_id=TASK
    )
    try:
        for index, (name, code) in enumerate(STAGES.items(), start=1):
            stage(manager, index, name, code)
    finally:
        manager.close()


def stage(manager: TaskManager, index: int, name: str, code: int) -> None:
    """What execution tells of a command."""
    now = timestamp(SystemClock().now())
    manager.record(CommandStart(command=name, timestamp=now, index=index))
    chunk = {"stream": "stdout", "sequence": 1, "bytes": 4, "data": "said"}
    manager.record(ExecChunk(correlation_id=f"c{index}", attempt=1, timestamp=now, index=index, **chunk))
    manager.record(CommandEnd(exit_code=code, signal=None, duration_ms=1, timestamp=now, index=index))
    status = "failed" if code else "succeeded"
    manager.complete(name, StageOutcome(status=status, exit_code=code, correlation_id=f"c{index}"))


def forked(root: Path, fault) -> tuple[Done, int]:
    """A run in a process of its own, as one that ended is no owner; and how many calls it made."""
    report = root.parent / "report"
    report.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        disk = Disk(root, fault)
        disk.install()
        code, said = 1, ""
        try:
            run(root)
            code = 0
        except OrchestratorError as error:
            said = f"error: {error}"
        except BaseException:  # noqa: BLE001 (a fork must never go on with the tests)
            said = traceback.format_exc()
        report.write_text(f"{len(disk.calls)}\n{said}", encoding="utf-8")
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    calls, _, said = report.read_text(encoding="utf-8").partition("\n") if report.exists() else ("0", "", "")
    return Done(code, "", said), int(calls)


@pytest.fixture
def make(tmp_path):
    """Make projects: folders that are there and empty."""
    numbers = itertools.count()

    def made() -> Path:
        root = tmp_path / str(next(numbers)) / "project"
        root.mkdir(parents=True)
        return root

    return made


@pytest.fixture
def clean(make) -> tuple[Path, int]:
    """A run that nothing happened to, and its number of calls."""
    root = make()
    done, calls = forked(root, well)
    assert done.exit_code == 0, done.stderr
    assert settled(root) == []
    return root, calls


def test_writes_that_take_a_part_are_gone_on_with(make, clean):
    root = make()
    done, calls = forked(root, short)
    assert calls > clean[1]
    assert truthful(root, clean[0], done) == settled(root) == []
    assert gaps(root, clean[0]) == {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_whichever_call_fails_the_evidence_holds_and_the_next_run_goes_on(fault, make, clean, points):
    wrong = {}
    # In a sample half of the calls are left to one of the faults each.
    first, step = (1, 1) if points.whole else (FAULTS.index(fault) + 1, 2 * len(FAULTS))
    # Until the call's number is more than there are, retries among them, so that nothing happened.
    for at in range(first, MOST_CALLS, step):
        root = make()
        done, calls = forked(root, partial(fault, at))
        problems = readable(root) if fault is killed else truthful(root, clean[0], done)
        if fault is from_then_on:
            # Such a disk does not even let go of temporary files; the next run removes them.
            problems = [problem for problem in problems if not problem.startswith("left over: ")]
        later, _ = forked(root, well)
        problems += settled(root) if later.exit_code == 0 else [later.stderr]
        if problems:
            wrong[at] = problems
        if done.exit_code == 0 and calls < at:
            break
    assert at > clean[1] > 80, "every call had its turn"
    assert not wrong, f"{len(wrong)} of {at} calls, the first: {list(wrong.items())[:5]}"
