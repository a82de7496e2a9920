"""The metrics journal and its aggregate."""

from __future__ import annotations

import json
import os

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.evidence import files, locks
from codex_orchestrator.evidence.journal import Journal
from codex_orchestrator.model.codec import dumps_line, to_json
from codex_orchestrator.model.explain import explain
from codex_orchestrator.model.manifest import MetricsLine, MetricsSummary
from codex_orchestrator.rules.layout import TaskLayout

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

NOW = "2026-11-21T02:44:32.979Z"


def line(run_id: str, **changes: object) -> MetricsLine:
    values: dict[str, object] = {
        "run_id": run_id,
        "task_id": "t",
        "pipeline_id": "p",
        "status": "succeeded",
        "started_at": NOW,
        "completed_at": NOW,
        "duration_seconds": 2.0,
        "commands_passed": 1,
        "commands_failed": 0,
        "guardrails_present": True,
        "recorded_at": NOW,
        "artifact_path": f".runs/t/cli/{run_id}",
        "child_runs": 0,
        "control_plane_status": "unknown",
        "scheduler_mode": "unknown",
        "instance_stats": (),
        "privacy_mode": "unknown",
        "privacy_log_path": None,
        "privacy_event_count": 0,
        "privacy_events": (),
        "handle_count": 0,
        "commands_skipped": 0,
        "approvals_count": 0,
        "approvals": (),
        "resumed": False,
        "attempts": 1,
        "heartbeat_writes": 2,
        "heartbeat_failures": 0,
    }
    return MetricsLine(**{**values, **changes})


@pytest.fixture
def journal(task) -> Journal:
    return Journal(task, FakeClock())


def record(journal: Journal, *lines: MetricsLine) -> list[str]:
    """Queue lines and merge them; the run ids that were merged."""
    for one in lines:
        journal.metrics.queue(one)
    merged: list[str] = []

    def settle(run_id: str) -> bool:
        merged.append(run_id)
        return True

    assert journal.merge_now(settle) is True
    return merged


def summary(task: TaskLayout) -> dict:
    document = json.loads(task.metrics_summary.read_bytes())
    assert explain(MetricsSummary, document) == []
    assert document["covered_bytes"] == task.metrics.stat().st_size
    return document


def ids(task: TaskLayout) -> list[str]:
    return [json.loads(one)["run_id"] for one in task.metrics.read_bytes().splitlines()]


def test_the_aggregate_in_full(task, journal):
    merged = record(
        journal,
        line("r1"),
        line("r2", status="failed", duration_seconds=5.0, guardrails_present=False),
        line("r3", status="cancelled", duration_seconds=0.5),
    )
    assert merged == ids(task) == ["r1", "r2", "r3"]
    assert summary(task) == {
        "generated_at": "2025-11-21T02:44:32.979Z",
        "task_id": "t",
        "metrics_file": ".runs/t/metrics.json",
        "entries_total": 3,
        "entries_succeeded": 1,
        "entries_failed": 1,
        "success_rate": pytest.approx(1 / 3),
        "guardrail_coverage": pytest.approx(2 / 3),
        "average_duration_seconds": 2.5,
        "parse_errors": [],
        "covered_bytes": task.metrics.stat().st_size,
    }
    assert not any(task.metrics_pending.iterdir())
    assert journal.is_queued("r1") is False


def test_line_by_line_counts_as_all_at_once(task, journal):
    lines = [
        line(
            f"r{place}",
            status=("succeeded", "failed")[place % 2],
            duration_seconds=place / 3,
            guardrails_present=place % 3 == 0,
        )
        for place in range(30)
    ]
    for one in lines:
        assert record(journal, one) == [one.run_id]
    step_by_step = summary(task)
    task.metrics_summary.unlink()
    record(journal)
    at_once = summary(task)
    for key in ("success_rate", "guardrail_coverage", "average_duration_seconds"):
        assert step_by_step.pop(key) == pytest.approx(at_once.pop(key))
    assert step_by_step == at_once


