"""The samples of requests and the drift report: nothing is lost, and nothing counts twice."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files, ledger
from codex_orchestrator.evidence.journal import Journal, RunRecords, merge_queued
from codex_orchestrator.evidence.pending_records import record_name
from codex_orchestrator.model.codec import camel_keys, dumps_line, to_json
from codex_orchestrator.model.control_plane import ControlPlane, RequestProblem, control_plane_of
from codex_orchestrator.model.explain import explain
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.rules.run_request import KEPT_ENTRIES, DriftReport, sample_of
from tests.support.builders import metrics_line_of, summary_of
from tests.support.disk import Death

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

NOW = "2026-11-21T03:00:00.000Z"
PROBLEM = RequestProblem("$.task.tags[0]", "must be a text that is not blank")


def found(run_id: str, *, valid=True, mode="shadow", minute=0) -> ControlPlane:
    moment = f"2026-11-21T02:{minute:02}:00.000Z"
    return control_plane_of(run_id, () if valid else (PROBLEM,), mode=mode, timestamp=moment)


def queue(journal: Journal, found: ControlPlane, attempts: int = 1) -> None:
    """Leave a run's summary, in which its sample is."""
    checked = camel_keys(to_json(found))
    summary = replace(summary_of(found.request_id), timestamp=NOW, control_plane=checked)
    journal.history.queue(summary, attempts)


def queue_as_once(task: TaskLayout, found: ControlPlane, attempts: int = 1) -> None:
    """Leave a run's sample as earlier versions did, in a file of its own."""
    task.drift_pending.mkdir(parents=True, exist_ok=True)
    path = task.drift_pending / f"{record_name(found.request_id, attempts)}.json"
    path.write_text(dumps_line(to_json(sample_of(found.request_id, found.validation, NOW))))


@pytest.fixture
def journal(task) -> Journal:
    return Journal(task, FakeClock())


def record(journal: Journal, *samples: ControlPlane, attempts=1) -> None:
    for sample in samples:
        queue(journal, sample, attempts)
    assert journal.merge_now(lambda _run_id: True) is True


def report(task: TaskLayout) -> dict:
    document = json.loads(task.drift.read_bytes())
    assert explain(DriftReport, document) == []
    assert document["covered_bytes"] == task.drift_samples.stat().st_size
    return document


def ids(task: TaskLayout) -> list[str]:
    return [json.loads(line)["request_id"] for line in task.drift_samples.read_bytes().splitlines()]


def figures(task: TaskLayout) -> tuple[int, int]:
    document = report(task)
    return document["total_samples"], document["invalid_samples"]


def test_the_report_in_full(task, journal):
    record(
        journal,
        found("r1", minute=1),
        found("r2", minute=2, valid=False, mode="enforce"),
        found("r3", minute=3),
        found("r4", minute=4),
    )
    error = {"path": "$.task.tags[0]", "message": "must be a text that is not blank"}
    assert report(task) == {
        "schema_id": "codex.control-plane.run-request",
        "schema_version": "2.0.0",
        "total_samples": 4,
        "invalid_samples": 1,
        "invalid_rate": 0.25,
        "last_sampled_at": "2026-11-21T02:04:00.000Z",
        "mode": "shadow",
        "entries": [
            {
                "request_id": "r2",
                "timestamp": "2026-11-21T02:02:00.000Z",
                "status": "failed",
                "mode": "enforce",
                "errors": [error],
                "recorded_at": NOW,
            }
        ],
        "covered_bytes": task.drift_samples.stat().st_size,
    }
    assert ids(task) == ["r1", "r2", "r3", "r4"]
    assert not any(task.history_pending.iterdir())
    assert not task.drift_pending.exists()
    drift = journal.report_with(found("r5", minute=5), 1)
    assert (drift.report_path, drift.total_samples, drift.invalid_rate) == (
        "out/t/control-plane/drift.json",
        5,
        0.2,
    )
    assert drift.last_sampled_at == "2026-11-21T02:05:00.000Z"


def test_where_none_has_failed_the_latest_is_shown(task, journal):
    record(journal, found("r1"), found("r2", minute=1))
    assert [entry["request_id"] for entry in report(task)["entries"]] == ["r2"]
    record(journal, found("r3", minute=2))
    assert [(entry["request_id"], entry["status"]) for entry in report(task)["entries"]] == [("r3", "passed")]
    record(journal, found("r4", minute=3, valid=False))
    record(journal, found("r5", minute=4))
    assert [entry["request_id"] for entry in report(task)["entries"]] == ["r4"]


def test_only_the_latest_entries_are_kept(task, journal):
    for number in range(KEPT_ENTRIES + 5):
        record(journal, found(f"r{number}", valid=False))
    kept = [entry["request_id"] for entry in report(task)["entries"]]
    assert kept == [f"r{number}" for number in range(5, KEPT_ENTRIES + 5)]
    assert figures(task) == (KEPT_ENTRIES + 5, KEPT_ENTRIES + 5)


