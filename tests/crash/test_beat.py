"""What happens to the owner, or to its disk, in a beat of the heartbeat's own thread (README.md)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.environment import clean_environment

from .evidence import found_runs, readable, settled
from .processes import PATIENCE_SECONDS, TASK, Call, attached, calls_in, why_not_traced

# The beat comes after five seconds, at which the main thread waits for the stage.
GATE = "echo up; : > up; read _ < gate || true"


@pytest.fixture(autouse=True)
def _only_in_the_whole_suite(points):
    if reason := why_not_traced(as_it_is=True):
        pytest.skip(reason)
    if not points.whole:
        pytest.skip("beats take their time: only with the whole fault suite, FAULTS=all")


class Beating:
    """A run whose stage waits until it is let go, with strace on the thread that beats."""

    def __init__(self, root: Path, process: subprocess.Popen) -> None:
        self._root = root
        self._process = process
        self.log = root.parent / "beat"

    def has_been_written(self, text: str) -> None:
        """Wait until strace has printed that."""
        patiently(lambda: self.log.exists() and text in self.log.read_text(encoding="utf-8"), text)

    def let_go(self) -> None:
        """End the stage."""
        (self._root / "gate").write_text("go\n", encoding="utf-8")

    def exit_code(self) -> int:
        return self._process.wait(PATIENCE_SECONDS)


def patiently(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


@contextmanager
def beating(root: Path, *options: str) -> Iterator[Beating]:
    """Start a run and watch its second thread until it ends."""
    os.mkfifo(root / "gate")
    process = subprocess.Popen(
        # Quiet: what shows progress has a thread of its own.
        [sys.executable, "-m", "codex_orchestrator", "start", "work", "-q"],
        cwd=root,
        env={**clean_environment(), "MCP_RUNNER_TASK_ID": TASK},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        patiently((root / "up").exists, "the stage")
        threads = {int(path.name) for path in Path(f"/proc/{process.pid}/task").iterdir()}
        [thread] = threads - {process.pid}
        run = Beating(root, process)
        with attached(thread, "-o", str(run.log), *options):
            yield run
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def calls(pool, projects) -> list[Call]:
    """The calls of a beat that has a manifest to write too."""
    root = projects.make("beat", stages=[GATE])
    with beating(root) as run:
        run.has_been_written("manifest.json")
        run.let_go()
        assert run.exit_code() == 0
    calls = list(calls_in(run.log.read_text(encoding="utf-8"), root))
    assert {call.name for call in calls} >= {"openat", "write", "fsync", "renameat"}
    return calls


@pytest.mark.timeout(600)
def test_an_owner_that_is_killed_in_a_beat(calls, pool, projects, points):
    def killed(call: Call) -> list[str]:
        root = projects.make(f"beat-{call.name}-{call.place}", stages=[GATE])
        inject = f"inject={call.name}:signal=KILL:when={call.number}"
        with beating(root, "-e", f"trace={call.name}", "-e", inject) as run:
            code = run.exit_code()
        problems = [] if code == -signal.SIGKILL else [f"exit code {code}"]
        problems += readable(root)
        # With the stages of the suite, as nobody lets go of this one's.
        later = projects.make(f"after-{call.name}-{call.place}", like=root)
        after = pool.start(later)
        return problems + (settled(later) if after.exit_code == 0 else [after.stderr])

    points.tried(calls, killed)


@pytest.mark.timeout(600)
def test_a_disk_that_refuses_a_beat(calls, projects, points):
    def refused(call: Call) -> list[str]:
        root = projects.make(f"refused-{call.name}-{call.place}", stages=[GATE])
        inject = f"inject={call.name}:error=ENOSPC:when={call.number}"
        with beating(root, "-e", f"trace={call.name}", "-e", inject) as run:
            run.has_been_written("(INJECTED)")
            run.let_go()
            code = run.exit_code()
        problems = [f"exit code {code}"] if code else settled(root)
        [found] = found_runs(root)
        if "1 heartbeat writes failed." not in found.manifest["summary"]:
            problems.append(f"the summary says nothing of it: {found.manifest['summary']}")
        return problems

    points.tried([call for call in calls if call.name in ("openat", "write", "fsync", "renameat")], refused)
