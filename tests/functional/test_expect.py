"""``expect`` of a stage: exit code 0 without what was expected is a failure that says what was missing."""

from __future__ import annotations

import json
import os

import pytest

from codex_orchestrator.evidence.artefacts import check_file
from tests.support import at_once
from tests.support.clusters import Cluster, needs_dask
from tests.support.environment import needs_xdist
from tests.support.invariants import broken
from tests.support.processes import is_alive

RAN = '<testsuite><testcase name="a"/><testcase name="b"><failure/></testcase></testsuite>'
SKIPPED = '<testsuites><testsuite><testcase name="a"><skipped/></testcase></testsuite></testsuites>'
# Counts its runs: "$n" is the number of this one.
COUNT = "n=$(($(cat n 2>/dev/null || echo 0) + 1)); echo $n > n;"
SECRET = "Xk29vQpL7rTz84Wm"
ENFORCE = {"CODEX_PRIVACY_GUARD_MODE": "enforce"}
NO_D3 = 'it has written no file "d3"'
BUT = "Exited with code 0, but "
# Present before the run, as a run before would have left them; long ago.
OLD = {"old/junit.xml": RAN, "moved.xml": RAN, "same/out.txt": "x"}


def writes(path: str, text: str) -> str:
    return f"mkdir -p $(dirname {path}); printf '%s' '{text}' > {path}"


def stage(name: str, line: str, **expect) -> dict:
    return {"id": name, "command": line, "needs": [], "expect": expect}


# What each stage says in the end; None where it succeeds.
CASES = (
    (stage("ran", writes("r1/junit.xml", RAN), junit="r1/junit.xml", tests=2), None),
    (stage("by-pattern", writes("r2/TEST-a.xml", RAN), junit="r2/TEST-*.xml"), None),
    (
        stage("silent", "true", junit="r3/junit.xml"),
        f'{BUT}no tests ran: there is no file "r3/junit.xml"',
    ),
    (
        stage("stale", "true", junit="old/junit.xml"),
        f'{BUT}no tests ran: "old/junit.xml" was not written by this attempt',
    ),
    (
        stage("moved", "mkdir -p r4; mv moved.xml r4/junit.xml", junit="r4/junit.xml"),
        f'{BUT}no tests ran: "r4/junit.xml" was not written by this attempt',
    ),
    (
        stage("skipped", writes("r5/junit.xml", SKIPPED), junit="r5/junit.xml"),
        f'{BUT}no tests ran: "r5/junit.xml" has none (1 skipped)',
    ),
    (
        stage("few", writes("r6/junit.xml", RAN), junit="r6/junit.xml", tests=3),
        f'{BUT}only 2 tests of at least 3 ran, by "r6/junit.xml"',
    ),
    (
        stage("linked", "mkdir -p r7; ln -sf ../r1/junit.xml r7/junit.xml", junit="r7/junit.xml"),
        f'{BUT}no tests ran: there is no file "r7/junit.xml"',
    ),
    (
        stage("hostile", writes("r8/junit.xml", "<!DOCTYPE a>" + RAN), junit="r8/junit.xml"),
        f'{BUT}"r8/junit.xml" is no JUnit file: it has a document type, which no JUnit file has',
    ),
    (stage("said", "echo 12 passed", pattern="12 passed"), None),
    (stage("said-on-stderr", "echo 12 passed >&2", pattern="12 passed"), None),
    (stage("in-two-halves", "printf '12 pas'; sleep 0.2; echo sed", pattern="12 passed"), None),
    (
        stage("in-two-streams", "printf '12 pas'; printf sed >&2", pattern="12 passed"),
        f'{BUT}its output does not have "12 passed"',
    ),
    (stage("no-expression", "echo 12 passed", pattern="1. p"), f'{BUT}its output does not have "1. p"'),
    (stage("made", writes("d1/a/out.bin", "x"), files=["d1/**/*.bin", "d1"]), None),
    (stage("made-again", writes("same/out.txt", "x"), files=["same/out.txt"]), None),
    (
        stage("half-made", writes("d2/a.txt", "x"), files=["d2/*.txt", "d2/*.whl", "d2/*.gz"]),
        f'{BUT}it has written no file "d2/*.whl" and none "d2/*.gz"',
    ),
    (
        stage("evidence", "true", files=[".runs", "out/task-1", "**/manifest.json"]),
        f'{BUT}it has written no file ".runs" and none "out/task-1" and none "**/manifest.json"',
    ),
    (
        stage("all", "echo well", junit="r9.xml", pattern="done", files=["d3"]),
        f'{BUT}no tests ran: there is no file "r9.xml"; its output does not have "done"; {NO_D3}',
    ),
    (stage("fails-by-itself", "exit 3", pattern="12 passed"), "Exited with code 3"),
)
WAYS = [
    "",
    "--jobs 3",
    pytest.param("--codex-jobs 3", marks=needs_xdist),
    pytest.param("-n 3", marks=needs_xdist),
]


def old_files(root) -> None:
    for path, text in OLD.items():
        file = root / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        os.utime(file, (1_600_000_000, 1_600_000_000))


def said(project) -> dict[str, str | None]:
    """What each stage says; None where it has succeeded, and so has an exit code 0."""
    return {
        entry["id"]: None if entry["status"] == "succeeded" else entry["summary"]
        for entry in project.manifest()["commands"]
    }