def test_a_merge_with_nothing_to_do_writes_nothing(task, journal, monkeypatch):
    record(journal, line("r1"))
    before = task.metrics_summary.stat().st_ino
    assert record(journal) == []
    assert task.metrics_summary.stat().st_ino == before


def test_a_first_merge_without_records_leaves_no_files(task, journal):
    assert record(journal) == []
    assert not task.metrics.exists()
    assert not task.metrics_summary.exists()


def test_what_is_covered_is_not_read_again(task, journal):
    record(journal, line("r1"), line("r2"))
    size = task.metrics.stat().st_size
    task.metrics.write_bytes(b"x" * size)
    record(journal, line("r3"))
    found = summary(task)
    assert (found["entries_total"], found["parse_errors"]) == (3, [])


@pytest.mark.parametrize(
    "text",
    [None, "", "not JSON", "[]", "{}", '{"covered_bytes": 10}', "shrunk", "negative", "[" * 100_000],
)
def test_an_aggregate_that_cannot_be_trusted_is_rebuilt(task, journal, text):
    record(journal, line("r1"), line("r2", status="failed"))
    whole = summary(task)
    if text is None:
        task.metrics_summary.unlink()
    elif text == "shrunk":
        task.metrics_summary.write_text(json.dumps({**whole, "covered_bytes": 10**9}))
    elif text == "negative":
        task.metrics_summary.write_text(json.dumps({**whole, "covered_bytes": -1}))
    else:
        task.metrics_summary.write_text(text)
    record(journal)
    assert summary(task) == whole


def test_a_journal_that_was_removed_starts_anew(task, journal):
    record(journal, line("r1"), line("r2"))
    task.metrics.unlink()
    record(journal, line("r3"))
    assert ids(task) == ["r3"]
    assert summary(task)["entries_total"] == 1


def test_lines_of_another_writer_are_counted(task, journal):
    record(journal, line("r1"))
    node = {"run_id": "n1", "status": "succeeded", "duration_seconds": 4, "guardrails_present": True}
    with task.metrics.open("ab") as lines:
        lines.write(dumps_line(node).encode() + b"\n\n" + dumps_line({**node, "run_id": "n2"}).encode())
    record(journal)
    found = summary(task)
    assert (found["entries_total"], found["entries_succeeded"], found["parse_errors"]) == (3, 3, [])


MALFORMED = [
    b"not JSON",
    b"[]",
    b"5",
    b"null",
    b"{}",
    b'{"run_id": 5}',
    b'{"run_id": "x", "duration_seconds": "soon"}',
    b'{"run_id": "x", "duration_seconds": [1]}',
    b'{"run_id": "x", "duration_seconds": NaN}',
    b'{"run_id": "x", "duration_seconds": 1e999}',
    b'{"run_id": "x", "attempts": "2"}',
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"run_id": "x", "duration_seconds": 1' + b"0" * 400 + b"}",
]


@pytest.mark.parametrize("bad", MALFORMED, ids=lambda bad: repr(bad[:40]))
@pytest.mark.parametrize("rebuild", [True, False])
def test_a_malformed_line_is_reported_and_skipped(task, journal, bad, rebuild):
    record(journal, line("r1"))
    with task.metrics.open("ab") as lines:
        lines.write(bad + b"\n")
    if rebuild:
        task.metrics_summary.unlink()
    record(journal, line("r2"))
    found = summary(task)
    assert (found["entries_total"], found["average_duration_seconds"]) == (2, 2.0)
    assert len(found["parse_errors"]) == 1
    record(journal, line("r3"))
    assert len(summary(task)["parse_errors"]) == 1


def test_only_the_last_parse_errors_are_kept(task, journal):
    task.metrics.write_text("".join(f"bad {place}\n" for place in range(50)))
    record(journal, line("r1"))
    errors = summary(task)["parse_errors"]
    assert len(errors) == 20
    assert "bad 49" in errors[-1]


