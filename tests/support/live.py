"""Runs that go on while the test looks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from codex_orchestrator.api import load_manifest

from . import commands
from .processes import DEADLINE_SECONDS, is_alive, processes_in, until


class LiveRun:
    """A run in a process that goes on while the test looks."""

    def __init__(self, project, begin: Callable, folder: Path | None = None) -> None:
        self.project = project
        before = set(project.runs())
        self.process = begin(
            cwd=project.root, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.folder: Path = folder or until(
            lambda: next(iter(set(project.runs()) - before), None), "the run's folder"
        )
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
        """Wait until a stage's output is in the log, and what happened before it in the manifest."""
        until(lambda: any(text in line for line in self.log().splitlines() if '"exec:chunk"' in line), text)
        until(self._is_caught_up, "the manifest, which follows the log")

    def _is_caught_up(self) -> bool:
        known = load_manifest(self.folder).commands
        return [entry["status"] for entry in self.manifest["commands"]] == [entry.status for entry in known]

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

    def start(self, *words: str, under: Sequence[str] = (), **streams) -> LiveRun:
        """``codex-orchestrator start``, run by the command ``under`` where one is given."""
        if not under:
            return self._run("codex_orchestrator", "start", *words)
        command = [*under, sys.executable, "-m", "codex_orchestrator", "start", *words]

        def begin(**given) -> subprocess.Popen[str]:
            return subprocess.Popen(command, text=True, **{**given, **streams})

        return self._kept(LiveRun(self._project, begin))

    def resume(self, folder: Path) -> LiveRun:
        """``codex-orchestrator resume``."""
        return self._run("codex_orchestrator", "resume", "--run", folder.name, folder=folder)

    def pytest(self, pipeline: str) -> LiveRun:
        """``pytest --codex-pipeline``."""
        return self._run("pytest", "--codex-pipeline", pipeline)

    def _run(self, module: str, *words: str, folder: Path | None = None) -> LiveRun:
        return self._kept(LiveRun(self._project, partial(commands.begin, module, words), folder))

    def _kept(self, run: LiveRun) -> LiveRun:
        self._runs.append(run)
        return run

    def end(self) -> None:
        """End whatever is left."""
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
            run.process.communicate(timeout=DEADLINE_SECONDS)
        for pid in processes_in(self._project.root):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
