"""``pytest --codex-pipeline``: stages are items, what blocks them, and how the session ends."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.runs import statuses


def tree(root) -> dict:
    """Every file below a folder, with its bytes."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def started(project) -> list[str]:
    """The stages of the newest run in the order in which they started."""
    ids = {entry["index"]: entry["id"] for entry in project.manifest()["commands"]}
    events = [json.loads(line) for line in (project.runs()[-1] / "runner.ndjson").read_bytes().splitlines()]
    return [ids[event["index"]] for event in events if event["type"] == "command:start"]


# ---------------------------------------------------------------- items


def test_stages_are_items_named_by_pipeline_and_stage(project, run):
    project.pipeline({"id": "build", "command": "true"}, {"id": "unit tests", "command": "true"})
    done = run("-v")
    assert done.ret == 0
    done.stdout.re_match_lines([r"work::build PASSED\s+\[ 50%\]", r"work::unit tests PASSED\s+\[100%\]"])
    assert statuses(project) == {"build": "succeeded", "unit tests": "succeeded"}


@pytest.mark.parametrize(
    ("stages", "order"),
    [
        ([{}, {}, {}], ["s1", "s2", "s3"]),
        ([{"needs": ["s3"]}, {"needs": []}, {"needs": []}], ["s2", "s3", "s1"]),
        ([{"needs": ["s2"]}, {"needs": []}, {}], ["s2", "s1", "s3"]),
        ([{}, {"needs": []}, {"needs": ["s1"]}, {}], ["s1", "s2", "s3", "s4"]),
    ],
    ids=["declared", "needs later ones", "needs the next", "independent"],
)
def test_stages_run_in_declared_order_moved_only_where_needs_say_so(project, run, stages, order):
    project.pipeline(*({"command": "true", **stage} for stage in stages))
    collected = run("--collect-only", "-q")
    assert [line for line in collected.outlines if "::" in line] == [f"work::{stage}" for stage in order]
    assert run().ret == 0
    assert started(project) == order
    declared = [f"s{number}" for number in range(1, len(stages) + 1)]
    assert [entry["id"] for entry in project.manifest()["commands"]] == declared


AWKWARD = ["a/b", "a.b.py", "x[1]", "é ü", "-q", "..", "conftest.py", "a:b", "<&>\"'"]


def test_awkward_ids_are_node_ids_as_they_are(project, run):
    project.pipeline(*({"id": stage, "command": "true"} for stage in AWKWARD), name="ci/all.py")
    collected = run("--collect-only", "-q", pipeline="ci/all.py")
    ids = [line for line in collected.outlines if "::" in line]
    assert ids == [f"ci/all.py::{stage}" for stage in AWKWARD]
    done = run("-v", "-rA", "--junitxml=report.xml", "--deselect", "ci/all.py::x[1]", pipeline="ci/all.py")
    assert done.ret == 0
    assert statuses(project) == {stage: "pending" if stage == "x[1]" else "succeeded" for stage in AWKWARD}


@pytest.mark.parametrize("words", [("--collect-only",), ("--co", "-q"), ("--co", "-qq"), ("--co", "-v")])
def test_collect_only_writes_nothing(project, run, words):
    project.pipeline("touch ran")
    before = tree(project.root)
    done = run(*words, "-p", "no:cacheprovider")
    assert done.ret == 0
    assert "s1" in done.stdout.str() or words == ("--co", "-qq")
    assert tree(project.root) == before
    assert sorted(path.name for path in project.root.iterdir()) == [".git", "codex.orchestrator.json"]


def test_options_are_the_twins_of_start(project, run):
    project.pipeline("true", "true", "true")
    done = run(
        "--codex-task=task-2",
        "--codex-parent-run=2026-01-01T00-00-00-000Z-00000000",
        "--codex-approval-policy=never",
        "--codex-target=s2",
        "--codex-execution-mode=mcp",
        "--codex-from=s2",
        "--codex-only=s3",
    )
    assert done.ret == 0
    manifest = project.manifest("task-2")
    assert manifest["parent_run_id"] == "2026-01-01T00-00-00-000Z-00000000"
    assert manifest["approval_policy"] == "never"
    assert manifest["plan_target_id"] == "work:s2"
    assert [entry["status"] for entry in manifest["commands"]] == ["pending", "pending", "succeeded"]


# ---------------------------------------------------------------- progress and failures


