"""What happens to the owner, or to its disk, in the thread that beats and writes manifests (README.md)."""

from __future__ import annotations

import json
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

# The first one goes on when strace is there, so that its end is written under strace. The beat comes after
# five seconds, at which the main thread waits for the second one.
STAGES = ["read _ < traced || true", "read _ < gate || true"]


@pytest.fixture(autouse=True, scope="module")
def _only_in_the_whole_suite(points):
    if reason := why_not_traced(as_it_is=True):
        pytest.skip(reason)
    if not points.whole:
        pytest.skip("beats take their time: only with the whole fault suite, FAULTS=all")


class Beating:
    """A run whose last stage waits until it is let go, with strace on the thread that beats."""

    def __init__(self, root: Path, process: subprocess.Popen) -> None:
        self._root = root
        self._process = process
        self.log = root.parent / "beat"

    def has_been_written(self, text: str) -> None:
        """Wait until strace has printed that."""
        patiently(lambda: self.log.exists() and text in self.log.read_text(encoding="utf-8"), text)

    def let_go(self) -> None:
        """End the last stage."""
        (self._root / "gate").write_text("go\n", encoding="utf-8")

    def exit_code(self) -> int:
        return self._process.wait(PATIENCE_SECONDS)


def patiently(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


def is_written(root: Path, status: str) -> bool:
    """Whether a manifest on disk has a stage of that status."""
    return any(f'"status": "{status}"' in _entries(path) for path in root.glob(".runs/*/cli/*/manifest.json"))


def _entries(manifest: Path) -> str:
    return json.dumps(json.loads(manifest.read_bytes())["commands"])


@contextmanager
def beating(root: Path, *options: str) -> Iterator[Beating]:
    """Start a run and watch its second thread from the end of the first stage until it ends."""
    os.mkfifo(root / "traced")
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
        patiently(lambda: is_written(root, "running"), "the stage")
        threads = {int(path.name) for path in Path(f"/proc/{process.pid}/task").iterdir()}
        [thread] = threads - {process.pid}
        run = Beating(root, process)
        with attached(thread, "-o", str(run.log), *options):
            (root / "traced").write_text("go\n", encoding="utf-8")
            yield run
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def calls(pool, projects) -> list[Call]:
    """The calls that write a manifest, and those of a beat."""
    root = projects.make("beat", stages=STAGES)
    with beating(root) as run:
        run.has_been_written("manifest.json")
        run.has_been_written(".heartbeat")
        run.let_go()
        assert run.exit_code() == 0
    calls = list(calls_in(run.log.read_text(encoding="utf-8"), root))
    assert {call.name for call in calls} >= {"openat", "write", "fsync", "renameat"}
    return calls


@pytest.mark.timeout(600)
def test_an_owner_that_is_killed_in_a_beat(calls, pool, projects, points):
    def killed(call: Call) -> list[str]:
        root = projects.make(f"beat-{call.name}-{call.place}", stages=STAGES)
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
        root = projects.make(f"refused-{call.name}-{call.place}", stages=STAGES)
        inject = f"inject={call.name}:error=ENOSPC:when={call.number}"
        with beating(root, "-e", f"trace={call.name}", "-e", inject) as run:
            run.has_been_written("(INJECTED)")
            run.let_go()
            code = run.exit_code()
        problems = [f"exit code {code}"] if code else settled(root)
        [found] = found_runs(root)
        summary = found.manifest["summary"]
        if "1 heartbeat writes failed." not in summary and "Written at a later attempt" not in summary:
            problems.append(f"the summary says nothing of it: {summary}")
        return problems

    points.tried([call for call in calls if call.name in ("openat", "write", "fsync", "renameat")], refused)