def test_what_was_checked_last_counts_last_whenever_it_is_merged(task, journal):
    record(journal, found("r2", minute=9, mode="enforce"))
    record(journal, found("r1", minute=1))
    document = report(task)
    assert (document["last_sampled_at"], document["mode"]) == ("2026-11-21T02:09:00.000Z", "enforce")


def test_one_by_one_counts_as_all_at_once(task, journal):
    for number in range(20):
        record(journal, found(f"r{number}", valid=number % 3 > 0, minute=number))
    step_by_step = report(task)
    task.drift.unlink()
    record(journal)
    assert report(task) == step_by_step


def test_a_run_that_is_resumed_counts_once_as_it_was_found_last(task, journal):
    record(journal, found("r1", valid=False), found("r2"))
    assert figures(task) == (2, 1)
    record(journal, found("r1", minute=5), attempts=2)
    assert figures(task) == (2, 0)
    assert [entry["status"] for entry in report(task)["entries"]] == ["passed"]
    record(journal, found("r1", valid=False, minute=6), attempts=3)
    assert figures(task) == (2, 1)
    before = report(task)
    task.drift.unlink()
    record(journal)
    assert report(task) == before


NODE = {
    "schema_id": "codex.control-plane.run-request",
    "schema_version": "2.0.0",
    "total_samples": 7,
    "invalid_samples": 7,
    "invalid_rate": 1,
    "last_sampled_at": None,
    "mode": "shadow",
    "entries": [],
}


@pytest.mark.parametrize(
    "text", [None, "", "not JSON", "[]", "{}", "shrunk", json.dumps(NODE), "[" * 100_000]
)
def test_a_report_that_cannot_be_trusted_is_made_anew(task, journal, text):
    record(journal, found("r1"), found("r2", valid=False))
    whole = report(task)
    if text is None:
        task.drift.unlink()
    elif text == "shrunk":
        task.drift.write_text(json.dumps({**whole, "covered_bytes": 10**9}))
    else:
        task.drift.write_text(text)
    record(journal)
    assert report(task) == whole


def test_what_is_covered_is_not_read_again(task, journal):
    record(journal, found("r1", valid=False), found("r2"))
    task.drift_samples.write_bytes(b"x" * task.drift_samples.stat().st_size)
    record(journal, found("r3"))
    assert figures(task) == (3, 1)


@pytest.mark.parametrize("bad", [b"not JSON", b"[]", b"{}", b'{"request_id": 5}', b"\xff", b"[" * 100_000])
def test_a_line_that_is_no_sample_is_passed_over(task, journal, bad):
    record(journal, found("r1"))
    with task.drift_samples.open("ab") as samples:
        samples.write(bad + b"\n")
    record(journal, found("r2"))
    assert figures(task) == (2, 0)


@pytest.mark.parametrize("cut", [1, 10, -2, -1])
def test_a_torn_last_line_is_mended_and_costs_nothing(task, journal, cut):
    """A merger died while it wrote the line of r2, whose pending file is still there."""
    record(journal, found("r1"))
    queue(journal, found("r2"))
    line = dumps_line(to_json(sample_of("r2", found("r2").validation, NOW))).encode()
    with task.drift_samples.open("ab") as samples:
        samples.write(line[:cut])
    record(journal, found("r3"))
    assert sorted(ids(task)) == ["r1", "r2", "r3"]
    assert figures(task) == (3, 0)


# ------------------------------------------------------------------ records of earlier versions


@pytest.mark.parametrize("later", ["run", "gc"])
def test_a_sample_that_an_earlier_version_left_is_merged_by_a_later_run(task, journal, later):
    queue_as_once(task, found("dead", valid=False))
    if later == "gc":
        assert merge_queued(task, FakeClock()) is True
        assert figures(task) == (1, 1)
    else:
        drift = journal.report_with(found("r1"), 1)
        assert (drift.total_samples, drift.invalid_samples) == (2, 1)
        record(journal, found("r1"))
        assert figures(task) == (2, 1)
        assert sorted(ids(task)) == ["dead", "r1"]
    assert not any(task.drift_pending.iterdir())


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("at", ["queued", "merged"])
def test_a_sample_that_came_by_itself_and_with_its_summary_counts_once(task, journal, attempts, at):
    """An earlier version died after it had left the sample, and before or after that was merged."""
    record(journal, found("r0"))
    queue_as_once(task, found("r1", valid=False), attempts)
    if at == "merged":
        record(journal)
    record(journal, found("r1", valid=False), attempts=attempts)
    assert figures(task) == (2, 1)
    assert ids(task) == ["r0", "r1"]
    assert not any(task.drift_pending.iterdir())


# ------------------------------------------------------------------ deaths and refusals


CALLS = ((ledger, "append"), (files, "replace"), (files, "remove"))


