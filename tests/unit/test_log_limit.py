"""How much of what stages print goes into the logs."""

from __future__ import annotations

import pytest

from codex_orchestrator.model.events import StageCompleted
from codex_orchestrator.model.exec_events import ExecChunk
from codex_orchestrator.rules.log_limit import LogLimit

NOW = "2026-11-21T02:44:32.979Z"


def chunk(size: int, index: int = 1) -> ExecChunk:
    return ExecChunk(
        correlation_id="c",
        attempt=1,
        stream="stdout",
        sequence=1,
        bytes=size,
        data="x" * size,
        timestamp=NOW,
        index=index,
    )


def completed(index: int = 1) -> StageCompleted:
    return StageCompleted(
        stage_id=f"s{index}",
        status="succeeded",
        exit_code=0,
        summary="",
        reason=None,
        error_file=None,
        correlation_id=None,
        frames=0,
        timestamp=NOW,
        index=index,
    )


@pytest.mark.parametrize(
    ("most", "sizes", "taken", "missing"),
    [
        (None, [50, 50], [50, 50], 0),
        (100, [50, 50], [50, 50], 0),
        (100, [50, 51], [50], 51),
        (100, [101, 1], [], 102),
        # What is there is the beginning: a small chunk behind a gap would look as if it followed.
        (100, [60, 60, 1], [60], 61),
    ],
)
def test_logs_have_the_beginning_and_say_exactly_what_is_missing(most, sizes, taken, missing):
    limit = LogLimit(most)
    assert [size for size in sizes if limit.takes(chunk(size))] == taken
    statement = limit.statement(completed())
    if missing:
        assert statement
        assert (statement.stage_id, statement.left_out_bytes, statement.limit_bytes) == ("s1", missing, most)
    else:
        assert statement is None
        assert limit.warning is None
    assert limit.statement(completed()) is None, "said once"


def test_each_stage_has_the_limit_for_itself():
    limit = LogLimit(100)
    assert limit.takes(chunk(100, index=1))
    assert limit.takes(chunk(100, index=2))
    assert not limit.takes(chunk(1, index=1))
    assert limit.statement(completed(2)) is None


def test_the_warning_is_short_however_many_stages_it_is_about():
    limit = LogLimit(100)
    for index in range(1, 1_001):
        limit.takes(chunk(101, index))
        limit.statement(completed(index))
    assert limit.warning == (
        "Logs incomplete by limits.logBytes (100): left out 101 bytes of stage 's1', "
        "101 bytes of stage 's2', 101 bytes of stage 's3', 100697 bytes of 997 more."
    )


def test_what_comes_after_a_stages_end_counts_for_its_limit_and_is_told_at_the_runs_end():
    limit = LogLimit(100)
    for index, size in [(1, 100), (2, 101), (3, 90)]:
        limit.takes(chunk(size, index))
        limit.statement(completed(index))
    assert not limit.takes(chunk(1, index=1))
    assert not limit.takes(chunk(1, index=2))
    assert limit.takes(chunk(10, index=3))
    told = limit.last_statements(NOW)
    assert [(each.stage_id, each.left_out_bytes) for each in told] == [("s1", 1), ("s2", 1)]
    assert limit.last_statements(NOW) == []
    assert limit.warning == (
        "Logs incomplete by limits.logBytes (100): left out 102 bytes of stage 's2', 1 bytes of stage 's1'."
    )