@pytest.mark.parametrize("way", WAYS)
def test_exit_code_0_is_not_enough(project, way):
    old_files(project.root)
    project.pipeline(*(each for each, _ in CASES), keepGoing=True)
    done = at_once.run(project, way)
    assert done.returncode == 1
    assert said(project) == {each["id"]: words for each, words in CASES}
    entries = {entry["id"]: entry for entry in project.manifest()["commands"]}
    failed = entries["silent"]
    assert (failed["status"], failed["exit_code"]) == ("failed", 0)
    error = project.root / failed["error_file"]
    assert json.loads(error.read_text())["reason"] == "command-failed"
    assert json.loads(error.read_text())["details"]["missing"].startswith("no tests ran")
    assert check_file(error).problems == ()
    line = "Stage 'SILENT' exited with code 0, but no tests ran: there is no file \"r3/junit.xml\"."
    assert project.manifest()["summary"].splitlines()[0] == line
    assert broken(project.root) == []
    assert project.cli("verify").returncode == 0


@needs_dask
@pytest.mark.parametrize("workspace", ["shared", "snapshot"])
def test_on_a_cluster_it_counts_what_came_back(project, tmp_path_factory, workspace):
    old_files(project.root)
    # What is expected of files has to come back; that something else was moved there is seen nowhere.
    chosen = [(each, words) for each, words in CASES if each["id"] not in ("moved", "linked", "made-again")]
    stages = [
        {**each, "outputs": ["r*/*.xml", "d*/**"], "title": "A", "kind": "command"} for each, _ in chosen
    ]
    project.write(
        {
            "pipelines": [{"id": "work", "title": "W", "keepGoing": True, "stages": stages}],
            "cloud": {"workspace": workspace},
        }
    )
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), 1, threads=4)
    try:
        done = project.cli("start", "work", "--execution-mode=cloud", f"--cluster={cluster.address}")
    finally:
        cluster.close()
    assert done.returncode == 1, done.stderr
    assert said(project) == {each["id"]: words for each, words in chosen}


def test_a_miss_is_tried_again_and_what_it_left_is_ended(project):
    """The second attempt has nothing of the first: not its file, and not its processes."""
    write = writes("r.xml", "<testsuite><testcase/></testsuite>")
    line = f"""
        {COUNT} if test $n = 1; then sleep 600 & echo $! > left; exit 0; fi
        grep -q sleep /proc/$(cat left)/cmdline && echo beside another; {write}
    """
    project.pipeline({"id": "flaky", "command": line, "retries": 2, "expect": {"junit": "r.xml"}})
    run = project.start("work")
    assert (run.entry("flaky")["status"], run.entry("flaky")["exit_code"]) == ("succeeded", 0)
    assert not is_alive(int((project.root / "left").read_text()))
    assert "beside" not in (run.folder / "runner.ndjson").read_text().replace(json.dumps(line)[1:-1], "")
    (retry,) = (event for event in run.events() if event["type"] == "exec:retry")
    assert retry["error"] == f'{BUT}no tests ran: there is no file "r.xml"'
    assert [e["status"] for e in run.events() if e["type"] == "exec:end"] == ["failed", "succeeded"]


def test_what_an_attempt_before_has_written_does_not_count(project):
    line = f"{COUNT} test $n = 2 || {{ echo x > made; exit 1; }}"
    project.pipeline({"id": "flaky", "command": line, "retries": 1, "expect": {"files": ["made"]}})
    entry = project.start("work").entry("flaky")
    assert (entry["status"], entry["summary"]) == ("failed", f'{BUT}it has written no file "made"')


def test_a_miss_may_be_allowed_and_no_hint_hides_it(project):
    project.pipeline(
        {
            "id": "soft",
            "command": "echo fine",
            "allowFailure": True,
            "summaryHint": "All is well",
            "expect": {"pattern": "tests"},
        }
    )
    run = project.start("work")
    assert (run.exit_code, run.entry("soft")["status"]) == (0, "skipped")
    assert run.entry("soft")["summary"] == f'{BUT}its output does not have "tests"'


def test_what_is_missing_is_one_line_without_secrets(project):
    project.pipeline({"id": "a", "command": "true", "expect": {"pattern": f"one\ntwo password={SECRET}"}})
    run = project.start("work", environment=ENFORCE)
    assert SECRET not in (run.folder / "manifest.json").read_text()
    assert SECRET not in (run.folder / "plan.json").read_text()
    summary = run.entry("a")["summary"]
    assert summary.startswith(f'{BUT}its output does not have "one two password=')
    assert "\n" not in summary


def test_a_text_counts_as_it_was_written_whatever_is_recorded_of_it(project):
    line = f"printf password=; sleep 0.1; echo {SECRET[::-1]} | rev"
    project.pipeline({"id": "a", "command": line, "expect": {"pattern": f"password={SECRET}"}})
    run = project.start("work", environment=ENFORCE)
    assert (run.entry("a")["status"], run.entry("a")["summary"]) == ("succeeded", "password=[REDACTED]")


def test_plan_shows_it_and_its_digest_covers_it(project):
    digests = []
    for expect in ({}, {"expect": {"junit": "r.xml"}}, {"expect": {"junit": "r.xml", "tests": 2}}):
        project.pipeline({"id": "a", "command": "true", **expect})
        run = project.start("work")
        plan = json.loads((run.folder / "plan.json").read_text())
        digests.append(plan["digest"])
        (shown,) = json.loads(project.cli("plan", "work", "--format=json").stdout)["stages"]
        assert shown.get("expect") == expect.get("expect")
    assert len(set(digests)) == 3
    assert 'expect: {"junit": "r.xml", "tests": 2}' in project.cli("plan", "work").stdout