def test_a_line_as_each_stage_starts_and_as_it_ends(project, run):
    project.pipeline(
        {"id": "build", "command": "echo made"},
        {"id": "soft", "command": "exit 3", "allowFailure": True},
        {"id": "test", "command": "exit 7"},
        {"id": "docs", "command": "true"},
    )
    done = run()
    assert done.ret == 1
    lines = [re.sub(r"\d+\.\d\d s", "N s", line) for line in done.outlines]
    first = lines.index("[1/4] build: started")
    assert lines[first : first + 8] == [
        "[1/4] build: started",
        "[1/4] build: passed in N s",
        "[2/4] soft: started",
        "[2/4] soft: skipped, allowed failure: Exited with code 3",
        "[3/4] test: started",
        "[3/4] test: failed in N s, exit code 7",
        "[4/4] docs: skipped, blocked: work::test failed",
        "",
    ]
    done.assert_outcomes(passed=1, skipped=2, failed=1)


@pytest.mark.parametrize(
    ("stage", "how"),
    [
        ({"command": "exit 7"}, "exit code 7"),
        ({"command": "kill -9 $$"}, "terminated with signal SIGKILL"),
        ({"command": "exec sleep 60", "timeoutSeconds": 0.2}, "timed out after 0.2 s"),
        ({"command": "true", "cwd": "missing"}, "No such file or directory: "),
    ],
    ids=["exit code", "signal", "timeout", "not started"],
)
def test_a_failure_is_told_in_full(project, run, stage, how):
    project.pipeline({"id": "test", "title": "The tests", **stage})
    done = run("-q")
    assert done.ret == 1
    entry = project.manifest()["commands"][0]
    report = done.stdout.str().partition("= FAILURES =")[2]
    headline = next(line for line in report.splitlines() if line.startswith("Stage "))
    assert headline.startswith(f"Stage 'The tests' failed: {how}")
    assert f"  command: {stage['command']}\n" in report
    assert f"  log: {entry['log_path']}\n" in report
    assert f"  error file: {entry['error_file']}\n" in report
    assert f"FAILED work::test - {headline}"[:75] in done.stdout.str()
    assert "Traceback" not in done.stdout.str() + done.stderr.str()
    assert ".py:" not in report


def test_a_failure_shows_the_end_of_both_streams(project, run):
    noise = 'i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo "out $i"; echo "err $i" >&2; done'
    project.pipeline(f"{noise}; exit 1")
    shown = run().stdout.str()
    for stream in ("out", "err"):
        assert f"    {stream} 60\n" in shown
        assert f"    {stream} 41\n" in shown
        assert f"    {stream} 40\n" not in shown
    assert "  stdout, last 20 lines:\n" in shown


# ---------------------------------------------------------------- what blocks a stage


def test_what_a_failure_reaches_is_skipped_and_stays_pending(project, run):
    project.pipeline(
        {"id": "a", "command": "true"},
        {"id": "b", "command": "exit 1"},
        {"id": "c", "command": "true"},
        {"id": "free", "command": "true", "needs": []},
        {"id": "after-a", "command": "true", "needs": ["a"]},
        {"id": "deep", "command": "true", "needs": ["after-a", "c"]},
    )
    done = run("-rs")
    assert done.ret == 1
    done.assert_outcomes(passed=3, failed=1, skipped=2)
    done.stdout.fnmatch_lines(
        [
            "SKIPPED [[]1] work::c: blocked: work::b failed",
            "SKIPPED [[]1] work::deep: blocked: work::b failed",
        ]
    )
    assert statuses(project) == {
        "a": "succeeded",
        "b": "failed",
        "c": "pending",
        "free": "succeeded",
        "after-a": "succeeded",
        "deep": "pending",
    }
    blocked = project.manifest()["commands"][2]
    assert [blocked[key] for key in ("started_at", "completed_at", "summary", "exit_code")] == [None] * 4


def test_an_allowed_failure_is_skipped_with_its_reason_and_blocks_nothing(project, run):
    project.pipeline(
        {"id": "soft", "command": "echo because >&2; exit 3", "allowFailure": True},
        {"id": "next", "command": "true"},
    )
    done = run("-rs")
    assert done.ret == 0
    done.stdout.fnmatch_lines(
        ["SKIPPED [[]1] work::soft: allowed failure: Exited with code 3 *because", "*1 passed, 1 skipped*"]
    )
    assert statuses(project) == {"soft": "skipped", "next": "succeeded"}
    assert project.manifest()["status"] == "succeeded"
    assert project.manifest()["commands"][0]["error_file"]


def test_a_deselected_stage_does_not_block(project, run):
    project.pipeline("true", "exit 1", "true")
    done = run("--deselect", "work::s2")
    assert done.ret == 0
    assert statuses(project) == {"s1": "succeeded", "s2": "pending", "s3": "succeeded"}
    assert project.manifest()["status"] == "succeeded"
    assert "Partial run: 2 of 3 stages selected." in project.manifest()["summary"]


