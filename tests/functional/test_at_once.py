"""Stages at once, in one process or on workers: what runs when, what ends it, and what is told of it."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from tests.support.at_once import CODEX_JOBS, JOBS, WORKERS, command, environment, run, waits, words
from tests.support.environment import needs_xdist
from tests.support.invariants import broken
from tests.support.processes import DEADLINE_SECONDS
from tests.support.runs import events, order, statuses

pytestmark = needs_xdist

BOTH = pytest.mark.parametrize("way", [JOBS, WORKERS])


def meets(name: str, *others: str) -> str:
    """A command that ends only once the others run too."""
    there = " && ".join(f"test -e {other}.up" for other in others)
    return f"touch {name}.up; until {there}; do sleep 0.02; done"


def precedes(project, first: str, second: str) -> bool:
    """Whether a stage began when another had ended."""
    told = order(project)
    return told.index((first, "ends")) < told.index((second, "begins"))


def overridden(done, dist: str) -> bool:
    """Whether one line said that ``--dist`` was not heeded."""
    return done.stdout.count(f"--dist {dist} is not heeded: stages go by their graph.") == 1


# What runs when.


@BOTH
def test_stages_that_do_not_need_each_other_run_at_once_and_others_in_their_order(project, way):
    project.pipeline(
        command("a", meets("a", "b", "c")),
        command("b", meets("b", "a", "c")),
        command("c", meets("c", "a", "b")),
        # By declared order, as it says nothing else.
        {"id": "d", "command": "test -e c.up"},
        command("e", "exit 3", needs=["a", "b"], allowFailure=True),
        command("f", needs=["d", "e"]),
        command("asks", 'test -z "$(cat)"', timeoutSeconds=30),
    )
    done = run(project, way)
    assert done.returncode == 0, done.stdout
    assert statuses(project) == {
        **dict.fromkeys(("a", "b", "c", "d", "f", "asks"), "succeeded"),
        "e": "skipped",
    }
    for first, second in ("cd", "ae", "be", "df", "ef"):
        assert precedes(project, first, second)
    assert broken(project.root) == []


def test_the_longest_chain_begins_first(project):
    project.pipeline(
        *(command(name) for name in ("lone", "other", "third")),
        command("long-1"),
        command("long-2", needs=["long-1"]),
        command("long-3", needs=["long-2"]),
    )
    assert run(project, JOBS).returncode == 0
    begun = [stage for stage, what in order(project) if what == "begins"]
    assert begun.index("long-1") == 0
    assert begun.index("lone") < begun.index("other") < begun.index("third")


def test_resources_limit_what_runs_together(project):
    alone = "mkdir held && sleep 0.05 && rmdir held"
    stages = [
        *(command(name, alone, resources={"port": 1}) for name in ("a", "b", "c")),
        # There are two of these, and so each pair can meet.
        command("x", meets("x", "y"), resources={"cores": 1}),
        command("y", meets("y", "x"), resources={"cores": 1}),
    ]
    pipeline = {
        "id": "work",
        "title": "Work",
        "stages": [{"kind": "command", "title": "T", **s} for s in stages],
    }
    project.write({"resources": {"cores": 2}, "pipelines": [pipeline]})
    done = run(project, JOBS)
    assert done.returncode == 0, done.stdout


def test_a_stage_that_is_to_run_gets_the_environment_as_it_is(project):
    project.pipeline(command("a", 'printf %s "$RAW" | od -An -tx1; pwd', cwd="sub"))
    (project.root / "sub").mkdir()
    project.environment["RAW"] = b"a\xff".decode("utf-8", "surrogateescape")
    assert run(project, "-n 1").returncode == 0
    (chunks,) = ["".join(event["data"] for event in events(project, "exec:chunk"))]
    assert chunks == f" 61 ff\n{project.root}/sub\n"


# How stages end.


@BOTH
def test_a_failure_blocks_what_follows_and_nothing_else(project, way):
    project.pipelines(
        work=[
            command("bad", "echo why >&2; exit 7"),
            command("next", needs=["bad"]),
            command("after", needs=["next"]),
            command("late", "exec sleep 60", timeoutSeconds=0.1),
            command("tries", "test -e tried || { touch tried; exit 1; }", retries=1),
            command("well", needs=["tries"]),
            {"kind": "subpipeline", "id": "may-fail", "pipeline": "inner", "needs": [], "optional": True},
            command("end", needs=["may-fail"]),
        ],
        inner=[command("fails", "exit 5"), command("never", needs=["fails"])],
    )
    done = run(project, way)
    assert done.returncode == 1, done.stdout
    manifest = project.root / ".runs/task-1/metrics.json"
    lines = {line["pipeline_id"]: line for line in map(json.loads, manifest.read_text().splitlines())}
    assert {name: line["status"] for name, line in lines.items()} == {"work": "failed", "inner": "failed"}
    work = next(folder for folder in project.runs() if folder.name == lines["work"]["run_id"])
    entries = json.loads((work / "manifest.json").read_text())["commands"]
    assert {entry["id"]: (entry["status"], entry["exit_code"]) for entry in entries} == {
        "bad": ("failed", 7),
        "next": ("pending", None),
        "after": ("pending", None),
        "late": ("failed", 143),
        "tries": ("succeeded", 0),
        "well": ("succeeded", 0),
        "may-fail": ("skipped", None),
        "end": ("succeeded", 0),
    }
    assert broken(project.root) == []


@pytest.mark.parametrize(
    ("way", "option"),
    [
        ("-n 2 --dist worksteal", "-x"),
        ("--codex-jobs 2", "-x"),
        ("--codex-jobs 2", "--maxfail=2"),
        ("--codex-jobs 2", "--stepwise"),
    ],
)
def test_what_has_seen_enough_ends_what_runs(project, way, option):
    fails = "until test -e waits.pid; do sleep 0.02; done; exit 1"
    # The last is free to run, once there is room.
    last = command("second", fails) if option == "--maxfail=2" else command("free")
    project.pipeline(
        command("waits", waits("waits")), command("bad", fails), command("next", needs=["bad"]), last
    )
    done = run(project, way, option)
    # As in a session of tests: a failure, or for --stepwise an interruption.
    assert done.returncode == (2 if option == "--stepwise" else 1), done.stdout
    ended = {"second": "failed"} if option == "--maxfail=2" else {"free": "pending"}
    assert statuses(project) == {"waits": "failed", "bad": "failed", "next": "pending", **ended}
    assert "--dist" not in way or overridden(done, "worksteal")
    entry = project.manifest()["commands"][0]
    assert entry["summary"] == f"Cancelled by {option}"
    assert project.manifest()["status"] == "failed"
    assert broken(project.root) == []


# What is chosen.


def test_only_and_from_leave_stages_out(project):
    chain = [{"id": name, "command": f"echo {name} >> ran"} for name in "abcd"]
    project.pipeline(*chain, command("e", "echo e >> ran", needs=["b"]))
    ran = project.root / "ran"
    assert run(project, JOBS, "--only", "a", "--only", "d").returncode == 0
    assert ran.read_text().split() == ["a", "d"]
    ran.unlink()
    assert run(project, CODEX_JOBS, "--codex-from", "c").returncode == 0
    assert sorted(ran.read_text().split()) == ["c", "d", "e"]
    assert precedes(project, "c", "d")
    assert statuses(project) == {"a": "pending", "b": "pending", **dict.fromkeys("cde", "succeeded")}


def test_deselected_stages_do_not_run_and_the_others_keep_their_order(project):
    project.pipeline(
        *({"id": name, "command": f"echo {name} >> ran"} for name in ("unit-a", "b", "unit-c", "unit-d")),
        command("bad", "exit 1"),
    )
    done = run(project, "-n 1", "-k", "unit or bad", "--deselect=work::unit-d")
    assert done.returncode == 1, done.stdout
    assert (project.root / "ran").read_text().split() == ["unit-a", "unit-c"]
    assert "2 deselected" in done.stdout
    done = run(project, "-n 1 --dist loadfile", "--lf")
    assert done.returncode == 1, done.stdout
    assert overridden(done, "loadfile")
    assert statuses(project) == {
        **dict.fromkeys(("unit-a", "b", "unit-c", "unit-d"), "pending"),
        "bad": "failed",
    }


@pytest.mark.parametrize(("way", "words"), [(CODEX_JOBS, ["-v"]), ("-n 1", ["--collect-only"])])
def test_where_nothing_is_to_run_nothing_is_run_and_nothing_waited_for(project, way, words):
    project.pipeline("true")
    done = run(project, way, "-k", "nothing")
    assert done.returncode == 5, done.stdout
    done = run(project, way, *words, "--deselect=work::s1")
    assert done.returncode == 5, done.stdout
    assert not (project.root / ".runs").exists()


# Runs that go on.


def test_a_run_is_resumed_with_stages_at_once(project):
    project.pipeline(
        command("a", "echo a >> ran"),
        command("b", "echo b >> ran; test -e ok", needs=["a"]),
        command("c", "test -e ok && echo c >> ran", needs=[]),
        command("d", "echo d >> ran", needs=["b", "c"]),
    )
    assert run(project, JOBS).returncode == 1
    (project.root / "ok").touch()
    run_id = project.runs()[-1].name
    done = run(project, "-n 2 --dist loadgroup", f"--codex-resume={run_id}", pipelines=())
    assert done.returncode == 0, done.stdout
    assert overridden(done, "loadgroup")
    ran = (project.root / "ran").read_text().split()
    assert sorted(ran) == ["a", "b", "b", "c", "d"]
    assert ran[-1] == "d"
    assert len(project.runs()) == 1
    assert broken(project.root) == []


def test_a_manual_stage_holds_up_its_followers_until_it_is_decided_on(project):
    project.pipeline(
        command("a"),
        {"kind": "manual", "id": "ok", "title": "Look at it", "needs": ["a"]},
        command("b"),
        command("c", needs=["ok"]),
    )
    done = run(project, "-n 1 --dist loadscope")
    assert done.returncode == 1, done.stdout
    assert overridden(done, "loadscope")
    held = {"a": "succeeded", "ok": "pending", "b": "succeeded", "c": "pending"}
    assert statuses(project) == held
    assert project.manifest()["status"] == "in_progress"
    run_id = project.runs()[-1].name
    resume = ("resume", "--run", run_id, "--jobs", "2")
    assert project.cli(*resume).returncode == 3
    assert statuses(project) == held
    assert project.cli("approve", "--run", run_id, "--stage", "ok", "--actor", "tester").returncode == 0
    done = project.cli(*resume)
    assert done.returncode == 0, done.stdout
    assert set(statuses(project).values()) == {"succeeded"}
    assert broken(project.root) == []


# Options of pytest's and of xdist's.


def test_each_stage_runs_once_also_where_each_worker_is_to_run_all(project):
    project.pipeline(command("a", "echo a >> ran"), command("b", "echo b >> ran", needs=["a"]))
    done = run(project, "-n 2 --dist each")
    assert done.returncode == 0, done.stdout
    assert overridden(done, "each")
    assert (project.root / "ran").read_text().split() == ["a", "b"]
    assert "2 passed" in done.stdout


def test_workers_may_be_named_by_tx_with_an_interpreter_of_their_own(project):
    project.pipeline(command("a", meets("a", "b")), command("b", meets("b", "a")), "true")
    report = project.root / "report.xml"
    done = run(project, f"--tx 2*popen//python={sys.executable} --junitxml={report} -v")
    assert list(project.root.parent.glob("pytest-of-*")) == []
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert [worker["instance_id"] for worker in project.manifest()["scheduler"]["assignments"]] == [
        "gw0",
        "gw1",
    ]
    cases = ET.parse(report).getroot().iter("testcase")
    assert sorted(case.get("name") for case in cases) == ["a", "b", "s3"]


def test_jobs_and_workers_are_not_for_one_session(project):
    project.pipeline("true")
    done = run(project, "-n 1 --codex-jobs 2")
    assert done.returncode == 4
    assert "--codex-jobs is for this process, -n for workers: leave one out." in done.stdout
    assert not (project.root / ".runs").exists()


@pytest.mark.parametrize("asked", ["0", "-1", "many", "257"])
def test_a_number_of_jobs_is_one(project, said, asked):
    project.pipeline("true")
    code, _, stderr = said("start", "work", f"--jobs={asked}")
    assert code == 2
    assert f'"{asked}" is not a number of jobs.' in stderr
    assert not (project.root / ".runs").exists()


# Each waits until all are there, so that they all run at once.
_TOGETHER = ': > up-{name}; until [ "$(ls up-* | wc -l)" -eq {count} ]; do sleep 0.05; done; ulimit -n'


def _limited(project, limit: str, way: str) -> subprocess.CompletedProcess[str]:
    shell = f'ulimit {limit}; exec "$@"'
    return subprocess.run(
        ["/bin/sh", "-c", shell, "sh", *words(way)],
        cwd=project.root,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("way", ["--jobs 40", "--codex-jobs 40"])
def test_a_low_limit_on_open_files_is_raised_as_far_as_it_must(project, way):
    names = [f"s{number}" for number in range(40)]
    project.pipeline(*(command(name, _TOGETHER.format(name=name, count=len(names))) for name in names))
    done = _limited(project, "-Sn 256", way)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = {entry["summary"] for entry in project.manifest()["commands"]}
    # Commands inherit it, and there are some that go wrong where there is no limit.
    assert len(printed) == 1
    assert 256 < int(printed.pop()) < 1_024


@pytest.mark.parametrize(("way", "code"), [("--jobs 40", 2), ("--codex-jobs 40", 4)])
def test_more_at_once_than_there_are_files_for_is_refused_before_anything_is_written(project, way, code):
    names = [f"s{number}" for number in range(40)]
    project.pipeline(*(command(name, "true") for name in names))
    done = _limited(project, "-n 120", way)
    assert done.returncode == code
    assert "40 stages at once may need 550 open files, and 120 are allowed here." in done.stderr
    assert "--jobs" not in done.stdout
    assert not (project.root / ".runs").exists()
    few = _limited(project, "-n 120", way.replace("40", "3"))
    assert few.returncode == 0, few.stdout + few.stderr


def test_as_many_as_there_are_processors_are_not_more_than_there_are_files_for(project):
    project.pipeline(*(command(f"s{number}", "true") for number in range(40)))
    done = _limited(project, "-n 120", "--jobs auto")
    assert done.returncode == 0, done.stdout + done.stderr
