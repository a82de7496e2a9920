"""What does not grow: memory with a stage's output, and a run's work with the number of runs before it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from tests.bench.history import make_history
from tests.bench.processes import run_measured
from tests.crash.evidence import settled
from tests.crash.processes import TASK, why_not_traced
from tests.support.at_once import JOBS, WORKERS, command, run
from tests.support.environment import needs_xdist
from tests.support.projects import Project, named

MIB = 2**20
START = (sys.executable, "-m", "codex_orchestrator", "start")
_CALL = re.compile(r"^\w+\(\d+<([^>]*)>.* = (\d+)", re.MULTILINE)


def peak_memory(project: Project, pipeline: str) -> int:
    command = (*START, pipeline)
    return run_measured(command, project.environment, project.root, project.root.parent).peak_memory_bytes


def test_output_is_logged_whole_and_kept_nowhere_else(project):
    line, count = "x" * 99, 1_000_000
    stages = {"quiet": "true", "loud": f"yes {line} | head -n {count}"}
    pipelines = [{"id": name, "title": name, "stages": named([text])} for name, text in stages.items()]
    project.write({"pipelines": pipelines})
    quiet = peak_memory(project, "quiet")
    assert peak_memory(project, "loud") - quiet < 16 * MIB
    newest = project.runs()[-1]
    log = (newest / "commands" / "01-s1.ndjson").read_bytes()
    chunks = [event for event in map(json.loads, log.splitlines()) if event["type"] == "exec:chunk"]
    assert "".join(chunk["data"] for chunk in chunks) == f"{line}\n" * count
    assert max(chunk["bytes"] for chunk in chunks) <= 65_536
    assert log in (newest / "runner.ndjson").read_bytes()


@pytest.mark.parametrize("way", ["", JOBS, pytest.param(WORKERS, marks=needs_xdist)])
def test_a_limit_bounds_the_logs_and_is_told_of_exactly(project, way):
    limit, printed = 100_000, 3 * MIB
    flood = f"head -c {printed} /dev/zero | tr '\\0' x; echo the end; exit 3"
    stages = [command("flood", flood), command("quiet", "echo quiet")]
    pipeline = {"id": "work", "title": "Work", "stages": named(stages)}
    project.write({"limits": {"logBytes": limit}, "pipelines": [pipeline]})
    done = run(project, way)
    (folder,) = project.runs()
    log = (folder / "runner.ndjson").read_bytes()
    events = [event for event in map(json.loads, log.splitlines()) if event.get("index") == 1]
    logged = sum(event["bytes"] for event in events if event["type"] == "exec:chunk")
    (statement,) = [event for event in events if event["type"] == "output:left-out"]
    missing = printed + len("the end\n") - logged
    assert 0 < logged <= limit
    assert statement["left_out_bytes"] == missing
    assert (
        json.dumps(statement, separators=(",", ":")).encode()
        in next(folder.glob("commands/01-*")).read_bytes()
    )
    summary = project.manifest()["summary"]
    told = f"Logs incomplete by limits.logBytes ({limit}): left out {missing} bytes of stage 'flood'."
    assert told in summary.splitlines()
    if way != WORKERS:  # pytest's own ending names the run and no more.
        assert told in done.stdout
    error = json.loads((folder / "errors" / "01-flood.json").read_text())
    assert "the end" in error["details"]["stdout"]
    assert project.cli("validate", str(folder)).returncode == 0
    shown = project.cli("logs", "--stage", "flood")
    assert shown.stdout == "x" * logged
    assert shown.stderr == f"Stage 'flood' printed {missing} bytes more (limits.logBytes is {limit}).\n"


@pytest.mark.parametrize("way", [JOBS, pytest.param(WORKERS, marks=needs_xdist)])
def test_what_stages_print_at_once_is_complete_and_in_order(project, way):
    count = 100_000
    names = ("a", "b", "c")
    project.pipeline(*(command(name, f"seq -f '{name} %.0f' {count}") for name in names))
    done = run(project, way)
    assert done.returncode == 0, done.stdout
    (folder,) = project.runs()
    printed: dict[int, list[str]] = {}
    for event in map(json.loads, (folder / "runner.ndjson").read_bytes().splitlines()):
        if event["type"] == "exec:chunk":
            printed.setdefault(event["index"], []).append(event["data"])
    for index, name in enumerate(names, start=1):
        lines = "".join(f"{name} {number}\n" for number in range(1, count + 1))
        # No assert on the texts: to tell how they differ would take for ever.
        same = "".join(printed[index]) == lines
        assert same
        log = (folder / "commands" / f"{index:02d}-{name}.ndjson").read_bytes()
        chunks = [event for event in map(json.loads, log.splitlines()) if event["type"] == "exec:chunk"]
        assert [chunk["data"] for chunk in chunks] == printed[index]
        assert [chunk["sequence"] for chunk in chunks] == list(range(1, len(chunks) + 1))


@pytest.fixture
def past(project) -> Project:
    """A project with one run."""
    project.environment["MCP_RUNNER_TASK_ID"] = TASK
    project.pipeline("true")
    assert project.start("work").exit_code == 0
    return project


def grown(project: Project, name: str, count: int) -> Project:
    """A copy of a project, with ``count`` runs in place of its only one."""
    root = project.root.parent / name / "project"
    shutil.copytree(project.root, root)
    (run,) = project.runs(TASK)
    make_history(root, TASK, run.name, count)
    made = Project(root)
    made.environment = project.environment
    assert made.start("work").exit_code == 0
    return made


def test_a_history_that_is_made_is_as_good_as_one_that_happened(past):
    root = grown(past, "many", 30).root
    task = root / ".runs" / TASK
    assert len(list((task / "cli").iterdir())) == 31
    assert settled(root) == []


def bytes_moved(project: Project) -> int:
    """How much the next run reads and writes in the runs and out folders, lists of names among it."""
    logs = project.root.parent / "calls"
    logs.mkdir()
    calls = "trace=read,pread64,readv,getdents64,write,pwrite64,writev"
    # A log for each thread: in one for all, a call that another interrupts is on two lines.
    strace = ["strace", "-ff", "-y", "-s", "0", "-o", str(logs / "log"), "-e", calls]
    done = subprocess.run(
        [*strace, *START, "work"], cwd=project.root, env=project.environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    places = tuple(f"{project.root}/{name}" for name in (".runs", "out"))
    found = [call for log in logs.iterdir() for call in _CALL.findall(log.read_text(encoding="utf-8"))]
    return sum(int(result) for path, result in found if path.startswith(places))


@pytest.mark.skipif(why_not_traced() is not None, reason=str(why_not_traced()))
def test_a_run_reads_and_writes_as_much_whatever_the_number_of_runs_before_it(past):
    # From twenty runs on, the snapshot of the latest is as long as it gets.
    few, many = (bytes_moved(grown(past, str(count), count)) for count in (30, 330))
    assert few > 10_000
    # The bare names of three hundred more runs are 19 KB, and a heartbeat more may cost a manifest.
    assert many - few < 8_000
