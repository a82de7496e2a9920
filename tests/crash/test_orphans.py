"""Whatever becomes of a run's process, none of its stages' processes outlives it.

docs/reference/event-logs.md, "Processes", says which those are.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.support.processes import is_alive, processes_in, until
from tests.support.projects import named

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/cwd").exists() or shutil.which("setsid") is None, reason="needs /proc and setsid"
)

GROUP_OF_ITS_OWN = (
    f"""{sys.executable} -c 'import os; os.setpgid(0, 0); os.execvp("sleep", ["sleep", "600"])'"""
)
DEAF = "(trap '' HUP INT TERM; exec {})"
CLEARED = "env -i sleep 600"

# Stages, and how many sleeping processes there are in the last one.
TREES = {
    "one process": (["exec sleep 600"], 1),
    "shells": (["sh -c '(sleep 600; :) & sleep 600; :' & sleep 600; :"], 3),
    "a session of its own": (["setsid sleep 600 & exec sleep 600"], 2),
    "a session of its own, without its parent": (["(setsid sleep 600 &); exec sleep 600"], 2),
    "deaf": ([f"{DEAF.format('sleep 600')} & {DEAF.format('setsid sleep 600')} & exec sleep 600"], 3),
    "no environment": ([f"{CLEARED} & exec sleep 600"], 2),
    "no environment, a group of its own": ([f"env -i {GROUP_OF_ITS_OWN} & exec sleep 600"], 2),
    "left by a stage before": ([f"setsid sleep 600 & {CLEARED} &", "true", "exec sleep 600"], 3),
    "without output": (["exec 1>&- 2>&-; setsid sleep 600 & exec sleep 600"], 2),
}
MIXED = [f"setsid sleep 600 & {DEAF.format(CLEARED)} & exec sleep 600"]


def sleepers(folder: Path) -> list[int]:
    """The processes in a folder that have come to their sleep."""
    return [pid for pid in processes_in(folder) if words_of(pid)[:1] == [b"sleep"]]


def words_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def guardians(run_id: str) -> list[int]:
    """Processes that name a run in their arguments, which only those do that guard it."""
    entries = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [
        pid for pid in entries if any(run_id.encode() in word for word in words_of(pid)) and is_alive(pid)
    ]


def guardian(run) -> int:
    """The run's guardian, once it is there."""
    return until(lambda: guardians(run.run_id), "the guardian")[0]


def kill(run, *signals: int) -> None:
    """End the run's process, and wait for what must follow."""
    for number in (*signals, signal.SIGKILL):
        run.signal(number)
    run.finish()
    root = run.project.root
    until(lambda: not processes_in(root), f"the end of all processes in {root}")
    until(lambda: not guardians(run.run_id), "the guardian's end")


@pytest.mark.parametrize(("stages", "count"), TREES.values(), ids=TREES)
def test_no_process_of_a_stage_outlives_a_killed_run(project, live, stages, count):
    project.pipeline(*stages)
    run = live.start("work")
    until(lambda: len(sleepers(project.root)) == count, f"{count} sleeping processes")
    assert guardian(run) not in processes_in(project.root)
    kill(run)
    assert json.loads(project.cli("status", "--format", "json").stdout)["liveness"] == "dead"


def test_nor_a_killed_pytest_session(project, live):
    project.pipeline(*MIXED)
    run = live.pytest("work")
    until(lambda: len(sleepers(project.root)) == 3, "three sleeping processes")
    kill(run)


def test_nor_one_that_was_stopped(project, live):
    project.pipeline(*MIXED)
    run = live.start("work")
    until(lambda: len(sleepers(project.root)) == 3, "three sleeping processes")
    kill(run, signal.SIGSTOP)


def test_nor_one_that_was_only_just_opened(project, live):
    project.pipeline("setsid sleep 600 & exec sleep 600")
    # The folder is there, and little else.
    kill(live.start("work"))