@pytest.mark.parametrize("cut", [1, 10, -2, -1])
def test_a_torn_last_line_is_mended_and_costs_nothing(task, journal, cut):
    """A merger died while it wrote the line of r2, whose pending file is still there."""
    record(journal, line("r1"))
    journal.metrics.queue(line("r2"))
    torn = dumps_line(to_json(line("r2"))).encode()[:cut]
    with task.metrics.open("ab") as lines:
        lines.write(torn)
    record(journal, line("r3"))
    # With only its newline missing it is a whole line, and is not appended again.
    assert sorted(ids(task)) == ["r1", "r2", "r3"]
    assert summary(task)["entries_total"] == 3
    assert summary(task)["parse_errors"] == []


def test_a_later_line_of_a_run_stands_for_its_earlier_one(task, journal):
    record(journal, line("r1", status="failed", duration_seconds=9.0), line("r2"))
    record(journal, line("r1", attempts=2, resumed=True, duration_seconds=4.0))
    found = summary(task)
    assert (found["entries_total"], found["entries_succeeded"], found["entries_failed"]) == (2, 2, 0)
    assert found["average_duration_seconds"] == 3.0
    task.metrics_summary.unlink()
    record(journal)
    assert summary(task) == found


def test_a_run_that_is_resumed_again_and_again_counts_once(task, journal):
    for attempt in range(1, 6):
        record(journal, line("r1", attempts=attempt, status="failed", duration_seconds=float(attempt)))
        record(journal, line(f"other-{attempt}"))
    found = summary(task)
    assert (found["entries_total"], found["entries_failed"]) == (6, 1)
    assert found["average_duration_seconds"] == pytest.approx((5 + 5 * 2.0) / 6)
    assert ids(task).count("r1") == 5


def test_a_run_that_died_before_it_was_recorded_and_was_resumed_counts_as_one_more(task, journal):
    record(journal, line("r1"))
    record(journal, line("r2", attempts=3))
    assert summary(task)["entries_total"] == 2


def test_both_records_of_a_run_may_wait_at_once(task, journal):
    merged = record(journal, line("r1", status="failed"), line("r1", attempts=2), line("r0"))
    assert merged == ["r0", "r1", "r1"]
    assert [json.loads(one)["attempts"] for one in task.metrics.read_bytes().splitlines()] == [1, 1, 2]
    found = summary(task)
    assert (found["entries_total"], found["entries_succeeded"], found["entries_failed"]) == (2, 2, 0)


def test_only_the_earlier_line_is_read_of_what_is_covered(task, journal):
    record(journal, line("r1", status="failed"), line("r10"), line("r2"))
    first, second, third = task.metrics.read_bytes().splitlines(keepends=True)
    garbage = [b"x" * (len(one) - 1) + b"\n" for one in (second, third)]
    task.metrics.write_bytes(first + b"".join(garbage))
    record(journal, line("r1", attempts=2))
    found = summary(task)
    assert (found["entries_total"], found["entries_failed"], found["parse_errors"]) == (3, 0, [])


def hours(hour: int) -> tuple[str, str]:
    """The id of a run of that hour, and when it ended."""
    return f"2026-11-21T{hour:02}-00-00-000Z-00000000", f"2026-11-21T{hour:02}:30:00.000Z"


@pytest.mark.parametrize("recorded", [True, False])
def test_no_more_is_searched_than_was_recorded_since_a_run_began(task, journal, monkeypatch, recorded):
    for hour in range(8, 14):
        name, end = hours(hour)
        if hour != 11 or recorded:
            record(journal, line(name, status="failed", recorded_at=end))
    seen = []
    real = journal.metrics.queued_at

    def watched(document: dict):
        seen.append(document["run_id"])
        return real(document)

    monkeypatch.setattr(journal.metrics, "queued_at", watched)
    name, end = hours(11)
    record(journal, line(name, attempts=2, recorded_at=hours(14)[1]))
    since = [hours(hour)[0] for hour in ((13, 12) if recorded else (13, 12, 10))]
    assert seen == since, "from the end back, to the run's earlier line or one that was left before it began"
    found = summary(task)
    assert (found["entries_total"], found["entries_succeeded"], found["entries_failed"]) == (6, 1, 5)


