"""pytest's reports say of stages what they say of tests, and nothing of our inside."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest


@pytest.fixture
def mixed(project):
    """A pipeline with every outcome that a stage can have."""
    project.pipeline(
        {"id": "build", "command": "echo compiled; echo careful >&2"},
        {"id": "soft", "command": "echo because >&2; exit 3", "allowFailure": True},
        {"id": "test", "title": "The tests", "command": "echo some; echo why >&2; exit 7"},
        {"id": "docs", "command": "true"},
        {"id": "free", "command": "true", "needs": []},
    )
    return project


SUMMARY = "FAILED work::test - Stage 'The tests' failed: exit code 7"
FULL = ["Stage 'The tests' failed: exit code 7", "  command: echo some; echo why >&2; exit 7"]
FULL += ["  stdout:", "    some", "  stderr:", "    why"]


def section(done, name) -> list[str]:
    """The lines under a heading of the terminal report, up to the next one."""
    text = re.split(rf"^=+ {name} =+$", done.stdout.str(), flags=re.MULTILINE)
    assert len(text) == 2, f"no section {name}"
    return re.split(r"^=+ .* =+$", text[1], flags=re.MULTILINE)[0].strip("\n").splitlines()


@pytest.mark.parametrize("style", ["auto", "long", "short", "native"])
def test_every_traceback_style_shows_the_same_report(mixed, run, style):
    done = run(f"--tb={style}")
    shown = section(done, "FAILURES")
    assert re.fullmatch(r"_+ stage test _+", shown[0])
    assert shown[1:7] == FULL
    assert shown[7].startswith("  log: .runs/task-1/cli/")
    assert shown[8].startswith("  error file: .runs/task-1/cli/")
    assert section(done, "short test summary info") == [SUMMARY]


def test_one_line_where_a_line_is_asked_for(mixed, run):
    done = run("--tb=line")
    assert section(done, "FAILURES")[0] == "work::test: Stage 'The tests' failed: exit code 7"
    assert "  command:" not in done.stdout.str()
    assert section(done, "short test summary info") == [SUMMARY]


def test_no_failures_where_none_are_asked_for(mixed, run):
    done = run("--tb=no")
    assert "FAILURES" not in done.stdout.str()
    assert section(done, "short test summary info") == [SUMMARY]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], "started"),
        (["-v"], "work::test FAILED"),
        (["-vv"], "work::test FAILED"),
        (["-q"], ".sFs."),
        (["-qq"], ".sFs."),
        (["-o", "verbosity_test_cases=1"], "work::test FAILED"),
        (["-o", "console_output_style=classic", "-v"], "work::test FAILED"),
        (["-o", "console_output_style=count"], "started"),
        (["-o", "console_output_style=times", "-v"], "work::test FAILED"),
        (["-s"], "started"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_verbosity_names_each_stage_once(mixed, run, words, shown):
    done = run(*words)
    text = done.stdout.str()
    progress = text.partition("FAILURES")[0]
    assert shown in progress
    for style, marks in {"started": ": started", "FAILED": "FAILED", ".sFs.": ".sFs."}.items():
        assert (marks in progress) == (style in shown)
    # Where our own lines stand, pytest's letters and percentages do not.
    assert shown != "started" or not re.search(r"%\]|/5\]$", progress, flags=re.MULTILINE)
    assert SUMMARY in text
    if words != ["-qq"]:
        done.assert_outcomes(passed=2, skipped=2, failed=1)


def test_a_line_for_every_outcome_where_all_are_asked_for(mixed, run):
    done = run("-rA")
    assert section(done, "short test summary info") == [
        "PASSED work::build",
        "PASSED work::free",
        "SKIPPED [1] work::soft: allowed failure: Exited with code 3 — because",
        "SKIPPED [1] work::docs: blocked: work::test failed",
        SUMMARY,
    ]
    passes = section(done, "PASSES")
    assert re.fullmatch(r"_+ stage build _+", passes[0])
    assert [line for line in passes if not line.startswith(("_", "-", "Run "))] == ["compiled", "careful"]


@pytest.mark.parametrize("verbosity", ["-v", "-q", "--no-header"])
def test_the_short_summary_is_the_same_at_every_verbosity(mixed, run, verbosity):
    assert section(run(verbosity, "-ra"), "short test summary info")[:3] == [
        "SKIPPED [1] work::soft: allowed failure: Exited with code 3 — because",
        "SKIPPED [1] work::docs: blocked: work::test failed",
        SUMMARY,
    ]


def test_unfolded_skips_are_named(mixed, run):
    assert section(run("-rs", "--no-fold-skipped"), "short test summary info") == [
        "SKIPPED work::soft - Skipped: allowed failure: Exited with code 3 — because",
        "SKIPPED work::docs - Skipped: blocked: work::test failed",
    ]


def test_durations_are_those_of_the_commands(project, run):
    project.pipeline(
        {"id": "slow", "command": "exec sleep 0.3"},
        {"id": "bad", "command": "exit 1"},
        {"id": "never", "command": "true"},
    )
    lines = section(run("--durations=0", "-vv"), "slowest durations")
    times = {tuple(line.split()[1:]): float(line.split("s ")[0]) for line in lines if "s " in line[:9]}
    assert times["call", "work::slow"] >= 0.3
    assert ("call", "work::bad") in times
    assert ("setup", "work::never") in times
    assert ("call", "work::never") not in times


def test_colour_is_pytests_to_decide(mixed, run):
    coloured = run("--color=yes").stdout.str()
    assert "\x1b[31m[3/5] test: failed in" in coloured
    assert "\x1b[32m[1/5] build: passed in" in coloured
    assert "\x1b[33m[2/5] soft: skipped, " in coloured
    assert "\x1b[31m\x1b[1mStage 'The tests' failed: exit code 7" in coloured
    assert "\x1b" not in run("--color=no").stdout.str()


def test_without_a_terminal_reporter_the_run_is_the_same(mixed, run):
    done = run("-p", "no:terminal")
    assert done.ret == 1
    assert done.stdout.str() == ""
    statuses = [entry["status"] for entry in mixed.manifest()["commands"]]
    assert statuses == ["succeeded", "skipped", "failed", "pending", "succeeded"]


def test_setup_show_shows_stages(mixed, run):
    done = run("--setup-show")
    assert done.ret == 1
    for stage in ("build", "soft", "test", "free"):
        assert f"        work::{stage}" in done.stdout.str()


def test_where_the_evidence_lies_is_said_at_the_end(mixed, run):
    done = run()
    manifest = mixed.manifest()
    assert f"Run {manifest['run_id']}: failed, {manifest['artifact_root']}" in done.outlines


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_junit_holds_the_stages(mixed, run, family):
    run("--junitxml=report.xml", "-o", f"junit_family={family}")
    suite = ET.parse(mixed.root / "report.xml").getroot()[0]
    counts = {key: suite.get(key) for key in ("tests", "failures", "skipped", "errors")}
    assert counts == {"tests": "5", "failures": "1", "skipped": "2", "errors": "0"}
    cases = {case.get("name"): case for case in suite}
    assert list(cases) == ["build", "soft", "test", "docs", "free"]
    assert {case.get("classname") for case in suite} == {"work"}
    assert all(float(case.get("time")) >= 0 for case in suite)

    failure = cases["test"].find("failure")
    assert failure.get("message") == "Stage 'The tests' failed: exit code 7"
    assert failure.text.splitlines()[:6] == FULL
    skips = {name: case.find("skipped") for name, case in cases.items() if case.find("skipped") is not None}
    assert {name: skip.get("message") for name, skip in skips.items()} == {
        "soft": "allowed failure: Exited with code 3 — because",
        "docs": "blocked: work::test failed",
    }
    assert all(skip.text.startswith(f"work::{name}:") for name, skip in skips.items())

    entries = {entry["id"]: entry for entry in mixed.manifest()["commands"]}
    for name, case in cases.items():
        properties = {item.get("name"): item.get("value") for item in case.iter("property")}
        entry = entries[name]
        assert properties == (
            {}
            if name == "docs"
            else {
                "command": entry["command"],
                "exit_code": str(entry["exit_code"]),
                "log_path": entry["log_path"],
            }
        )


def test_junit_times_are_those_of_the_commands(project, run):
    project.pipeline("exec sleep 0.3")
    run("--junitxml=report.xml")
    assert float(ET.parse(project.root / "report.xml").getroot()[0][0].get("time")) >= 0.3


def test_junit_is_well_formed_whatever_a_stage_prints(project, run):
    project.pipeline(
        {"id": "ok", "command": r"printf 'a\000\001\033[31m<&>]]>\377\n'"},
        {"id": "bad", "command": r"printf 'a\000\001\033[31m<&>]]>\377\n' >&2; exit 1"},
    )
    done = run("--junitxml=report.xml", "-o", "junit_logging=all", "-rA")
    assert done.ret == 1
    suite = ET.parse(project.root / "report.xml").getroot()[0]
    assert "<&>]]>" in suite[0].find("system-out").text
    assert "<&>]]>" in suite[1].find("failure").text
