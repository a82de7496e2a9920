"""GitHub Actions: how text is escaped, and what there is room for."""

from __future__ import annotations

import pytest

from pytest_codex.progress.board import StageEnd, StageProgress
from pytest_codex.progress.github import (
    MESSAGE_LENGTH,
    SUMMARY_BYTES,
    CommandGate,
    KeptOutput,
    as_text,
    command,
    escape_data,
    escape_property,
    fenced,
    stage_annotations,
    step_summary,
)


@pytest.mark.parametrize(
    ("text", "data", "value"),
    [
        ("plain", "plain", "plain"),
        ("100%", "100%25", "100%25"),
        ("%0A", "%250A", "%250A"),
        ("a\r\nb", "a%0D%0Ab", "a%0D%0Ab"),
        ("a: b, c", "a: b, c", "a%3A b%2C c"),
        ("::error::x", "::error::x", "%3A%3Aerror%3A%3Ax"),
    ],
)
def test_text_in_commands(text, data, value):
    assert escape_data(text) == data
    assert escape_property(text) == value


def test_a_command_is_one_line():
    assert command("endgroup") == "::endgroup::"
    assert command("error", "a\nb", title="x: y") == "::error title=x%3A y::a%0Ab"


def test_the_gate_opens_for_who_knows_the_word():
    said: list[str] = []
    gate = CommandGate(said.append)
    gate.open()
    assert said == []
    for _ in range(2):
        gate.close()
        gate.close()
        assert gate.is_closed
        gate.open()
    first, opened, second, _ = said
    assert first.startswith("::stop-commands::")
    assert opened == f"::{first.removeprefix('::stop-commands::')}::"
    assert len(opened) > 32
    assert first != second


def failed(number: int, **keywords) -> StageProgress:
    end = StageEnd(
        "failed", 0.1, "exit code 1", f"Stage '{number}' failed", (f"  log: {number}",), **keywords
    )
    return StageProgress(f"p::{number}", str(number), f"[{number}/99] {number}", "failed", ended=end)


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 40])
def test_no_more_annotations_than_are_shown(count):
    lines = stage_annotations([failed(number) for number in range(1, count + 1)])
    assert len(lines) == min(count, 10)
    assert all(line.startswith("::error title=") for line in lines)
    if count:
        assert lines[0] == "::error title=Stage '1' failed::  log: 1"
    if count > 10:
        assert lines[-1].startswith(f"::error title=… and {count - 9} more::10, 11")


def test_causes_come_before_what_they_brought_about_and_what_waits_is_no_error():
    stages = [failed(1, cancelled=True), failed(2, waits=True), failed(3)]
    assert [line.partition("::  ")[0] for line in stage_annotations(stages)] == [
        "::error title=Stage '3' failed",
        "::error title=Stage '1' failed",
        "::warning title=Stage '2' failed",
    ]


def test_a_message_is_no_longer_than_is_taken():
    end = StageEnd("failed", 0.1, "x", "headline", ("y" * 10_000,))
    (line,) = stage_annotations([StageProgress("p::a", "a", "a", "failed", ended=end)])
    assert line == f"::error title=headline::{'y' * MESSAGE_LENGTH}"


@pytest.mark.parametrize(
    "text", ["| a | b |", "<script>", "`code`", "*a* _b_", "[a](b)", "a\nb", "@name #1", "&amp;", "\\|"]
)
def test_text_in_a_summary_is_nothing_but_text(text):
    shown = as_text(text)
    assert not set(shown) & set("|<>`*_[])\n@\\\"'!~")
    for character in "|<>`*_[]@\\":
        assert (f"&#{ord(character)};" in shown) == (character in text)


@pytest.mark.parametrize("text", ["plain", "```\ninside\n```", "````", "`a` ``b``"])
def test_lines_in_a_fence_cannot_leave_it(text):
    opening, *inside, closing = fenced(text).splitlines()
    assert "\n".join(inside) == text
    assert opening == f"{closing}text"
    assert len(closing) >= 3
    assert closing not in text


PASSED = StageEnd("passed", 1.25, log_path=".runs/a.ndjson")


def test_the_summary_of_a_step():
    stages = [
        StageProgress("p::a", "a", "", "passed", ended=PASSED),
        failed(2),
        StageProgress("p::c", "c", "", "skipped", ended=StageEnd("skipped", 0.0, "blocked: p::2 failed")),
        StageProgress("p::d", "d", ""),
    ]
    text = step_summary("p: failed", stages, stopped=True, room=SUMMARY_BYTES)
    assert text.splitlines() == [
        "### p&#58; failed",
        "",
        "| Stage | Result | Time | Log |",
        "| --- | --- | --- | --- |",
        "| a | passed | 1.2 s | .runs/a.ndjson |",
        "| 2 | failed&#58; exit code 1 |  |  |",
        "| c | skipped&#58; blocked&#58; p&#58;&#58;2 failed |  |  |",
        "| d | did not run |  |  |",
        "",
        "**Stage &#39;2&#39; failed**",
        "",
        "```text",
        "  log: 2",
        "```",
        "",
        "2 stages did not run because of it&#58; c, d.",
    ]


def test_a_summary_fits_into_its_room_and_says_what_it_leaves_out():
    stages = [StageProgress(f"p::{n}", f"{n}{'ö' * 400}", "", "passed", ended=PASSED) for n in range(5_000)]
    text = step_summary("p: succeeded", stages, stopped=False, room=SUMMARY_BYTES)
    assert SUMMARY_BYTES / 4 < len(text.encode()) <= SUMMARY_BYTES
    rows = text.count("\n| ") - 2
    assert f"… and {5_000 - rows} more stages." in text
    assert step_summary("p: succeeded", stages, stopped=False, room=20) == ""


def test_the_end_of_what_a_stage_printed_is_kept():
    kept = KeptOutput(length=100)
    assert kept.take("a") == ("", False)
    kept.add_output("a", "one\n")
    kept.add_output("b", "other")
    kept.add_output("a", "two")
    assert kept.take("a") == ("one\ntwo", False)
    assert kept.take("a") == ("", False)
    for number in range(1_000):
        kept.add_output("b", f"line {number}\n")
        assert sum(map(len, kept._pieces["b"])) < 120
    text, cut = kept.take("b")
    assert cut
    assert text.endswith("line 998\nline 999\n")
    assert all(line.startswith("line ") for line in text.splitlines())
