"""Other people's plugins and signals: none reorders, repeats or times out a stage, none breaks its record."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest

from tests.support.environment import needs_xdist
from tests.support.runs import started, statuses

pytestmark = pytest.mark.usefixtures("with_other_plugins")


def lacks_nothing(project, entry, reason) -> bool:
    """Whether a failed entry is complete, its error file included."""
    error = json.loads((project.root / entry["error_file"]).read_text(encoding="utf-8"))
    assert (error["command_id"], error["reason"]) == (entry["id"], reason)
    return entry["status"] == "failed" and all(
        entry[key] for key in ("started_at", "completed_at", "summary")
    )


# ---------------------------------------------------------------- plugins that everybody has


def test_randomly_does_not_reorder_stages(project):
    project.pipeline(*["true"] * 6)
    done = project.pytest("--codex-pipeline", "work", "--randomly-seed=1")
    assert done.returncode == 0
    assert "Using --randomly-seed=1" in done.stdout
    assert started(project) == [1, 2, 3, 4, 5, 6]


def test_stepwise_goes_by_the_declared_order_beside_randomly(project):
    project.pipeline("true", "true", "true", "exit 1", "true", "true")
    for expected in ([1, 2, 3, 4], [4]):
        assert project.pytest("--codex-pipeline", "work", "--sw", "--randomly-seed=1").returncode == 2
        assert started(project) == expected


def test_rerunfailures_does_not_repeat_stages(project):
    project.pipeline("echo x >> ran; exit 1", {"command": "true", "needs": []})
    done = project.pytest("--codex-pipeline", "work", "--reruns=2", "-v")
    assert done.returncode == 1
    assert "RERUN" not in done.stdout
    assert (project.root / "ran").read_text() == "x\n"
    assert [*statuses(project).values()] == ["failed", "succeeded"]
    assert lacks_nothing(project, project.manifest()["commands"][0], "command-failed")


def test_timeouts_of_tests_are_not_those_of_stages(project):
    project.pipeline("exec sleep 0.6", "true")
    done = project.pytest("--codex-pipeline", "work", "--timeout=0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "timeout: 0.2s" in done.stdout
    assert [*statuses(project).values()] == ["succeeded", "succeeded"]


@needs_xdist
def test_no_workers_may_be_asked_for(project):
    (project.root / "pytest.ini").write_text("[pytest]\naddopts = -n 2\n")
    project.pipeline("true")
    assert project.pytest("--codex-pipeline", "work", "-n", "0").returncode == 0
    assert [*statuses(project).values()] == ["succeeded"]


# ---------------------------------------------------------------- plugins that break


class Breaker:
    """A plugin that breaks a stage in one phase."""

    def __init__(self, phase, stage, act) -> None:
        self.phase, self.stage, self.act = phase, stage, act

    def _reach(self, phase, item) -> None:
        if (phase, item.name) == (self.phase, self.stage):
            self.act()

    def pytest_runtest_setup(self, item):
        self._reach("setup", item)

    def pytest_runtest_call(self, item):
        self._reach("call", item)

    def pytest_runtest_teardown(self, item):
        self._reach("teardown", item)


def break_it():
    raise ValueError("plugin broke")


@pytest.mark.parametrize(
    ("phase", "soft"),
    [("setup", False), ("call", False), ("teardown", False), ("call", True), ("teardown", True)],
)
def test_a_plugin_that_raises_fails_the_stage_completely(project, run, phase, soft):
    project.pipeline("true", {"command": "exit 3" if soft else "true", "allowFailure": soft}, "true")
    done = run("-k", "s1 or s2", plugins=[Breaker(phase, "s2", break_it)])
    assert done.ret == 1
    manifest = project.manifest()
    assert manifest["status"] == "failed"
    assert manifest["status_detail"] == "stage:s2:error"
    assert [*statuses(project).values()] == ["succeeded", "failed", "pending"]
    entry = manifest["commands"][1]
    assert entry["summary"] == f"{phase}: ValueError: plugin broke"
    assert lacks_nothing(project, entry, "command-execution-error")
    assert manifest["summary"].startswith(f"Execution error: {phase}: ValueError: plugin broke\n")
    outcome = "FAILED" if phase == "call" else "ERROR"
    assert f"{outcome} work::s2 - ValueError: plugin broke" in done.stdout.str()


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
def test_what_a_broken_stage_blocks_stays_pending(project, run, phase):
    project.pipeline("true", "true", {"command": "true", "needs": []})
    assert run(plugins=[Breaker(phase, "s1", break_it)]).ret == 1
    assert [*statuses(project).values()] == ["failed", "pending", "succeeded"]


@pytest.mark.parametrize(
    ("phase", "code", "expected"),
    [("setup", None, 2), ("call", 9, 9), ("call", 0, 1), ("teardown", None, 2), ("teardown", 0, 1)],
)
def test_a_plugin_that_ends_the_session_leaves_a_finished_run(project, run, phase, code, expected):
    project.pipeline("true", "true", "true")

    def end_it():
        pytest.exit("that is enough", returncode=code)

    done = run(plugins=[Breaker(phase, "s2", end_it)])
    assert done.ret == expected
    manifest = project.manifest()
    assert manifest["status"] == "failed"
    assert manifest["completed_at"]
    assert [*statuses(project).values()] == [
        "succeeded",
        "succeeded" if phase == "teardown" else "pending",
        "pending",
    ]
    left = 1 if phase == "teardown" else 2
    assert manifest["summary"].startswith(f"{left} of 3 selected stages did not run.\n")


def test_a_plugin_that_skips_a_stage_leaves_it_pending_and_the_run_not_green(project, run):
    project.pipeline("true", "true")
    done = run("-rs", plugins=[Breaker("setup", "s1", lambda: pytest.skip("not today"))])
    assert done.ret == 1
    done.stdout.fnmatch_lines(["SKIPPED [[]1] work::s1: not today"])
    assert statuses(project)["s1"] == "pending"
    assert project.manifest()["status"] == "failed"


def test_a_plugin_cannot_make_a_failed_run_look_green(project, run):
    class Whitewash:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(self):
            report = yield
            if report.failed:
                report.outcome, report.longrepr = "passed", None
            return report

    project.pipeline("exit 1")
    assert run(plugins=[Whitewash()]).ret == 1
    assert project.manifest()["status"] == "failed"


def test_a_plugin_that_takes_stages_away_leaves_them_pending(project, run):
    class Sampler:
        def pytest_collection_modifyitems(self, config, items):
            config.hook.pytest_deselected(items=items[1:2])
            del items[1:2]

    project.pipeline("true", "true", "true")
    done = run(plugins=[Sampler()])
    assert done.ret == 0
    done.assert_outcomes(passed=2, deselected=1)
    assert [*statuses(project).values()] == ["succeeded", "pending", "succeeded"]


# ---------------------------------------------------------------- interrupts

INTERRUPTER = """\
import os
import signal