def test_the_record_of_a_run_that_waited_for_long_does_not_end_the_search(task, journal):
    early, end = hours(8)
    late, later = hours(9)
    # The older run ended first, but whoever merged could not; the other was killed after its line was in.
    journal.metrics.queue(line(early, recorded_at=end))
    record(journal, line(late, status="failed", recorded_at=later))
    record(journal, line(late, attempts=2, recorded_at=hours(10)[1]))
    found = summary(task)
    assert (found["entries_total"], found["entries_succeeded"]) == (2, 2)


@pytest.mark.parametrize("aggregated", [True, False])
def test_a_merger_may_die_between_a_resumed_run_s_line_and_the_aggregate(
    task, journal, monkeypatch, aggregated
):
    record(journal, line("r1", status="failed"), line("r2"))
    journal.metrics.queue(line("r1", attempts=2))
    real = journal.metrics.update

    def die(*arguments, **keywords):
        if aggregated:
            real(*arguments, **keywords)
        raise KeyboardInterrupt

    monkeypatch.setattr(journal.metrics, "update", die)
    with pytest.raises(KeyboardInterrupt):
        journal.merge_now(lambda _: True)
    monkeypatch.undo()
    record(journal, line("r3"))
    found = summary(task)
    assert (found["entries_total"], found["entries_succeeded"], found["entries_failed"]) == (3, 3, 0)


def test_a_lock_left_by_a_dead_process_does_not_block(task, journal):
    task.journal_lock.write_text("someone")
    os.utime(task.journal_lock, (0, 0))
    assert record(journal, line("r1")) == ["r1"]


def test_a_lock_that_is_held_leaves_the_record_queued(task, journal):
    journal.metrics.queue(line("r1"))
    with locks.held_lock(task.journal_lock, below=task.environment.runs_dir) as held:
        assert held
        assert journal.merge("r1", lambda _: True, patience_seconds=0.02) is False
    assert journal.is_queued("r1")
    assert record(journal) == ["r1"]


def test_a_run_that_another_has_merged_needs_no_lock(task, journal):
    journal.metrics.queue(line("r1"))
    assert journal.merge_now(lambda _: False) is True
    with locks.held_lock(task.journal_lock, below=task.environment.runs_dir):
        assert journal.merge("r1", lambda _: True, patience_seconds=0.0) is True
    assert ids(task) == ["r1"]


def test_a_record_queued_while_the_lock_was_held_is_merged_by_its_holder(task, journal):
    late = [line("r2")]

    def queue_another(_run_id: str) -> bool:
        if late:
            journal.metrics.queue(late.pop())
        return True

    journal.metrics.queue(line("r1"))
    assert journal.merge("r1", queue_another) is True
    assert ids(task) == ["r1", "r2"]
    assert summary(task)["entries_total"] == 2


def test_what_mergers_died_of_is_swept_by_the_next(task, journal):
    (task.runs_dir / ".metrics-summary.json.99-0123abcd.tmp").write_bytes(b"{")
    (task.runs_dir / ".not-ours.tmp").write_bytes(b"")
    record(journal, line("r1"))
    assert [path.name for path in task.runs_dir.glob("*.tmp")] == [".not-ours.tmp"]


def test_half_written_records_of_the_dead_are_not_merged(task, journal):
    journal.metrics.queue(line("r1"))
    (task.metrics_pending / ".r2.json.99-abcd.tmp").write_bytes(b'{"run_id": "r2"')
    assert record(journal) == ["r1"]
    assert files.remove(task.metrics_pending / "nothing", below=task.environment.runs_dir) is None
