"""Files of lines, torn anywhere: every reader takes the whole lines, every writer goes on from there."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.environment import Environment
from codex_orchestrator.evidence.artefacts import check_file
from codex_orchestrator.evidence.journal import Journal
from codex_orchestrator.model.events import StageSkipped, encode
from codex_orchestrator.model.exec_events import ExecChunk
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.rules.reviewer import metrics_line
from codex_orchestrator.text import one_line
from codex_orchestrator.views.logs import LogReader, OutputText, StageNames
from tests.support.builders import NOW, layout_of, opened_run, pipeline_of

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def logs(draw: st.DrawFn) -> list[bytes]:
    """The lines of an event log."""
    said = draw(st.lists(TEXT, max_size=6))
    chunks = [
        ExecChunk(
            correlation_id="c",
            attempt=1,
            stream="stdout",
            sequence=number,
            bytes=len(text.encode()),
            data=text,
            timestamp=NOW,
            index=1,
        )
        for number, text in enumerate(said, start=1)
    ]
    skipped = StageSkipped(stage_id="b", reason="blocked by a", timestamp=NOW, index=2)
    return [encode(event) for event in (*chunks, skipped)]


@given(data=st.data(), lines=logs())
def test_a_log_that_is_cut_anywhere_is_read_up_to_its_last_whole_line(data, lines):
    text = b"".join(lines)
    cut = data.draw(st.integers(0, len(text)))
    whole = text[:cut].count(b"\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runner.ndjson"
        path.write_bytes(text[:cut])
        reader = LogReader(path, below=path.parent)
        read = list(reader.lines())
        assert [line + b"\n" for line in read] == lines[:whole]
        # A line that lacks but its end is told: it is whole and its writer died before the newline.
        unended = cut < len(text) and text[cut : cut + 1] == b"\n"
        assert bool(check_file(path).problems) == unended
        # Whoever follows gets the rest when it comes.
        path.write_bytes(text)
        assert [line + b"\n" for line in reader.lines()] == lines[whole:]
    output = OutputText(StageNames({1: "a"}), prefixed=False)
    said = "".join(json.loads(line).get("data", "") for line in lines[:whole]).split("\n")
    shown = "".join(f"{one_line(each)}\n" for each in said[:-1])
    assert "".join(output.feed(line) for line in [*read, text[:cut].rpartition(b"\n")[2]]).startswith(shown)


@given(data=st.data(), before=st.integers(0, 3), dying=st.integers(1, 3), after=st.integers(0, 2))
def test_whoever_dies_in_an_append_loses_no_record_and_counts_none_twice(data, before, dying, after):
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(os, "fsync"):
        root = Path(folder)
        task = TaskLayout(Environment(root, root / ".runs", root / "out", root, {}), "t")
        task.runs_dir.mkdir(parents=True)
        journal = Journal(task, FakeClock())
        queue(journal, "a", before)
        assert journal.merge_now(lambda _: True)
        queue(journal, "b", dying)
        appended = b"".join(path.read_bytes() for path in sorted(task.metrics_pending.glob("*.json")))
        with task.metrics.open("ab") as lines:
            lines.write(appended[: data.draw(st.integers(0, len(appended)))])
        queue(journal, "c", after)
        assert journal.merge_now(lambda _: True)
        lines = [json.loads(line) for line in task.metrics.read_bytes().splitlines()]
        assert sorted(line["run_id"] for line in lines) == sorted(
            f"{name}{number}"
            for name, count in (("a", before), ("b", dying), ("c", after))
            for number in range(count)
        )
        summary = json.loads(task.metrics_summary.read_bytes())
        assert summary["entries_total"] == before + dying + after
        assert summary["parse_errors"] == []
        assert summary["covered_bytes"] == task.metrics.stat().st_size
        assert not list(task.metrics_pending.iterdir())


def queue(journal: Journal, name: str, count: int) -> None:
    """Leave the records of some runs."""
    for number in range(count):
        layout = layout_of(run_id=f"{name}{number}")
        manifest = opened_run(pipeline_of(), layout=layout)
        journal.metrics.queue(
            metrics_line(manifest, recorded_at=NOW, heartbeat_writes=1, heartbeat_failures=0)
        )
