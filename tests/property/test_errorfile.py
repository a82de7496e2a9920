"""Error files, for any text, ids and limits."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from codex_orchestrator.environment import Environment
from codex_orchestrator.pipelines.model import CommandStage, Limits, Pipeline
from codex_orchestrator.run.errorfile import end_of, render_error
from codex_orchestrator.run.layout import TaskLayout
from codex_orchestrator.run.opening import first_manifest
from codex_orchestrator.run.stage import StageOutcome

NOW = "2026-11-21T02:44:32.979Z"
UNITS = st.text(st.sampled_from('x€🙂\n\t\x00\x1f"\\\x7f\u2028') | st.characters(codec="utf-8"), max_size=8)
LONG = st.builds(
    lambda unit, times, end: unit * times + end, UNITS, st.sampled_from([0, 1, 40, 3_000]), UNITS
)


def manifest(stage_id, command, task_id):
    root = Path("/repo")
    stage = CommandStage(kind="command", id=stage_id, title="T", command=command)
    pipeline = Pipeline(
        id="p", title="P", description=None, tags=None, guardrails_required=None, stages=(stage,)
    )
    return first_manifest(
        TaskLayout(Environment(root, root / ".runs", root / "out", root, {}), task_id).run("run-1"),
        pipeline,
        started_at=NOW,
        token="sha256:0",
        target=None,
        parent_run_id=None,
        approval_policy=None,
        instructions_hash=None,
        instructions_sources=(),
    )


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
