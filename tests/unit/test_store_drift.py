"""The samples of requests and the drift report: nothing is lost, and nothing counts twice."""

from __future__ import annotations

import json
from functools import partial

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files, journal, locks
from codex_orchestrator.evidence.drift import DriftReporter
from codex_orchestrator.evidence.run_records import RunRecords, merge_queued
from codex_orchestrator.model.control_plane import ControlPlane, RequestProblem, control_plane_of
from codex_orchestrator.model.explain import explain
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.rules.run_request import KEPT_ENTRIES, DriftReport
from tests.support.disk import Death

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

NOW = "2026-11-21T03:00:00.000Z"
PROBLEM = RequestProblem("$.task.tags[0]", "must be a text that is not blank")


def found(run_id: str, *, valid=True, mode="shadow", minute=0) -> ControlPlane:
    moment = f"2026-11-21T02:{minute:02}:00.000Z"
    return control_plane_of(run_id, () if valid else (PROBLEM,), mode=mode, timestamp=moment)


@pytest.fixture
def reporter(task) -> DriftReporter:
    return DriftReporter(task)


def record(reporter: DriftReporter, *samples: ControlPlane, attempts=1) -> None:
    for sample in samples:
        reporter.queue(sample, attempts, recorded_at=NOW)
    assert reporter.merge_now(lambda _run_id: True) is True


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