def steps_of_a_merge(patch, at: int, how: str) -> list[str]:
    """Have the call of that number be a merger's last, or be refused; the files of the calls as they come."""
    calls: list[str] = []

    def step(name, real, path, *arguments, **keywords):
        calls.append(f"{name} {path.name}")
        if len(calls) - 1 != at:
            return real(path, *arguments, **keywords)
        if how == "refused":
            raise StorageError(f"Cannot write {path}: full.")
        if how == "after":
            real(path, *arguments, **keywords)
        if how == "torn" and name == "append":
            real(path, arguments[0][: len(arguments[0]) * 2 // 3], **keywords)
        raise Death

    for module, name in CALLS:
        patch.setattr(module, name, partial(step, name, getattr(module, name)))
    return calls


def queue_three(journal: Journal, task: TaskLayout) -> None:
    record(journal, found("r0"), found("r1", valid=False))
    queue(journal, found("r1", minute=5), 2)
    queue(journal, found("r2", valid=False))
    queue_as_once(task, found("r3"))


STEPS = [
    "append samples.ndjson",
    "remove r3.json",
    "replace drift.json",
    "append runs.ndjson",
    "remove r1.2.json",
    "remove r2.json",
    "replace state.json",
    "replace runs-index.json",
]


def test_the_steps_below_are_all_there_are(task, journal):
    queue_three(journal, task)
    with pytest.MonkeyPatch.context() as patch:
        calls = steps_of_a_merge(patch, -1, "before")
        assert journal.merge_now(lambda _run_id: True)
    assert calls == STEPS


@pytest.mark.parametrize("how", ["before", "after", "torn", "refused"])
@pytest.mark.parametrize("at", range(len(STEPS)))
def test_a_merger_may_end_at_any_step(task, journal, at, how):
    queue_three(journal, task)
    with pytest.MonkeyPatch.context() as patch:
        steps_of_a_merge(patch, at, how)
        with pytest.raises((Death, StorageError)):
            journal.merge_now(lambda _run_id: True)
    # Whoever comes now is told what will be counted.
    drift = journal.report_with(found("r4"), 1)
    assert (drift.total_samples, drift.invalid_samples) == (5, 1)
    record(journal, found("r4"))
    assert sorted(ids(task)) == ["r0", "r1", "r1", "r2", "r3", "r4"]
    assert figures(task) == (5, 1)
    assert not any(task.drift_pending.iterdir())
    assert not any(task.history_pending.iterdir())


# ------------------------------------------------------------------ what a run does


def run_of(task: TaskLayout, run_id: str) -> RunRecords:
    layout = task.run(run_id)
    layout.folder.mkdir(exist_ok=True)
    return RunRecords(layout, FakeClock(), lambda: None)


def test_a_run_is_counted_in_the_report_that_it_is_given_and_nothing_is_written_for_it(task, journal):
    record(journal, found("r1", valid=False))
    before = report(task)
    drift = run_of(task, "r2").report_with(found("r2"), 1)
    assert (drift.total_samples, drift.invalid_samples) == (2, 1)
    assert report(task) == before


def test_a_run_is_told_of_those_that_wait(task, journal):
    record(journal, found("r1"))
    queue(journal, found("r2", valid=False))
    drift = run_of(task, "r3").report_with(found("r3"), 1)
    assert (drift.total_samples, drift.invalid_samples) == (3, 1)


def test_a_resumed_run_counts_once_in_the_report_that_it_is_given(task, journal):
    record(journal, found("r1", valid=False), found("r2"))
    drift = run_of(task, "r1").report_with(found("r1", minute=5), 2)
    assert (drift.total_samples, drift.invalid_samples) == (2, 0)


def test_a_report_that_cannot_be_read_is_left_out_and_told_of_when_records_are_merged(task, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    task.control_plane_dir.symlink_to(tmp_path / "elsewhere")
    run = run_of(task, "r1")
    assert run.report_with(found("r1"), 1) is None
    assert run.queue(metrics_line_of("r1"), summary_of("r1")) == []
    recording = run.merge()
    (warning,) = recording.warnings
    assert warning.startswith("Records not merged yet, they stay queued: ")
    assert "control-plane" in warning
    # What stands before it in the pass is done, and nothing is lost of the rest.
    assert (recording.recorded, run.is_queued) == (True, True)
    task.control_plane_dir.unlink()
    assert run.merge().warnings == ()
    assert (figures(task), run.is_queued) == ((1, 0), False)


@pytest.mark.parametrize(
    "checked",
    [
        None,
        {},
        {"requestId": "r1"},
        camel_keys(to_json(found("another"))),
        {**camel_keys(to_json(found("r1"))), "validation": None},
    ],
)
def test_a_summary_without_a_request_of_its_run_has_no_sample(task, journal, checked):
    journal.history.queue(replace(summary_of("r1"), control_plane=checked))
    assert journal.merge_now(lambda _run_id: True) is True
    assert json.loads(task.history.read_bytes())["runId"] == "r1"
    assert not task.control_plane_dir.exists()


def test_a_task_without_samples_gets_no_files(task):
    assert merge_queued(task, FakeClock()) is True
    assert not task.control_plane_dir.exists()
