"""``metrics``: what a task's runs come to, from lines of any origin."""

from __future__ import annotations

import json

import pytest

from codex_orchestrator.text import printable

SHARED = (
    *("task_id", "metrics_file", "entries_total", "entries_succeeded", "entries_failed"),
    *("success_rate", "guardrail_coverage", "average_duration_seconds", "parse_errors"),
)


def line(run_id: str, status: str = "succeeded", **keys) -> dict:
    return {
        "run_id": run_id,
        "task_id": "task-1",
        "pipeline_id": "work",
        "status": status,
        "started_at": "2026-11-21T02:44:32.979Z",
        "completed_at": "2026-11-21T02:44:33.979Z",
        "duration_seconds": 1.0,
        "commands_passed": 2,
        "commands_failed": 0,
        "commands_skipped": 1,
        "guardrails_present": False,
        "artifact_path": f".runs/task-1/cli/{run_id}",
        "resumed": False,
        "attempts": 1,
        "heartbeat_writes": 3,
        "heartbeat_failures": 0,
        **keys,
    }


@pytest.fixture
def written(project):
    """Write metrics: dicts as lines, texts as they are."""

    def write(*lines: dict | str, task: str = "task-1", end: str = "\n") -> None:
        folder = project.root / ".runs" / task
        folder.mkdir(parents=True, exist_ok=True)
        texts = [one if isinstance(one, str) else json.dumps(one) for one in lines]
        (folder / "metrics.json").write_text("\n".join(texts) + end)

    return write


