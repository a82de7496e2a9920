"""What tests of stages at once share: sessions with workers, cheap to start, and stages that wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from . import commands
from .processes import DEADLINE_SECONDS, parent_of, until
from .projects import Project

# Other plugins that are installed would be loaded by every worker too.
_ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_PYTEST = ("-m", "pytest", "-p", "xdist", "-p", "codex")

# Each way to run up to three stages at once.
JOBS, CODEX_JOBS, WORKERS = "--jobs 3", "--codex-jobs 3", "-n 3"


def command(name: str, line: str = "true", **keys) -> dict:
    """A stage that waits for none, unless it is said."""
    return {"id": name, "command": line, "needs": [], **keys}


def words(way: str, pipelines: Sequence[str] = ("work",), *more: str) -> list[str]:
    """The command line of a way to run pipelines."""
    if way.startswith("--jobs") or not way:
        return [sys.executable, "-m", "codex_orchestrator", "start", *pipelines, *way.split(), *more]
    asked = [word for pipeline in pipelines for word in ("--codex-pipeline", pipeline)]
    return [sys.executable, *_PYTEST, *asked, *way.split(), *more]


def environment(project: Project, **more: str) -> dict[str, str]:
    """A project's environment for `words`; what a session leaves for temporary files is the test's own."""
    return {**project.environment, **_ALONE, "PYTEST_DEBUG_TEMPROOT": str(project.root.parent), **more}


def run(project: Project, way: str, *more: str, pipelines: Sequence[str] = ("work",), **variables: str):
    """Run a project's pipelines to their end; the output is in one piece, as a terminal has it."""
    _, _, module, *given = words(way, pipelines, *more)
    return commands.run(module, given, cwd=project.root, env=environment(project, **variables), together=True)


class Session:
    """A session that goes on while the test looks."""

    def __init__(self, project: Project, way: str, *more: str, pipelines: Sequence[str] = ("work",)) -> None:
        self.project = project
        self._output = (project.root.parent / "output").open("w+")
        _, _, module, *given = words(way, pipelines, *more)
        self.process = commands.begin(
            module,
            given,
            cwd=project.root,
            env=environment(project),
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # As a shell gives it, so that a terminal's signals reach workers as well.
            leads="group",
        )

    def pid(self, name: str) -> int:
        """The process id that a stage left in a file, by `WAITS`."""
        path = self.project.root / f"{name}.pid"

        def written() -> str:
            assert self.process.poll() is None, self.finish()
            return path.read_text().strip() if path.exists() else ""

        return int(until(written, f"the stage {name}"))

    def worker_of(self, name: str) -> int:
        """The process id of the worker that runs a stage."""
        return parent_of(self.pid(name))

    def open_gate(self, name: str) -> None:
        """Let a stage of `WAITS` go on."""
        (self.project.root / f"{name}.go").touch()

    def finish(self) -> tuple[int, str]:
        """Wait for the end: exit code and output."""
        code = self.process.wait(DEADLINE_SECONDS)
        self._output.seek(0)
        return code, self._output.read()

    def end(self) -> None:
        """End it, with whatever is in its group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_SECONDS)
        self._output.close()


def waits(name: str, then: str = "true") -> str:
    """A command that leaves its process id, and waits until the test, or another stage, lets it go on."""
    return f"echo up; echo $$ > {name}.pid; until test -e {name}.go; do sleep 0.02; done; {then}"
