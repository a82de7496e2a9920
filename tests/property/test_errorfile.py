"""Error files, for any text, ids and limits."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from codex_orchestrator.model.definitions import CommandStage, Limits
from codex_orchestrator.rules.error_file import end_of, render_error
from codex_orchestrator.rules.stage import StageOutcome
from tests.support.builders import layout_of, opened_run, pipeline_of

NOW = "2026-11-21T02:44:32.979Z"
UNITS = st.text(st.sampled_from('x€🙂\n\t\x00\x1f"\\\x7f\u2028') | st.characters(codec="utf-8"), max_size=8)
LONG = st.builds(
    lambda unit, times, end: unit * times + end, UNITS, st.sampled_from([0, 1, 40, 3_000]), UNITS
)


def manifest(stage_id, command, task_id):
    stage = CommandStage(kind="command", id=stage_id, title="T", command=command)
    pipeline = pipeline_of(stage)
    return opened_run(pipeline, layout=layout_of(task_id=task_id, run_id="run-1"))


@settings(max_examples=200)
@given(
    texts=st.fixed_dictionaries({"stdout": LONG, "stderr": LONG}, optional={"cause": LONG}),
    cut_before=st.fixed_dictionaries({"stdout_truncated": st.booleans(), "stderr_truncated": st.booleans()}),
    stage_id=LONG.filter(bool),
    command=LONG.filter(bool),
    task_id=st.sampled_from(["t", "t" * 128]),
    limits=st.builds(
        Limits, error_file_bytes=st.integers(1_024, 10_240), error_detail_bytes=st.integers(1, 8_192)
    ),
)
def test_any_failure_fits_its_limit_and_keeps_the_ends(texts, cut_before, stage_id, command, task_id, limits):
    run = manifest(stage_id, command, task_id)
    outcome = StageOutcome(status="failed", exit_code=1, **texts, **cut_before)
    body = render_error(run, run.entry(1), "command-failed", outcome, created_at=NOW, limits=limits)
    assert len(body) <= limits.error_file_bytes
    document = json.loads(body.decode())
    details = document["details"]
    for key, text in texts.items():
        kept = details.get(key, "")
        assert text.endswith(kept)
        assert len(json.dumps(kept, ensure_ascii=False).encode()) - 2 <= limits.error_detail_bytes
        cut = kept != text or cut_before.get(f"{key}_truncated", False)
        assert details.get(f"{key}_truncated", False) is cut
    assert stage_id.endswith(document["command_id"])
    assert command.endswith(document["command"])


@given(text=LONG, limit=st.integers(0, 200))
def test_the_end_of_a_text_is_the_longest_that_fits(text, limit):
    def size(part):
        return len(json.dumps(part, ensure_ascii=False).encode()) - 2

    end = end_of(text, limit)
    assert text.endswith(end)
    assert size(end) <= limit
    assert end == text or size(text[len(text) - len(end) - 1 :]) > limit
