"""The error file: small whatever the stage printed, and holding the end of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from codex_orchestrator.model.definitions import CommandStage, Limits
from codex_orchestrator.model.explain import explain
from codex_orchestrator.model.manifest import Manifest, StageError
from codex_orchestrator.rules.error_file import end_of, render_error
from codex_orchestrator.rules.stage import StageOutcome
from tests.support.builders import layout_of, opened_run, pipeline_of

NOW = "2026-11-21T02:44:32.979Z"
SIZE = 100_000
# 100 KB of each, as capture hands it on: the end of it, decoded.
NASTY = {
    "control characters": "\x00\x01\x1b\x1f",
    "euro signs": "€",
    "newlines": "\n",
    "quotes and backslashes": '"\\',
    "invalid UTF-8": b"\xff\xfe\x80".decode("utf-8", "replace"),
    "emoji": "🙂",
    "plain": "x",
    "delete and separators": "\x7f\u2028\x85",
}


def manifest(stage_id: str = "build", command: str = "make", task_id: str = "task-1") -> Manifest:
    stage = CommandStage(kind="command", id=stage_id, title="T", command=command)
    pipeline = pipeline_of(stage)
    return opened_run(pipeline, layout=layout_of(task_id=task_id, run_id="run-1"))


def render(outcome: StageOutcome, run: Manifest | None = None, limits: Limits | None = None) -> bytes:
    run = run or manifest()
    return render_error(
        run, run.entry(1), "command-failed", outcome, created_at=NOW, limits=limits or Limits()
    )


def details(body: bytes) -> dict[str, object]:
    document = json.loads(body)
    assert explain(StageError, document) == []
    return document["details"]


def test_an_ordinary_failure_in_full():
    body = render(StageOutcome(status="failed", exit_code=7, stdout="out\n", stderr="err\n"))
    assert body.endswith(b"}\n")
    assert json.loads(body) == {
        "run_id": "run-1",
        "task_id": "task-1",
        "command_index": 1,
        "command_id": "build",
        "command": "make",
        "reason": "command-failed",
        "details": {"exit_code": 7, "sandbox_state": "none", "stdout": "out\n", "stderr": "err\n"},
        "created_at": NOW,
    }


@pytest.mark.parametrize(
    ("outcome", "more"),
    [
        (StageOutcome(status="failed", exit_code=137, signal="SIGKILL"), {"signal": "SIGKILL"}),
        (
            StageOutcome(status="timeout", exit_code=143, signal="SIGTERM", timeout_seconds=1),
            {"signal": "SIGTERM", "timed_out": True},
        ),
        (StageOutcome(status="cancelled", exit_code=130, cancelled_by="SIGINT"), {"cancelled_by": "SIGINT"}),
        (StageOutcome(status="failed", exit_code=127, cause="No such file"), {"cause": "No such file"}),
        (StageOutcome(status="failed", exit_code=None, cause="setup"), {"cause": "setup"}),
    ],
)
def test_what_else_is_known_is_said(outcome, more):
    assert details(render(outcome)) == {
        "exit_code": outcome.exit_code,
        "sandbox_state": "none",
        **more,
        "stdout": "",
        "stderr": "",
    }


@pytest.mark.parametrize("stream", ["stdout", "stderr", "cause"])
@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("limit", [10_240, 4_000, 1_024])
def test_a_hundred_kilobytes_of_anything_fit_and_the_end_is_there(stream, name, limit):
    text = NASTY[name] * (SIZE // len(NASTY[name].encode())) + "THE END"
    body = render(
        StageOutcome(status="failed", exit_code=1, **{stream: text}), limits=Limits(error_file_bytes=limit)
    )
    assert len(body) <= limit
    found = details(body)
    assert text.endswith(found[stream])
    assert found[stream].endswith("THE END")
    assert found[f"{stream}_truncated"] is True
    assert [key for key in found if key.endswith("_truncated")] == [f"{stream}_truncated"]
    # The room is used: what is kept is most of it.
    assert len(body) > limit * 0.6


@pytest.mark.parametrize("name", NASTY)
def test_both_streams_share_the_room(name):
    text = NASTY[name] * (SIZE // len(NASTY[name].encode()))
    outcome = StageOutcome(
        status="failed", exit_code=1, stdout=text + "OUT", stderr=text + "ERR", cause=text + "WHY"
    )
    body = render(outcome)
    assert len(body) <= 10_240
    found = details(body)
    assert found["stdout"].endswith("OUT")
    assert found["stderr"].endswith("ERR")
    assert found["cause"].endswith("WHY")
    assert all(found[f"{key}_truncated"] is True for key in ("stdout", "stderr", "cause"))


def test_no_text_is_over_its_share_of_eight_kilobytes():
    body = render(StageOutcome(status="failed", exit_code=1, stderr="x" * 9_000))
    assert details(body)["stderr"] == "x" * 8_192
    body = render(StageOutcome(status="failed", exit_code=1, stderr="x" * 8_192))
    assert details(body) == {"exit_code": 1, "sandbox_state": "none", "stdout": "", "stderr": "x" * 8_192}


@pytest.mark.parametrize("share", [1, 2, 10, 100])
def test_the_share_of_a_text_can_be_made_smaller(share):
    found = details(
        render(
            StageOutcome(status="failed", exit_code=1, stderr="€" * 50),
            limits=Limits(error_detail_bytes=share),
        )
    )
    assert found["stderr"] == "€" * min(50, share // 3)
    assert found.get("stderr_truncated", False) is (share < 150)


def test_a_stream_that_capture_cut_is_marked_though_its_text_is_short():
    found = details(
        render(StageOutcome(status="failed", exit_code=1, stdout="end", stdout_truncated=True, stderr="all"))
    )
    assert found["stdout"] == "end"
    assert found["stdout_truncated"] is True
    assert "stderr_truncated" not in found


@pytest.mark.parametrize("limit", [10_240, 1_024])
@pytest.mark.parametrize("unit", ["x", "€", '"', "\\"])
def test_long_ids_and_commands_are_cut_too(limit, unit):
    run = manifest(stage_id=unit * 50_000, command=unit * 50_000 + "; end", task_id="t" * 128)
    body = render(
        StageOutcome(status="failed", exit_code=1, stderr="\x00" * 50_000 + "!"),
        run=run,
        limits=Limits(error_file_bytes=limit),
    )
    assert len(body) <= limit
    document = json.loads(body)
    assert document["task_id"] == "t" * 128
    assert (unit * 50_000).endswith(document["command_id"])
    assert document["command"].endswith("end") or limit == 1_024
    assert explain(StageError, document) == []


def test_the_worst_of_everything_fits_the_smallest_limit():
    run = replace(manifest(stage_id="€" * 9_999, command="\t" * 9_999, task_id="é" * 64), run_id="r" * 128)
    outcome = StageOutcome(
        status="timeout",
        exit_code=255,
        signal="SIGRTMAX-15",
        cancelled_by="SIGRTMAX-15",
        cause="\x00" * 99_999,
        stdout="\x01" * 99_999,
        stderr="\x02" * 99_999,
        stdout_truncated=True,
        stderr_truncated=True,
    )
    body = render(outcome, run=run, limits=Limits(error_file_bytes=1_024))
    assert len(body) <= 1_024
    assert details(body)["stderr_truncated"] is True


@pytest.mark.parametrize(
    ("text", "limit", "end"),
    [
        ("", 0, ""),
        ("abc", 0, ""),
        ("abc", 2, "bc"),
        ("abc", 3, "abc"),
        ("a€", 3, "€"),
        ("a€", 2, ""),
        ("a\n", 2, "\n"),
        ("a\n", 3, "a\n"),
        ("\x01", 5, ""),
        ("\x01", 6, "\x01"),
        ('"\\', 3, "\\"),
        ("\x7f\x7f", 1, "\x7f"),
    ],
)
def test_the_end_is_measured_as_json_writes_it(text, limit, end):
    assert end_of(text, limit) == end
