"""The run history and its snapshot."""

from __future__ import annotations

import json

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.definitions.planner import Plan
from codex_orchestrator.evidence.journal import Journal
from codex_orchestrator.model.codec import dumps, dumps_line, to_json
from codex_orchestrator.model.explain import explain
from codex_orchestrator.model.manifest import StateIndex
from codex_orchestrator.rules import reviewer
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.rules.reviewer import (
    BuildResult,
    Decision,
    HandleSummary,
    PrivacyDecisionSummary,
    PrivacySummary,
    PrivacyTotalsSummary,
    ReviewResult,
    RunSummary,
    TaskState,
)

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


def moment(place: int) -> str:
    return f"2026-11-21T02:{place // 60:02d}:{place % 60:02d}.000Z"


def summary(run_id: str, place: int = 0) -> RunSummary:
    return RunSummary(
        task_id="t",
        run_id=run_id,
        mode="mcp",
        plan=Plan(items=(), targetId=None),
        build=BuildResult(None, (), "mcp", run_id, success=True),
        test=reviewer.TestResult(None, success=True, reports=(), run_id=run_id),
        review=ReviewResult("fine", Decision(approved=True)),
        timestamp=moment(place),
        handles=(HandleSummary("h", "c", "a", "closed", 1, 1),),
        privacy=PrivacySummary(
            mode="shadow",
            decisions=(PrivacyDecisionSummary("h", 1, "redact", "r", "x", moment(place), "a"),),
            totals=PrivacyTotalsSummary(1, 1, 0, 0),
            log_path="privacy-decisions.ndjson",
        ),
    )


@pytest.fixture
def journal(task) -> Journal:
    return Journal(task, FakeClock())


def record(journal: Journal, *summaries: RunSummary) -> None:
    for one in summaries:
        journal.history.queue(one)
    assert journal.merge_now(lambda _: True) is True


def state(task: TaskLayout, *, ours: bool = True) -> dict:
    document = json.loads(task.state.read_bytes())
    index = json.loads(task.state_index.read_bytes())
    if ours:
        assert explain(TaskState, document) == []
    assert explain(StateIndex, index) == []
    assert index == {"covered_bytes": task.history.stat().st_size, "total_runs": document["totalRuns"]}
    return document


def history(task: TaskLayout) -> list[str]:
    return [json.loads(line)["runId"] for line in task.history.read_bytes().splitlines()]


def kept(task: TaskLayout, **keywords: bool) -> list[str]:
    return [run["runId"] for run in state(task, **keywords)["runs"]]


def test_a_run_goes_whole_into_the_history_and_without_handles_and_decisions_into_the_snapshot(task, journal):
    one = summary("r1")
    record(journal, one)
    assert json.loads(task.history.read_bytes()) == to_json(one)
    expected = {key: value for key, value in to_json(one).items() if key != "handles"}
    del expected["privacy"]["decisions"]
    assert list(expected["privacy"]) == ["mode", "totals", "logPath"]
    assert state(task) == {"taskId": "t", "lastRunAt": moment(0), "totalRuns": 1, "runs": [expected]}
    assert journal.is_queued("r1") is False


@pytest.mark.parametrize("at_once", [True, False])
def test_the_latest_twenty_are_kept_and_all_are_counted(task, journal, at_once):
    summaries = [summary(f"r{place:02d}", place) for place in range(27)]
    if at_once:
        record(journal, *summaries)
    else:
        for one in summaries:
            record(journal, one)
    found = state(task)
    assert (found["totalRuns"], found["lastRunAt"]) == (27, moment(26))
    assert kept(task) == [f"r{place:02d}" for place in range(7, 27)]
    assert len(history(task)) == 27


def test_the_latest_are_those_by_time_whatever_order_they_come_in(task, journal):
    record(journal, summary("late", 50))
    record(journal, summary("early", 1))
    assert kept(task) == ["early", "late"]
    assert state(task)["lastRunAt"] == moment(50)


def test_a_later_summary_of_a_run_takes_the_place_of_the_earlier(task, journal):
    record(journal, summary("r1", 1), summary("r2", 2))
    journal.history.queue(summary("r1", 3), attempts=2)
    record(journal)
    assert kept(task) == ["r2", "r1"]
    assert state(task)["totalRuns"] == 2
    task.state_index.unlink()
    record(journal)
    assert kept(task) == ["r2", "r1"]
    assert state(task)["totalRuns"] == 2


SHAPES = [
    None,
    "",
    "not JSON",
    "[]",
    "[" * 100_000,
    "{}",
    '{"taskId": "t", "lastRunAt": null, "totalRuns": 3, "runs": {}}',
    '{"taskId": "t", "lastRunAt": null, "totalRuns": 2, "runs": [1, null]}',
    '{"taskId": "t", "lastRunAt": null, "totalRuns": 2, "runs": [{}, {"runId": 5}]}',
    '{"taskId": "t", "lastRunAt": null, "totalRuns": 2, "runs": [{"runId": "x", "timestamp": 5}]}',
    '{"taskId": "t", "lastRunAt": null, "totalRuns": "2", "runs": []}',
    '{"taskId": "t", "runs": [], "totalRuns": 2, "lastRunAt": null, "more": 1}',
]


@pytest.mark.parametrize("text", SHAPES, ids=lambda text: repr(text)[:100])
@pytest.mark.parametrize("name", ["state", "state_index"])
def test_a_snapshot_of_any_other_shape_is_rebuilt_from_the_history(task, journal, text, name):
    record(journal, summary("r1", 1), summary("r2", 2))
    whole = state(task)
    path = getattr(task, name)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    record(journal, summary("r3", 3))
    assert history(task) == ["r1", "r2", "r3"]
    assert kept(task) == ["r1", "r2", "r3"]
    assert state(task)["totalRuns"] == whole["totalRuns"] + 1