@pytest.fixture
def metrics(said):
    """``metrics --format json``."""

    def run(*words: str) -> dict:
        code, out, err = said("metrics", *words, "--format", "json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


# ------------------------------------------------------------------ real runs


def test_it_agrees_with_the_summary_that_runs_keep(project, metrics):
    project.pipelines(
        good=[{"id": "spec-guard", "command": "true"}],
        bad=["true", "false", "true"],
        mend=["test -e mended"],
    )
    codes = [project.start(name).exit_code for name in ("good", "bad", "mend", "good")]
    assert codes == [0, 1, 1, 0]
    (project.root / "mended").touch()
    third = project.runs()[2].name
    assert project.resume(run=third).exit_code == 0
    folder = project.root / ".runs" / "task-1"
    summary = json.loads((folder / "metrics-summary.json").read_text())
    document = metrics()
    assert {key: document[key] for key in SHARED if not key.startswith("average")} == {
        key: summary[key] for key in SHARED if not key.startswith("average")
    }
    assert document["average_duration_seconds"] == pytest.approx(summary["average_duration_seconds"])
    assert len((folder / "metrics.json").read_text().splitlines()) == 5
    assert document["entries_total"] == 4
    assert (document["entries_succeeded"], document["entries_failed"]) == (3, 1)
    assert document["entries_resumed"] == 1
    assert document["guardrail_coverage"] == 0.5
    assert (document["commands_passed"], document["commands_failed"]) == (4, 1)
    assert [run["pipeline_id"] for run in document["latest_runs"]] == ["mend", "good", "bad", "good"]
    assert document["latest_runs"][0] == {
        "run_id": third,
        "pipeline_id": "mend",
        "status": "succeeded",
        "started_at": document["latest_runs"][0]["started_at"],
        "completed_at": document["latest_runs"][0]["completed_at"],
        "duration_seconds": document["latest_runs"][0]["duration_seconds"],
        "guardrails_present": False,
        "resumed": True,
        "artifact_path": f".runs/task-1/cli/{third}",
    }
    assert [(each["pipeline_id"], each["entries_total"]) for each in document["pipelines"]] == [
        ("bad", 1),
        ("good", 2),
        ("mend", 1),
    ]
    assert document["queued"] == 0


def test_nothing_is_written_or_changed(project, written, metrics):
    written(line("a"), "garbage")
    before = {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}
    metrics()
    assert {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()} == before


# ------------------------------------------------------------------ figures


def test_figures(written, metrics):
    written(
        line("a", duration_seconds=1.0, guardrails_present=True),
        line("b", "failed", duration_seconds=2.0, commands_failed=1),
        line("c", "cancelled", duration_seconds=6.0, heartbeat_failures=1),
        line("d", pipeline_id="other", duration_seconds=3.0),
    )
    document = metrics()
    expected = {
        "entries_total": 4,
        "entries_succeeded": 2,
        "entries_failed": 1,
        "entries_cancelled": 1,
        "entries_resumed": 0,
        "success_rate": 0.5,
        "guardrail_coverage": 0.25,
        "average_duration_seconds": 3.0,
        "median_duration_seconds": 2.5,
        "longest_duration_seconds": 6.0,
        "commands_passed": 8,
        "commands_failed": 1,
        "commands_skipped": 4,
        "heartbeat_writes": 12,
        "heartbeat_failures": 1,
    }
    assert {key: document[key] for key in expected} == expected
    assert document["pipelines"] == [
        {
            "pipeline_id": "other",
            "entries_total": 1,
            "success_rate": 1.0,
            "average_duration_seconds": 3.0,
        },
        {
            "pipeline_id": "work",
            "entries_total": 3,
            "success_rate": 1 / 3,
            "average_duration_seconds": 3.0,
        },
    ]


def test_the_text_says_the_same(written, said):
    written(
        line("a", guardrails_present=True),
        line("b", "failed", duration_seconds=2.0, commands_failed=1),
        line("b", duration_seconds=4.0, resumed=True, attempts=2),
        "garbage",
    )
    code, out, err = said("metrics")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Task: task-1 (.runs/task-1/metrics.json)",
        "Runs: 2 (2 succeeded, 0 failed, 0 cancelled, 1 resumed)",
        "Success rate: 100.0%",
        "Guardrail coverage: 50.0%",
        "Duration: average 2.5 s, median 2.5 s, longest 4.0 s",
        "Stages: 4 passed, 0 failed, 2 skipped",
        "Heartbeats: 6 written, 0 failed",
        "Pipelines:",
        "  work: 100.0% of 2 succeeded, 2.5 s on average",
        "Latest runs:",
        "  b  work  succeeded, 4.0 s, resumed",
        "  a  work  succeeded, 1.0 s, guarded",
        "Lines that cannot be read, and are left out:",
        "  line 4: Expecting value: line 1 column 1 (char 0): garbage",
    ]


def test_a_later_line_of_a_run_stands_for_its_earlier_ones(written, metrics):
    written(line("a", "failed"), line("b"), line("a", "cancelled", resumed=True), line("a", resumed=True))
    document = metrics()
    assert (document["entries_total"], document["success_rate"]) == (2, 1.0)
    assert [run["run_id"] for run in document["latest_runs"]] == ["a", "b"]


def test_the_latest_runs_are_ten_newest_first(written, metrics):
    written(*(line(f"r{number:02}") for number in range(25)))
    document = metrics()
    assert document["entries_total"] == 25
    assert [run["run_id"] for run in document["latest_runs"]] == [f"r{n:02}" for n in range(24, 14, -1)]


# ------------------------------------------------------------------ lines of any kind


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("garbage", "line 2: Expecting value: line 1 column 1 (char 0): garbage"),
        ('{"run_id": "b", "status"', "line 2: "),
        ("[]", "line 2: no run_id: []"),
        ('{"status": "succeeded"}', 'line 2: no run_id: {"status": "succeeded"}'),
        ('{"run_id": "b", "duration_seconds": NaN}', "line 2: duration_seconds is no number: "),
        ('{"run_id": "b", "attempts": "two"}', "line 2: attempts is no number: "),
        ("[" * 100_000, "line 2: "),
        ("\x00\ufffd", "line 2: "),
    ],
)
def test_a_line_that_cannot_be_read_is_reported_and_left_out(written, metrics, said, bad, why):
    written(line("a"), bad, "", line("c"))
    document = metrics()
    assert document["entries_total"] == 2
    (error,) = document["parse_errors"]
    assert error.startswith(why)
    assert len(error) < 300
    code, out, _ = said("metrics")
    assert code == 0
    assert f"  {printable(error)}" in out


