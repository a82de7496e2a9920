"""Projects, and the runs that commands leave in them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import commands
from .environment import WITHOUT_OTHERS, clean_environment


class Project:
    """A folder with definitions, and the command line run in it as a process of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {**clean_environment(), "MCP_RUNNER_TASK_ID": "task-1"}
        self.pytest_words = WITHOUT_OTHERS

    def write(self, definitions) -> Path:
        """Write ``codex.orchestrator.json``: a string as it is, anything else as JSON."""
        text = definitions if isinstance(definitions, str) else json.dumps(definitions, indent=2)
        path = self.root / "codex.orchestrator.json"
        path.write_text(text, encoding="utf-8")
        return path

    def pipeline(self, *stages, name="work", **keys) -> None:
        """Define one pipeline; a stage is a command line, or a dict with what differs."""
        self.write({"pipelines": [{"id": name, "title": name.title(), "stages": named(stages), **keys}]})

    def pipelines(self, **stages: Sequence) -> None:
        """Define several pipelines by their ids, each with stages as `pipeline` takes them."""
        defined = [
            {"id": name, "title": name.title(), "stages": named(given)} for name, given in stages.items()
        ]
        self.write({"pipelines": defined})

    def cli(self, *words, environment=None, cwd=None, **options) -> subprocess.CompletedProcess[str]:
        """Run ``codex-orchestrator`` with these words."""
        return commands.run(
            "codex_orchestrator",
            words,
            cwd=cwd or self.root,
            env={**self.environment, **(environment or {})},
            **options,
        )

    def pytest(self, *words, environment=None, cwd=None, **options) -> subprocess.CompletedProcess[str]:
        """Run ``pytest`` with these words, as a rule without plugins that only serve our tests."""
        return commands.run(
            "pytest",
            [*self.pytest_words, *words],
            cwd=cwd or self.root,
            env={**self.environment, **(environment or {})},
            **options,
        )

    def start(self, *words, **keywords) -> Run:
        """``start --format json``, as the run it left."""
        done = self.cli("start", *words, "--format", "json", **keywords)
        return Run(self, done, json.loads(done.stdout))

    def resume(self, *words, run="latest", **keywords) -> Run:
        """``resume --format json``, as the run it left."""
        done = self.cli("resume", "--run", run, *words, "--format", "json", **keywords)
        return Run(self, done, json.loads(done.stdout))

    def runs(self, task="task-1") -> list[Path]:
        """The folders of a task's runs, oldest first."""
        return sorted((self.root / ".runs" / task / "cli").glob("*"))

    def manifest(self, task="task-1") -> dict:
        """The manifest of a task's newest run."""
        return json.loads((self.runs(task)[-1] / "manifest.json").read_text(encoding="utf-8"))


class Run:
    """A run that ``start`` left."""

    def __init__(self, project: Project, done, answer: dict) -> None:
        self.exit_code = done.returncode
        self.stderr = done.stderr
        self.answer = answer
        self.folder = project.root / answer["artifact_root"]

    @property
    def manifest(self) -> dict:
        """Its manifest as it is on disk."""
        return json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))

    def entry(self, stage_id: str) -> dict:
        """A stage's entry."""
        return next(entry for entry in self.manifest["commands"] if entry["id"] == stage_id)

    def events(self, name="runner.ndjson") -> list[dict]:
        """The events of a log."""
        return [json.loads(line) for line in (self.folder / name).read_bytes().splitlines()]

    def error(self, stage_id: str) -> dict:
        """A stage's error file."""
        entry = self.entry(stage_id)
        return json.loads((self.folder.parents[3] / entry["error_file"]).read_text(encoding="utf-8"))


def named(stages) -> list[dict]:
    """Full stages: ids s1, s2, … and kind command where nothing else is said."""
    full = []
    for number, stage in enumerate(stages, start=1):
        given = {"command": stage} if isinstance(stage, str) else stage
        base = {"kind": "command", "id": f"s{number}"}
        merged = {**base, **given}
        merged.setdefault("title", merged["id"].upper())
        full.append(merged)
    return full


def command(name: str, line: str = "true", **keys) -> dict:
    """A stage that runs a command line; it waits for the one before it, unless it is said."""
    return {"id": name, "command": line, **keys}