def test_an_index_that_covers_more_than_there_is_starts_anew(task, journal):
    record(journal, summary("r1"), summary("r2"))
    task.history.write_bytes(task.history.read_bytes().splitlines(keepends=True)[0])
    record(journal, summary("r3", 1))
    assert kept(task) == ["r1", "r3"]
    assert state(task)["totalRuns"] == 2


def test_what_is_covered_is_not_read_again(task, journal):
    record(journal, summary("r1", 1))
    task.history.write_bytes(b"x" * task.history.stat().st_size)
    record(journal, summary("r2", 2))
    assert kept(task) == ["r1", "r2"]
    assert state(task)["totalRuns"] == 2


@pytest.mark.parametrize(
    "bad",
    [b"torn {", b"[]", b"null", b'{"runId": 1}', b'{"runId": "x", "timestamp": 5}', b"\xff", b"[" * 100_000],
    ids=lambda bad: repr(bad[:30]),
)
def test_a_malformed_line_of_the_history_is_skipped(task, journal, bad):
    task.history.write_bytes(bad + b"\n")
    record(journal, summary("r1"))
    assert kept(task) == ["r1"]
    assert state(task)["totalRuns"] == 1


def node_run(run_id: str, place: int, **more: object) -> dict:
    return {"taskId": "t", "runId": run_id, "timestamp": moment(place), "mode": "mcp", **more}


@pytest.mark.parametrize("name", ["runs.json", "state.json"])
def test_histories_of_the_node_cli_are_carried_over(task, journal, name):
    runs = [node_run(f"n{place}", place, handles=[{"handleId": "h"}]) for place in range(3)]
    old = {"taskId": "t", "lastRunAt": moment(2), "runs": runs}
    (task.out_dir / name).write_text(dumps(old))
    record(journal, summary("r1", 9))
    assert history(task) == ["n0", "n1", "n2", "r1"]
    assert json.loads(task.history.read_bytes().splitlines()[0]) == runs[0]
    assert kept(task, ours=False) == ["n0", "n1", "n2", "r1"]
    assert state(task, ours=False)["totalRuns"] == 4
    assert "handles" not in state(task, ours=False)["runs"][0]
    record(journal, summary("r2", 10))
    assert history(task) == ["n0", "n1", "n2", "r1", "r2"]


def test_runs_of_the_node_cli_are_made_fit_when_they_are_carried_over(task, journal):
    run = to_json(summary("n1", 1))
    run["privacy"] = {"mode": "shadow", "totalFrames": 3, "redactedFrames": 0, "blockedFrames": 0} | {
        "allowedFrames": 3
    }
    extra = {"cloudExecution": None, "build": {**run["build"], "failureStage": "b"}, "usageKpi": {}}
    (task.out_dir / "runs.json").write_text(dumps({"taskId": "t", "runs": [{**run, **extra}]}))
    record(journal, summary("r1", 9))
    carried = json.loads(task.history.read_bytes().splitlines()[0])
    assert explain(RunSummary, carried) == []
    assert (carried["runId"], carried["privacy"]["totals"]["allowedFrames"]) == ("n1", 3)
    assert kept(task) == ["n1", "r1"]


def test_the_newer_file_of_the_node_cli_counts_where_both_are_there(task, journal):
    """It took its own old file over before it wrote the new one."""
    (task.out_dir / "runs.json").write_text(
        dumps({"taskId": "t", "runs": [node_run("a", 1), node_run("b", 2)]})
    )
    task.state.write_text(dumps({"taskId": "t", "runs": [node_run("a", 1)]}))
    record(journal, summary("r1", 9))
    assert history(task) == ["a", "b", "r1"]


@pytest.mark.parametrize("text", ["", "{}", '{"runs": []}', '{"runs": 5}', "[1]", '{"runs": [1, {"x": 2}]}'])
def test_an_old_file_without_runs_is_no_history(task, journal, text):
    (task.out_dir / "runs.json").write_text(text)
    record(journal, summary("r1"))
    assert kept(task) == ["r1"]
    assert state(task)["totalRuns"] == 1


def test_half_a_character_that_another_tool_cut_does_not_stop_us(task, journal):
    runs = {"taskId": "t", "runs": [node_run("n1", 1, note="half \ud83d")]}
    (task.out_dir / "runs.json").write_text(json.dumps(runs))
    record(journal, summary("r1", 2))
    assert history(task) == ["n1", "r1"]
    task.history.write_bytes(json.dumps(node_run("n2", 3, note="half \ud83d")).encode() + b"\n")
    task.state_index.unlink()
    record(journal, summary("r2", 4))
    assert kept(task, ours=False) == ["n2", "r2"]


def test_a_history_that_was_there_is_not_carried_over_again(task, journal):
    (task.out_dir / "runs.json").write_text(dumps({"taskId": "t", "runs": [node_run("n1", 1)]}))
    task.history.write_text(dumps_line(to_json(summary("r1", 2))))
    record(journal, summary("r2", 3))
    assert history(task) == ["r1", "r2"]


@pytest.mark.parametrize("others", [3, 19, 20, 30])
def test_a_resumed_run_counts_once_however_long_ago_it_ended(task, journal, others):
    record(journal, summary("r1", 0))
    for place in range(others):
        record(journal, summary(f"other-{place:02d}", place + 1))
    for attempts in (2, 3):
        journal.history.queue(summary("r1", 100 + attempts), attempts)
        assert journal.merge_now(lambda _: True) is True
    assert state(task)["totalRuns"] == others + 1
    assert kept(task)[-1] == "r1"
    assert kept(task).count("r1") == 1
    assert history(task).count("r1") == 3
