"""The records of finished runs: nothing is lost and nothing counts twice, whoever dies when."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files, journal, ledger, locks
from codex_orchestrator.evidence.coordinator import mark_recorded
from codex_orchestrator.evidence.journal import RecordsResult, RunRecords, merge_queued
from codex_orchestrator.evidence.state import TaskStateStore
from codex_orchestrator.model.codec import dumps
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from tests.support.builders import metrics_line_of, summary_of
from tests.support.disk import Death

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

NOW = "2026-11-21T02:44:32.979Z"


class Fate:
    """Calls that change the disk, one of which is the last of its process."""

    CALLS = (
        (ledger, "append"),
        (files, "replace"),
        (files, "remove"),
        (files, "move"),
        (files, "make_folder"),
    )

    def __init__(self, monkeypatch, *, at: int, how: str) -> None:
        self.calls = 0
        self._at = at
        self._how = how
        for module, name in self.CALLS:
            monkeypatch.setattr(module, name, self._deadly(name, getattr(module, name)))

    def _deadly(self, name: str, real):
        def call(path: Path, *arguments, **keywords):
            place, self.calls = self.calls, self.calls + 1
            if place != self._at:
                return real(path, *arguments, **keywords)
            if self._how == "after":
                real(path, *arguments, **keywords)
            elif self._how == "torn" and name == "append":
                real(path, arguments[0][: len(arguments[0]) * 2 // 3], **keywords)
            elif self._how == "refused":
                raise StorageError(f"Cannot write {path}: full.")
            raise Death

        return call


def new_run(task: TaskLayout, run_id: str) -> RunLayout:
    layout = task.run(run_id)
    layout.folder.mkdir()
    layout.manifest.write_text(dumps({"run_id": run_id, "metrics_recorded": False}))
    return layout


def finished(layout: RunLayout) -> RunRecords:
    return RunRecords(layout, FakeClock(), lambda: mark_recorded(layout))


def finish(layout: RunLayout) -> None:
    """All that a run does with its records."""
    run = finished(layout)
    assert run.queue(metrics_line_of(layout.run_id), summary_of(layout.run_id)) == []
    recording = run.merge()
    assert (recording.recorded, recording.warnings) == (True, ())


def assert_recorded(task: TaskLayout, *run_ids: str) -> None:
    """Every run exactly once, in all three files and all three aggregates."""
    journal = [one for one in task.metrics.read_bytes().splitlines() if _is_json(one)]
    assert sorted(json.loads(one)["run_id"] for one in journal) == sorted(run_ids)
    history = [one for one in task.history.read_bytes().splitlines() if _is_json(one)]
    assert sorted(json.loads(one)["runId"] for one in history) == sorted(run_ids)
    metrics = json.loads(task.metrics_summary.read_bytes())
    assert metrics["entries_total"] == metrics["entries_succeeded"] == len(run_ids)
    assert metrics["average_duration_seconds"] == pytest.approx(2.0)
    assert (metrics["success_rate"], metrics["guardrail_coverage"]) == (1.0, 1.0)
    assert metrics["covered_bytes"] == task.metrics.stat().st_size
    state = json.loads(task.state.read_bytes())
    assert state["totalRuns"] == len(run_ids)
    assert sorted(run["runId"] for run in state["runs"]) == sorted(run_ids)
    assert json.loads(task.state_index.read_bytes()) == {
        "covered_bytes": task.history.stat().st_size,
        "total_runs": len(run_ids),
    }
    samples = [one for one in task.drift_samples.read_bytes().splitlines() if _is_json(one)]
    assert sorted(json.loads(one)["request_id"] for one in samples) == sorted(run_ids)
    drift = json.loads(task.drift.read_bytes())
    assert (drift["total_samples"], drift["invalid_samples"]) == (len(run_ids), 0)
    assert drift["covered_bytes"] == task.drift_samples.stat().st_size
    for folder in (task.metrics_pending, task.history_pending):
        assert list(folder.iterdir()) == []
    for run_id in run_ids:
        manifest = json.loads(task.run(run_id).manifest.read_bytes())
        assert manifest["metrics_recorded"] is True, run_id


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_runs_that_finish_one_after_the_other(task):
    for run_id in ("r1", "r2", "r3"):
        finish(new_run(task, run_id))
    assert_recorded(task, "r1", "r2", "r3")


def test_a_run_whose_record_another_merges_while_it_queues_the_next_one(task, monkeypatch):
    layout = new_run(task, "r1")
    run = finished(layout)
    queued = TaskStateStore.queue

    def beside_another(store: TaskStateStore, *arguments) -> None:
        busy = journal.Journal(task, FakeClock())
        busy.metrics.take_up(busy.metrics.waiting(), lambda _run_id: False)
        queued(store, *arguments)

    monkeypatch.setattr(TaskStateStore, "queue", beside_another)
    assert run.queue(metrics_line_of("r1"), summary_of("r1")) == []
    assert run.merge().recorded
    assert_recorded(task, "r1")


def merging_calls(task: TaskLayout) -> int:
    """How many calls a merge of two runs takes, with one run merged before."""
    with pytest.MonkeyPatch.context() as patch:
        fate = Fate(patch, at=-1, how="before")
        merge_two(task)
        return fate.calls


def merge_two(task: TaskLayout) -> None:
    """Merge two queued runs as the second of them."""
    finished(task.run("r2")).merge()


def queue_two(task: TaskLayout) -> None:
    finish(new_run(task, "r0"))
    for run_id in ("r1", "r2"):
        layout = new_run(task, run_id)
        finished(layout).queue(metrics_line_of(run_id), summary_of(run_id))


CALLS = 16


def test_the_deaths_below_are_all_there_are(task):
    queue_two(task)
    assert merging_calls(task) == CALLS


@pytest.mark.parametrize("how", ["before", "after", "torn"])
@pytest.mark.parametrize("at", range(CALLS))
def test_a_merger_may_die_at_any_step(task, at, how):
    queue_two(task)
    with pytest.MonkeyPatch.context() as patch:
        Fate(patch, at=at, how=how)
        with pytest.raises(Death):
            merge_two(task)
    finish(new_run(task, "r3"))
    assert_recorded(task, "r0", "r1", "r2", "r3")


@pytest.mark.parametrize("at", range(CALLS))
def test_a_first_merger_may_die_at_any_step_and_the_next_one_at_the_next(task, at):
    queue_two(task)
    for step in (at, 0, 1, 2):
        with pytest.MonkeyPatch.context() as patch:
            Fate(patch, at=step, how="after")
            try:
                merge_two(task)
            except Death:
                continue
    finish(new_run(task, "r3"))
    assert_recorded(task, "r0", "r1", "r2", "r3")


@pytest.mark.parametrize("at", range(CALLS))
def test_a_step_that_the_disk_refuses_is_a_warning_and_the_next_merge_makes_it_good(task, at):
    queue_two(task)
    run = finished(task.run("r2"))
    with pytest.MonkeyPatch.context() as patch:
        Fate(patch, at=at, how="refused")
        recording = run.merge()
    assert len(recording.warnings) == 1
    assert "Cannot write" in recording.warnings[0]
    finish(new_run(task, "r3"))
    assert_recorded(task, "r0", "r1", "r2", "r3")


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("at", range(4))
def test_a_run_that_dies_while_it_queues_leaves_whole_records_or_none(task, at, how):
    finish(new_run(task, "r0"))
    layout = new_run(task, "r1")
    with pytest.MonkeyPatch.context() as patch:
        Fate(patch, at=at, how=how)
        with pytest.raises(Death):
            finished(layout).queue(metrics_line_of("r1"), summary_of("r1"))
    finish(new_run(task, "r2"))
    metrics = {json.loads(one)["run_id"] for one in task.metrics.read_bytes().splitlines()}
    history = {json.loads(one)["runId"] for one in task.history.read_bytes().splitlines()}
    # make_folder, replace for the metrics, then the same for the history.
    step = at + (how == "after")
    assert metrics == {"r0", "r2"} | ({"r1"} if step >= 2 else set())
    assert history == {"r0", "r2"} | ({"r1"} if step >= 4 else set())


@pytest.mark.parametrize("at", range(4))
def test_a_record_that_could_not_be_queued_is_not_said_to_be_recorded(task, at):
    layout = new_run(task, "r1")
    run = finished(layout)
    with pytest.MonkeyPatch.context() as patch:
        Fate(patch, at=at, how="refused")
        warnings = run.queue(metrics_line_of("r1"), summary_of("r1"))
    assert len(warnings) == 1
    assert warnings[0].startswith("Record not queued: Cannot write")
    recording = run.merge()
    in_metrics = task.metrics.exists() and b'"r1"' in task.metrics.read_bytes()
    assert recording.recorded is in_metrics is (at >= 2)


def test_a_held_lock_leaves_a_warning_and_the_record(task, impatient):
    layout = new_run(task, "r1")
    run = finished(layout)
    run.queue(metrics_line_of("r1"), summary_of("r1"))
    with locks.held_lock(task.journal_lock, below=task.environment.runs_dir) as held:
        assert held
        recording = run.merge()
    assert recording.recorded is False
    assert recording.warnings == ("Records not merged yet, they stay queued: another run holds the lock.",)
    finish(new_run(task, "r2"))
    assert_recorded(task, "r1", "r2")


def test_metrics_that_cannot_be_written_keep_back_no_summary(task):
    layout = new_run(task, "r1")
    run = finished(layout)
    run.queue(metrics_line_of("r1"), summary_of("r1"))
    task.metrics.mkdir()
    recording = run.merge()
    (warning,) = recording.warnings
    assert warning.startswith("Records not merged yet, they stay queued: ")
    assert "metrics.json" in warning
    assert recording.recorded is False
    assert json.loads(task.state.read_bytes())["totalRuns"] == 1
    assert json.loads(task.drift.read_bytes())["total_samples"] == 1
    task.metrics.rmdir()
    finish(new_run(task, "r2"))
    assert_recorded(task, "r1", "r2")


def test_summaries_that_cannot_be_written_keep_back_no_metrics(task):
    layout = new_run(task, "r1")
    run = finished(layout)
    run.queue(metrics_line_of("r1"), summary_of("r1"))
    task.history.mkdir()
    recording = run.merge()
    assert (recording.recorded, len(recording.warnings), run.is_queued) == (True, 1, True)
    task.history.rmdir()
    finish(new_run(task, "r2"))
    assert_recorded(task, "r1", "r2")


def test_the_records_of_a_run_that_lives_are_merged_and_it_is_left_to_say_so(task):
    living = new_run(task, "r1")
    own = finished(living)
    own.queue(metrics_line_of("r1"), summary_of("r1"))
    with locks.held_lock(living.lock, below=living.base):
        finish(new_run(task, "r2"))
        assert json.loads(living.manifest.read_bytes())["metrics_recorded"] is False
        # It finds that nothing is left to do, without any lock.
        with locks.held_lock(task.journal_lock, below=task.environment.runs_dir):
            assert own.merge() == RecordsResult(recorded=True, warnings=())
    assert mark_recorded(living)
    own.acknowledge()
    assert_recorded(task, "r1", "r2")


def test_a_run_that_dies_before_it_says_that_it_was_merged_is_marked_by_the_next(task):
    living = new_run(task, "r1")
    finished(living).queue(metrics_line_of("r1"), summary_of("r1"))
    with locks.held_lock(living.lock, below=living.base):
        finish(new_run(task, "r2"))
    finish(new_run(task, "r3"))
    assert_recorded(task, "r1", "r2", "r3")


@pytest.mark.parametrize("released_at", range(4))
def test_a_run_that_gives_up_its_lock_while_it_is_merged_is_marked_by_one_of_the_two(task, released_at):
    """The merger has found the run alive, and the run has found nothing to do: both look once more."""
    layout = new_run(task, "r1")
    finished(layout).queue(metrics_line_of("r1"), summary_of("r1"))
    steps = 0
    with pytest.MonkeyPatch.context() as patch, ExitStack() as lock:
        assert lock.enter_context(locks.held_lock(layout.lock, below=layout.base))

        def end():
            lock.close()
            finished(layout).retry_merge()

        def step(real, *arguments, **keywords):
            nonlocal steps
            place, steps = steps, steps + 1
            if place == released_at:
                end()
            return real(*arguments, **keywords)

        for module, name in ((files, "move"), (journal, "mark_recorded")):
            patch.setattr(module, name, partial(step, getattr(module, name)))
        merge_queued(task, FakeClock())
        if steps <= released_at:
            end()
    assert json.loads(layout.manifest.read_bytes())["metrics_recorded"] is True
    assert list(task.metrics_pending.iterdir()) == []


def test_what_was_queued_is_merged_on_demand(task):
    queue_two(task)
    with locks.held_lock(task.journal_lock, below=task.environment.runs_dir):
        assert merge_queued(task, FakeClock()) is False
    assert merge_queued(task, FakeClock()) is True
    assert_recorded(task, "r0", "r1", "r2")


def test_a_run_whose_folder_was_removed_counts_all_the_same(task):
    layout = new_run(task, "r1")
    finished(layout).queue(metrics_line_of("r1"), summary_of("r1"))
    files.remove_tree(layout.folder, below=layout.base)
    finish(new_run(task, "r2"))
    assert json.loads(task.metrics_summary.read_bytes())["entries_total"] == 2
    assert not layout.folder.exists()