@pytest.mark.parametrize(
    ("end", "total"),
    [('\n{"run_id": "b", "sta', 1), ("\n" + json.dumps(line("b")), 2), ("\n\n\n", 1), ("", 1)],
    ids=["torn", "no-newline", "blank", "one"],
)
def test_a_last_line_that_its_writer_died_in_is_no_line(written, metrics, end, total):
    written(line("a"), end=end)
    document = metrics()
    assert (document["entries_total"], document["parse_errors"]) == (total, [])


def test_lines_of_the_node_tool_lack_what_ours_have(written, metrics, said):
    written({"run_id": "n", "status": "succeeded", "duration_seconds": 5, "guardrails_present": True})
    document = metrics()
    assert (document["entries_total"], document["success_rate"]) == (1, 1.0)
    assert document["guardrail_coverage"] == 1.0
    assert document["average_duration_seconds"] == 5
    assert (document["commands_passed"], document["heartbeat_writes"]) == (0, 0)
    assert document["latest_runs"][0]["resumed"] is None
    assert "  n  None  succeeded, 5.0 s, guarded" in said("metrics")[1].splitlines()


def test_values_of_other_types_count_as_none(written, metrics, said):
    written(line("a", commands_passed="many", heartbeat_writes=None, status=["odd"], pipeline_id={"a": 1}))
    document = metrics()
    assert (document["entries_total"], document["commands_passed"], document["heartbeat_writes"]) == (1, 0, 0)
    assert said("metrics")[0] == 0


# ------------------------------------------------------------------ which task


def test_the_task_is_the_one_that_is_named(written, metrics):
    written(line("a"), task="task-1")
    written(line("b"), line("c"), task="task-2")
    assert metrics()["entries_total"] == 1
    document = metrics("--task", "task-2")
    assert (document["task_id"], document["entries_total"]) == ("task-2", 2)
    assert document["metrics_file"] == ".runs/task-2/metrics.json"


def test_a_task_without_runs_has_none(project, metrics, said):
    document = metrics("--task", "none")
    assert document["entries_total"] == 0
    assert document["success_rate"] == document["median_duration_seconds"] == 0.0
    assert document["latest_runs"] == document["pipelines"] == []
    assert said("metrics", "--task", "none") == (
        0,
        "Task: none (.runs/none/metrics.json)\nNo finished run is recorded.\n",
        "",
    )
    assert not (project.root / ".runs").exists()


def test_what_waits_to_be_merged_is_told(project, written, metrics, said):
    written(line("a"))
    pending = project.root / ".runs" / "task-1" / "metrics.pending"
    pending.mkdir()
    (pending / "b.json").write_text(json.dumps(line("b")) + "\n")
    (pending / "c.merged").write_text(json.dumps(line("c")) + "\n")
    document = metrics()
    assert (document["entries_total"], document["queued"]) == (1, 1)
    assert "Not merged yet: 1; the next run does it, or codex-orchestrator gc." in said("metrics")[1]


def test_a_file_that_cannot_be_read_is_refused(project, said):
    (project.root / ".runs" / "task-1" / "metrics.json").mkdir(parents=True)
    code, out, err = said("metrics", "--format", "json")
    assert code == 2
    message = f"{project.root}/.runs/task-1/metrics.json is a folder where a file belongs."
    hint = "Remove it, or put a file in its place."
    assert json.loads(out)["error"] == {"code": "misplaced", "message": message, "hint": hint}
    assert err == f"error: {message}\n{hint}\n"


def test_a_task_id_that_is_none_is_refused(said):
    assert said("metrics", "--task", "a/b")[0] == 2