STAGE, PHASE, ACT = os.environ["INTERRUPT"].split()

def act():
    if ACT == "raise":
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.Signals[ACT])

def reach(phase, item):
    if (item.name, phase) == (STAGE, PHASE):
        act()
    if (item.name, phase, PHASE) == (STAGE, "setup", "running"):
        signal.signal(signal.SIGALRM, lambda number, frame: act())

def pytest_runtest_setup(item):
    reach("setup", item)

def pytest_runtest_teardown(item):
    reach("teardown", item)
"""


def interrupted(project, what):
    """Run the pipeline with a plugin that interrupts it at a point: stage, phase and how."""
    (project.root / "interrupter.py").write_text(INTERRUPTER)
    words = ("-p", "pytest_codex.plugin", "-p", "interrupter", "--codex-pipeline", "work")
    return project.pytest(*words, environment={"INTERRUPT": what, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("setup", ["pending", "pending"]),
        ("teardown", ["succeeded", "pending"]),
    ],
)
def test_a_keyboard_interrupt_of_a_plugin_leaves_a_finished_run(project, phase, expected):
    project.pipeline("true", "true")
    done = interrupted(project, f"s1 {phase} raise")
    assert done.returncode == 2
    assert [*statuses(project).values()] == expected
    assert project.manifest()["status"] == "failed"
    assert project.manifest()["completed_at"]


def test_a_keyboard_interrupt_while_a_stage_runs_ends_its_command(project, live):
    project.pipeline("echo $$ > pid; kill -ALRM $PPID; exec sleep 100", "true")
    done = interrupted(project, "s1 running raise")
    assert done.returncode == 2
    assert [*statuses(project).values()] == ["failed", "pending"]
    assert lacks_nothing(project, project.manifest()["commands"][0], "command-cancelled")
    pid = int((project.root / "pid").read_text())
    live.until(lambda: not live.is_alive(pid), "the end of the command")


@pytest.mark.parametrize(
    ("stage", "number", "expected"),
    [
        ("s1", signal.SIGINT, ["succeeded", "pending"]),
        ("s2", signal.SIGTERM, ["succeeded", "succeeded"]),
    ],
    ids=["between stages", "after the last"],
)
def test_a_signal_beside_a_stage_cancels_the_run(project, stage, number, expected):
    project.pipeline("true", "true")
    done = interrupted(project, f"{stage} teardown {number.name}")
    assert done.returncode == 2
    assert f"cancelled by {number.name}" in done.stdout
    manifest = project.manifest()
    assert (manifest["status"], manifest["status_detail"]) == ("cancelled", f"cancelled:{number.name}")
    assert [*statuses(project).values()] == expected


@pytest.mark.parametrize(
    "number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name
)
def test_a_signal_to_pytest_ends_the_stage_and_cancels_the_run(project, live, number):
    project.pipeline("true", live.GATE, "true", {"command": "true", "needs": []})
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "--codex-pipeline", "work"],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            pid_file = project.root / "pid"
            live.until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "the second stage")
            process.send_signal(number)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 2, output
    manifest = project.manifest()
    assert (manifest["status"], manifest["status_detail"]) == ("cancelled", f"cancelled:{number.name}")
    assert [*statuses(project).values()] == ["succeeded", "failed", "pending", "pending"]
    entry = manifest["commands"][1]
    assert lacks_nothing(project, entry, "command-cancelled")
    assert entry["exit_code"] == 128 + number
    assert manifest["summary"].startswith(f"Run cancelled by {number.name}.\n")
    assert not live.is_alive(int(pid_file.read_text()))
    assert f"cancelled by {number.name}" in output
    assert re.search(rf"^\[2/4\] s2: failed in .*cancelled by {number.name}$", output, flags=re.MULTILINE)
    assert "Traceback" not in output
    assert not list((project.root / ".runs").rglob("*.tmp*"))
    assert [path.name for path in (project.runs()[-1] / "errors").iterdir()] == ["02-s2.json"]
