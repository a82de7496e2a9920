"""Sessions in this process, and runs that are watched, signalled or killed while they live."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import pytest_codex.takeover  # noqa: F401 (once here, or every inner session would load it anew)

DEADLINE_SECONDS = 60.0


def until(condition: Callable[[], object], what: str) -> object:
    """The condition's first true answer; what it waits for takes as long as the machine needs."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.01)
    pytest.fail(f"waited in vain: {what}")


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class LiveRun:
    """``codex-orchestrator start`` in a process that goes on while the test looks."""

    def __init__(self, project, words) -> None:
        self.project = project
        before = set(project.runs())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "codex_orchestrator", "start", *words],
            cwd=project.root,
            env=project.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.folder: Path = until(lambda: next(iter(set(project.runs()) - before), None), "the run's folder")
        self.run_id = self.folder.name

    @property
    def manifest(self) -> dict:
        return json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))

    def log(self) -> str:
        """What is in the event log so far."""
        try:
            return (self.folder / "runner.ndjson").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def has_printed(self, text: str) -> None:
        """Wait until a stage's output is in the log."""
        until(lambda: any(text in line for line in self.log().splitlines() if '"exec:chunk"' in line), text)

    def stage_pid(self, name: str = "pid") -> int:
        """The pid that a stage left in a file."""

        def written() -> str:
            path = self.project.root / name
            return path.read_text() if path.exists() else ""

        text = until(lambda: written() if written().endswith("\n") else "", f"the file {name}")
        return int(text)

    def open_gate(self) -> None:
        """Let the stage that waits at the gate go on."""
        (self.project.root / "gate").write_text("through\n")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def finish(self) -> tuple[int, str, str]:
        """Wait for the end: exit code, stdout, stderr."""
        out, err = self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode, out, err


class Live:
    """Starts runs that go on, and what tests need to wait for them."""

    # A stage that says it is up, leaves its pid, and waits until somebody opens the gate.
    GATE = "echo up; echo $$ > pid; exec cat gate"
    until = staticmethod(until)
    is_alive = staticmethod(is_alive)

    def __init__(self, project) -> None:
        self._project = project
        self._runs: list[LiveRun] = []
        os.mkfifo(project.root / "gate")

    def start(self, *words: str) -> LiveRun:
        run = LiveRun(self._project, words)
        self._runs.append(run)
        return run

    def end(self) -> None:
        """End whatever is left."""
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
            run.process.communicate(timeout=DEADLINE_SECONDS)
        for path in self._project.root.glob("pid*"):
            with suppress(ValueError, OSError):
                pid = int(path.read_text())
                # The pid may have been given to someone else meanwhile: ours name the project.
                if str(self._project.root).encode() in Path(f"/proc/{pid}/environ").read_bytes():
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def live(project):
    """Runs that go on while the test looks."""
    live = Live(project)
    yield live
    live.end()


@pytest.fixture
def run(project, pytester, monkeypatch):
    """Run pytest in this process, in the project, with our plugin and those given."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "task-1")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def runner(*words, pipeline="work", plugins=()):
        return pytester.runpytest_inprocess(
            "-p", "pytest_codex.plugin", "--codex-pipeline", pipeline, *words, plugins=plugins
        )

    return runner