def test_the_report_in_full(task, reporter):
    record(
        reporter,
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
    assert not any(task.drift_pending.iterdir())
    drift = reporter.read()
    assert (drift.report_path, drift.total_samples, drift.invalid_rate) == (
        "out/t/control-plane/drift.json",
        4,
        0.25,
    )


def test_where_none_has_failed_the_latest_is_shown(task, reporter):
    record(reporter, found("r1"), found("r2", minute=1))
    assert [entry["request_id"] for entry in report(task)["entries"]] == ["r2"]
    record(reporter, found("r3", minute=2))
    assert [(entry["request_id"], entry["status"]) for entry in report(task)["entries"]] == [("r3", "passed")]
    record(reporter, found("r4", minute=3, valid=False))
    record(reporter, found("r5", minute=4))
    assert [entry["request_id"] for entry in report(task)["entries"]] == ["r4"]


def test_only_the_latest_entries_are_kept(task, reporter):
    for number in range(KEPT_ENTRIES + 5):
        record(reporter, found(f"r{number}", valid=False))
    kept = [entry["request_id"] for entry in report(task)["entries"]]
    assert kept == [f"r{number}" for number in range(5, KEPT_ENTRIES + 5)]
    assert figures(task) == (KEPT_ENTRIES + 5, KEPT_ENTRIES + 5)


def test_what_was_checked_last_counts_last_whenever_it_is_merged(task, reporter):
    record(reporter, found("r2", minute=9, mode="enforce"))
    record(reporter, found("r1", minute=1))
    document = report(task)
    assert (document["last_sampled_at"], document["mode"]) == ("2026-11-21T02:09:00.000Z", "enforce")


def test_one_by_one_counts_as_all_at_once(task, reporter):
    for number in range(20):
        record(reporter, found(f"r{number}", valid=number % 3 > 0, minute=number))
    step_by_step = report(task)
    task.drift.unlink()
    record(reporter)
    assert report(task) == step_by_step


def test_a_run_that_is_resumed_counts_once_as_it_was_found_last(task, reporter):
    record(reporter, found("r1", valid=False), found("r2"))
    assert figures(task) == (2, 1)
    record(reporter, found("r1", minute=5), attempts=2)
    assert figures(task) == (2, 0)
    assert [entry["status"] for entry in report(task)["entries"]] == ["passed"]
    record(reporter, found("r1", valid=False, minute=6), attempts=3)
    assert figures(task) == (2, 1)
    before = report(task)
    task.drift.unlink()
    record(reporter)
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
def test_a_report_that_cannot_be_trusted_is_made_anew(task, reporter, text):
    record(reporter, found("r1"), found("r2", valid=False))
    whole = report(task)
    if text is None:
        task.drift.unlink()
    elif text == "shrunk":
        task.drift.write_text(json.dumps({**whole, "covered_bytes": 10**9}))
    else:
        task.drift.write_text(text)
    record(reporter)
    assert report(task) == whole


def test_what_is_covered_is_not_read_again(task, reporter):
    record(reporter, found("r1", valid=False), found("r2"))
    task.drift_samples.write_bytes(b"x" * task.drift_samples.stat().st_size)
    record(reporter, found("r3"))
    assert figures(task) == (3, 1)


@pytest.mark.parametrize("bad", [b"not JSON", b"[]", b"{}", b'{"request_id": 5}', b"\xff", b"[" * 100_000])
def test_a_line_that_is_no_sample_is_passed_over(task, reporter, bad):
    record(reporter, found("r1"))
    with task.drift_samples.open("ab") as samples:
        samples.write(bad + b"\n")
    record(reporter, found("r2"))
    assert figures(task) == (2, 0)


@pytest.mark.parametrize("cut", [1, 10, -2, -1])
def test_a_torn_last_line_is_mended_and_costs_nothing(task, reporter, cut):
    """A merger died while it wrote the line of r2, whose pending file is still there."""
    record(reporter, found("r1"))
    reporter.queue(found("r2"), 1, recorded_at=NOW)
    line = (task.drift_pending / "r2.json").read_bytes()
    with task.drift_samples.open("ab") as samples:
        samples.write(line[:cut])
    record(reporter, found("r3"))
    assert sorted(ids(task)) == ["r1", "r2", "r3"]
    assert figures(task) == (3, 0)


# ------------------------------------------------------------------ deaths and refusals


CALLS = ((journal, "append"), (files, "replace"), (files, "remove"))


def steps_of_a_merge(patch, at: int, how: str) -> list[str]:
    """Have the call of that number be a merger's last, or be refused; the names of the calls as they come."""
    calls: list[str] = []

    def step(name, real, path, *arguments, **keywords):
        calls.append(name)
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


def queue_three(reporter: DriftReporter) -> None:
    record(reporter, found("r0"), found("r1", valid=False))
    reporter.queue(found("r1", minute=5), 2, recorded_at=NOW)
    reporter.queue(found("r2", valid=False), 1, recorded_at=NOW)
    reporter.queue(found("r3"), 1, recorded_at=NOW)


STEPS = ["append", "remove", "remove", "remove", "replace"]


def test_the_steps_below_are_all_there_are(task, reporter):
    queue_three(reporter)
    with pytest.MonkeyPatch.context() as patch:
        calls = steps_of_a_merge(patch, -1, "before")
        assert reporter.merge_now(lambda _run_id: True)
    assert calls == STEPS


@pytest.mark.parametrize("how", ["before", "after", "torn", "refused"])
@pytest.mark.parametrize("at", range(len(STEPS)))
def test_a_merger_may_end_at_any_step(task, reporter, at, how):
    queue_three(reporter)
    with pytest.MonkeyPatch.context() as patch:
        steps_of_a_merge(patch, at, how)
        with pytest.raises((Death, StorageError)):
            reporter.merge_now(lambda _run_id: True)
    record(reporter, found("r4"))
    assert sorted(ids(task)) == ["r0", "r1", "r1", "r2", "r3", "r4"]
    assert figures(task) == (5, 1)
    assert not any(task.drift_pending.iterdir())


# ------------------------------------------------------------------ what a run does


def run_of(task: TaskLayout, run_id: str) -> RunRecords:
    layout = task.run(run_id)
    layout.folder.mkdir()
    return RunRecords(layout, FakeClock(), lambda: None)


def test_a_run_is_counted_in_the_report_that_it_is_given(task):
    run_of(task, "r1").sample(found("r1", valid=False), 1)
    drift, warnings = run_of(task, "r2").sample(found("r2"), 1)
    assert (drift.total_samples, drift.invalid_samples, warnings) == (2, 1, [])


def test_beside_one_who_holds_the_lock_a_run_is_given_what_there_is_and_counted_later(task, impatient):
    run_of(task, "r1").sample(found("r1"), 1)
    run = run_of(task, "r2")
    with locks.held_lock(task.drift_lock, below=task.environment.out_dir) as held:
        assert held
        drift, warnings = run.sample(found("r2"), 1)
        assert (drift.total_samples, warnings, run.is_queued) == (1, [], True)
        assert run.merge().warnings == (
            "Drift report not merged yet, the record is queued: another run holds the lock.",
        )
        assert run.is_queued
    assert figures(task) == (1, 0)
    assert run.merge().warnings == ()
    assert (figures(task), run.is_queued) == ((2, 0), False)


@pytest.mark.parametrize("later", ["run", "gc"])
def test_what_a_dead_run_has_queued_is_merged_by_a_later_one(task, reporter, later):
    reporter.queue(found("dead", valid=False), 1, recorded_at=NOW)
    if later == "gc":
        assert merge_queued(task, FakeClock()) is True
        assert figures(task) == (1, 1)
    else:
        drift, _ = run_of(task, "r1").sample(found("r1"), 1)
        assert (drift.total_samples, drift.invalid_samples) == (2, 1)


def test_a_sample_that_is_refused_is_a_warning_once(task):
    run = run_of(task, "r1")
    with pytest.MonkeyPatch.context() as patch:
        steps_of_a_merge(patch, 0, "refused")
        drift, warnings = run.sample(found("r1"), 1)
    assert drift is None
    assert [warning.partition(" /")[0] for warning in warnings] == ["Record not queued: Cannot write"]
    assert run.merge().warnings == ()
    assert not task.drift.exists()


QUEUED_AND_MERGED = ["replace", "append", "remove", "replace"]


def test_the_steps_of_a_sample(task):
    with pytest.MonkeyPatch.context() as patch:
        calls = steps_of_a_merge(patch, -1, "before")
        run_of(task, "r1").sample(found("r1"), 1)
    assert calls == QUEUED_AND_MERGED


@pytest.mark.parametrize("at", range(1, len(QUEUED_AND_MERGED)))
def test_a_merge_that_is_refused_is_made_good_by_the_next_attempt(task, at):
    run = run_of(task, "r1")
    with pytest.MonkeyPatch.context() as patch:
        steps_of_a_merge(patch, at, "refused")
        assert run.sample(found("r1"), 1) == (None, [])
    assert run.merge().warnings == ()
    assert (figures(task), run.is_queued) == ((1, 0), False)


@pytest.mark.parametrize("at", range(1, len(QUEUED_AND_MERGED)))
def test_a_merge_that_is_refused_twice_is_a_warning_and_made_good_by_a_later_run(task, at):
    run = run_of(task, "r1")
    with pytest.MonkeyPatch.context() as patch:
        steps_of_a_merge(patch, at, "refused")
        assert run.sample(found("r1"), 1) == (None, [])
    with pytest.MonkeyPatch.context() as patch:
        calls = steps_of_a_merge(patch, 0, "refused")
        (warning,) = run.merge().warnings
    assert warning.startswith("Drift report not merged yet, the record is queued: Cannot write")
    assert len(calls) == 1
    run_of(task, "r2").sample(found("r2"), 1)
    assert figures(task) == (2, 0)


def test_a_task_without_samples_gets_no_files(task):
    assert merge_queued(task, FakeClock()) is True
    assert not task.control_plane_dir.exists()