def test_a_failure_blocks_through_a_deselected_stage(project, run):
    project.pipeline("exit 1", "true", "true")
    done = run("--deselect", "work::s2", "-rs")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["SKIPPED [[]1] work::s3: blocked: work::s1 failed"])
    assert statuses(project) == {"s1": "failed", "s2": "pending", "s3": "pending"}


# ---------------------------------------------------------------- how a session ends


@pytest.mark.parametrize(
    ("stages", "words", "code", "status"),
    [
        (["true"], [], 0, "succeeded"),
        ([{"command": "false", "allowFailure": True}], [], 0, "succeeded"),
        (["true", "false"], [], 1, "failed"),
        (["false", "true"], ["-x"], 1, "failed"),
        (["true", "false"], ["-k", "s1"], 0, "succeeded"),
    ],
)
def test_the_exit_code_agrees_with_the_run(project, run, stages, words, code, status):
    project.pipeline(*stages)
    assert run(*words).ret == code
    manifest = project.manifest()
    assert manifest["status"] == status
    assert manifest["completed_at"] is not None
    assert "running" not in statuses(project).values()


@pytest.mark.parametrize("words", [["-k", "nothing"], ["-m", "slow"], ["--deselect", "work"]])
def test_no_run_is_opened_where_nothing_is_selected(project, run, words):
    project.pipeline("touch ran")
    before = tree(project.root)
    done = run(*words, "-p", "no:cacheprovider")
    assert done.ret == 5
    assert tree(project.root) == before


BAD_STAGE = (
    '{\n "pipelines": [\n  {"id": "work", "title": "W", "stages": [\n   {"kind": "comand", "id": "a"}]}]}'
)


@pytest.mark.parametrize(
    ("definitions", "words", "parts"),
    [
        (BAD_STAGE, [], ["codex.orchestrator.json:4: pipelines[0].stages[0]: kind must be"]),
        ("{", [], ["codex.orchestrator.json:1: not valid JSON"]),
        (None, ["--codex-task=../up"], ['Invalid task ID "../up": ']),
        (None, ["--codex-target=nope"], ["nope"]),
        (None, ["--codex-only=nope"], ['Unknown stage "nope" in pipeline "work".', "Stages: s1."]),
        (None, ["--codex-execution-mode=moon"], ['Unknown execution mode "moon".']),
        (None, ["--codex-execution-mode=cloud"], ["No cluster is named."]),
        (None, ["--codex-parent-run=a/b"], ['Invalid run ID "a/b": ']),
        (None, ["--codex-pipeline=work"], ["each pipeline once"]),
        (None, ["--codex-pipeline=diagnostics", "--codex-only=s1"], ["--codex-only names a stage"]),
        (None, ["--codex-jobs=0"], ['"0" is not a number of jobs.']),
        (None, ["--codex-jobs=many"], ['"many" is not a number of jobs.', "or auto"]),
        (None, ["tests"], ["takes no paths: tests", "-k"]),
        (None, ["work::s1"], ["takes no paths: work::s1"]),
        (None, ["--setup-only"], ["leave out --setup-only", "--collect-only"]),
        (None, ["--setup-plan"], ["leave out --setup-plan", "--collect-only"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and value else "",
)
def test_a_bad_request_is_a_usage_error_and_leaves_nothing(project, run, definitions, words, parts):
    project.pipeline("touch ran")
    if definitions:
        project.write(definitions)
    before = tree(project.root)
    done = run(*words, "-p", "no:cacheprovider")
    assert done.ret == 4
    for part in parts:
        assert part in done.stderr.str()
    assert "Traceback" not in done.stderr.str() + done.stdout.str()
    assert tree(project.root) == before


def test_an_unknown_pipeline_is_a_usage_error_that_names_those_there_are(project, run):
    project.pipeline("true")
    done = run(pipeline="nope")
    assert done.ret == 4
    assert 'Unknown pipeline "nope".' in done.stderr.str()
    assert "work, diagnostics" in done.stderr.str()
    assert not (project.root / ".runs").exists()


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["--markers"], ["--fixtures"], ["--cache-show"]]
)
def test_options_that_only_show_something_run_nothing(project, run, words):
    project.pipeline("touch ran")
    done = run(*words)
    assert done.ret == 0
    assert {path.name for path in project.root.iterdir()} <= {
        ".git",
        ".pytest_cache",
        "codex.orchestrator.json",
    }