def test_runs_inside_of_a_killed_run_end_with_it(project, live):
    start = f"exec {sys.executable} -m codex_orchestrator start inner"
    pipelines = {"work": [f"setsid sh -c '{start}'"], "inner": MIXED}
    project.write(
        {"pipelines": [{"id": name, "title": name, "stages": named(of)} for name, of in pipelines.items()]}
    )
    run = live.start("work")
    until(lambda: len(sleepers(project.root)) == 3, "three sleeping processes of the inner run")
    [inner] = [folder.name for folder in project.runs() if folder != run.folder]
    assert guardians(inner)
    kill(run)
    until(lambda: not guardians(inner), "the inner guardian's end")


@pytest.mark.parametrize("way", ["start", "pytest"])
@pytest.mark.parametrize("last", ["true", "exit 3", "setsid sleep 600 &"])
def test_a_guardian_ends_with_its_run(project, live, way, last):
    project.pipeline(live.GATE, last)
    run = getattr(live, way)("work")
    run.stage_pid()
    assert guardian(run)
    run.open_gate()
    run.finish()
    assert guardians(run.run_id) == []
    assert "No guardian" not in run.manifest["summary"]


def test_a_guardian_has_nothing_of_its_run_but_the_pipe(project, live):
    project.pipeline(live.GATE)
    run = live.start("work")
    run.stage_pid()
    process = Path("/proc", str(guardian(run)))
    assert (process / "environ").read_bytes() == b""
    assert (process / "cwd").readlink() == Path("/")
    files = {int(path.name): str(path.readlink()) for path in (process / "fd").iterdir()}
    assert {files[1], files[2]} == {"/dev/null"}
    held = [text for number, text in files.items() if number > 2]
    assert not any(str(project.root) in text or text.startswith(("pipe", "socket")) for text in held)
    run.open_gate()
    assert run.finish()[0] == 0


def test_a_run_goes_on_without_its_guardian_and_says_so(project, live):
    project.pipeline(live.GATE, "true", "true")
    run = live.start("work")
    run.stage_pid()
    os.kill(guardian(run), signal.SIGKILL)
    until(lambda: not guardians(run.run_id), "the guardian's end")
    run.open_gate()
    assert run.finish()[0] == 0
    assert run.manifest["status"] == "succeeded"
    assert run.manifest["summary"].count("No guardian: ") == 1
    assert "(Broken pipe)" in run.manifest["summary"]


def test_signals_do_not_end_a_guardian(project, live):
    project.pipeline("setsid sleep 600 & exec sleep 600")
    run = live.start("work")
    until(lambda: len(sleepers(project.root)) == 2, "two sleeping processes")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(guardian(run), number)
    kill(run)


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_a_cancelled_stage_leaves_is_ended_too(project, live, number, exit_code):
    project.pipeline(*MIXED, "true")
    run = live.start("work")
    until(lambda: len(sleepers(project.root)) == 3, "three sleeping processes")
    run.signal(number)
    assert run.finish()[0] == exit_code
    until(lambda: not processes_in(project.root), "the end of all processes")
    manifest = run.manifest
    assert (manifest["status"], manifest["status_detail"]) == ("cancelled", f"cancelled:{number.name}")
    assert [entry["status"] for entry in manifest["commands"]] == ["failed", "pending"]
    assert manifest["commands"][0]["summary"] == f"Cancelled by {number.name}"
    assert manifest["summary"].count("sleep 600 (pid ") == 2


def test_a_run_that_ignores_hang_ups_goes_on(project, live):
    project.pipeline(live.GATE)
    run = live.start("work", under=["nohup"])
    run.stage_pid()
    run.signal(signal.SIGHUP)
    run.open_gate()
    assert run.finish()[0] == 0
    assert run.manifest["status"] == "succeeded"


def test_a_terminal_that_goes_away_cancels_the_run(project, live):
    project.pipeline(*MIXED)
    ours, its = os.openpty()
    terminal = dict.fromkeys(("stdin", "stdout", "stderr"), its)
    run = live.start("work", under=["setsid", "--ctty"], **terminal)
    os.close(its)
    until(lambda: len(sleepers(project.root)) == 3, "three sleeping processes")
    os.close(ours)
    assert run.finish()[0] == 129
    assert run.manifest["status_detail"] == "cancelled:SIGHUP"
    assert run.manifest["metrics_recorded"] is True
    until(lambda: not processes_in(project.root), "the end of all processes")
