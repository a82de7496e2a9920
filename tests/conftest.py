"""What every test stands on: an environment without our own variables, and projects to run in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from codex_orchestrator.checks.base_candidates import CI_BASES
from codex_orchestrator.cli import main
from tests.repositories import Repo, git_variables

# A test run may itself be a stage of a run, or run in CI or under an agent.
_OURS = ("CODEX_", "MCP_RUNNER_", "PYTEST_")
_OTHERS = (
    *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "VIRTUAL_ENV", "BASE_SHA"),
    # With it, every process of a fresh clone would compile us anew: a third of all that tests take.
    "PYTHONDONTWRITEBYTECODE",
    # By these, nobody would be asked anything.
    *("AI_AGENT", "CLAUDECODE", "CURSOR_AGENT", "GEMINI_CLI", "CI", "GITHUB_ACTIONS"),
    # By these, CI systems name the branch that a change is for.
    *CI_BASES,
)

# Installed for these tests, and a third of the time that pytest takes to start.
WITHOUT_OTHERS = [
    word
    for name in ("hypothesispytest", "platformdirs", "randomly", "rerunfailures", "timeout")
    for word in ("-p", f"no:{name}")
]

# For tests that hand stages to workers; all others hold without it too.
needs_xdist = pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")


def clean_environment() -> dict[str, str]:
    """The process's environment without what steers us, pytest or the choice of a project's tools."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and name not in _OTHERS
    }


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in set(os.environ) - set(clean_environment()):
        if name not in ("PYTEST_CURRENT_TEST", "PYTEST_VERSION"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _interrupts_arrive():
    # A shell starts what runs in the background with SIGINT ignored, which processes inherit.
    # One that outlives its terminal (nohup) ignores SIGHUP, and so would they.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hang_up)


@pytest.fixture(autouse=True, scope="session")
def _temporary_folder_outside_of_projects(tmp_path_factory):
    # A test that defines nothing would find, and run, the project that its folder lies in.
    for folder in tmp_path_factory.getbasetemp().parents:
        if (folder / "codex.orchestrator.json").exists():
            pytest.exit(f"{folder} is a project: set TMPDIR to a folder outside of it", returncode=4)


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
        return subprocess.run(
            [sys.executable, "-m", "codex_orchestrator", *words],
            cwd=cwd or self.root,
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            **options,
        )

    def pytest(self, *words, environment=None, cwd=None) -> subprocess.CompletedProcess[str]:
        """Run ``pytest`` with these words, as a rule without plugins that only serve our tests."""
        return subprocess.run(
            [sys.executable, "-m", "pytest", *self.pytest_words, *words],
            cwd=cwd or self.root,
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
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


@pytest.fixture
def project(tmp_path) -> Project:
    """An empty project folder, with a ``.git`` so that nothing above it counts."""
    root = tmp_path / "project"
    (root / ".git").mkdir(parents=True)
    return Project(root)


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


def processes_in(folder: Path) -> list[int]:
    """The processes that work in a folder or below it, whatever else they are, but for the tests' own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        pid = int(path.parent.name)
        with suppress(OSError):
            if pid != os.getpid() and path.readlink().is_relative_to(folder) and is_alive(pid):
                found.append(pid)
    return found


class LiveRun:
    """A run in a process that goes on while the test looks."""

    def __init__(self, project, command, streams, folder: Path | None = None) -> None:
        self.project = project
        before = set(project.runs())
        piped = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(
            command, cwd=project.root, env=project.environment, text=True, **{**piped, **streams}
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

    def start(self, *words: str, under: Sequence[str] = (), **streams) -> LiveRun:
        """``codex-orchestrator start``, run by the command ``under`` where one is given."""
        return self._run([*under, sys.executable, "-m", "codex_orchestrator", "start", *words], streams)

    def resume(self, folder: Path) -> LiveRun:
        """``codex-orchestrator resume``."""
        words = ["resume", "--run", folder.name]
        return self._run([sys.executable, "-m", "codex_orchestrator", *words], {}, folder)

    def pytest(self, pipeline: str) -> LiveRun:
        """``pytest --codex-pipeline``."""
        return self._run([sys.executable, "-m", "pytest", "--codex-pipeline", pipeline], {})

    def _run(self, command, streams, folder: Path | None = None) -> LiveRun:
        run = LiveRun(self._project, command, streams, folder)
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


@pytest.fixture
def live(project):
    """Runs that go on while the test looks."""
    live = Live(project)
    yield live
    live.end()


@pytest.fixture
def plain(tmp_path) -> Repo:
    """A folder outside any repository."""
    root = tmp_path / "project"
    root.mkdir()
    return Repo(root, git_variables(tmp_path))


@pytest.fixture
def empty(plain) -> Repo:
    """A repository without a commit."""
    plain.git("init", "--quiet", "--initial-branch", "main")
    return plain


@pytest.fixture
def guard(plain, monkeypatch, capsys):
    """Run ``guard`` in that folder, in this process: exit code, stdout, stderr."""
    monkeypatch.chdir(plain.root)
    for name, value in plain.environ.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["guard", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
