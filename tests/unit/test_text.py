"""Words of others, made fit for people."""

from __future__ import annotations

import json

import pytest

from codex_orchestrator.text import (
    WholeLines,
    cut,
    flattened,
    gist,
    harmless,
    is_hidden,
    last_line,
    one_line,
    printable,
    settled,
    visible_json,
)

RED, RESET = "\x1b[31m", "\x1b[0m"


@pytest.mark.parametrize(
    ("printed", "plain", "coloured"),
    [
        ("as it is\tö…", "as it is\tö…", "as it is\tö…"),
        (f"{RED}red{RESET}", "red", f"{RED}red{RESET}{RESET}"),
        (f"{RED}left red", "left red", f"{RED}left red{RESET}"),
        ("\x1b[2K\x1b[1A\x1b[?25lgone", "gone", "gone"),
        ("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link", "textlink", "textlink"),
        ("\x1b(Bcharset\x1b7", "charset", "charset"),
        ("bell\a, back\b, nul\0, del\x7f, c1\x9b", "bell, back, nul, del, c1", "bell, back, nul, del, c1"),
        ("torn \x1b[3", "torn 3", "torn 3"),
        ("torn \x1b", "torn ", "torn "),
    ],
    ids=ascii,
)
def test_a_line_has_nothing_that_moves_the_cursor(printed, plain, coloured):
    assert one_line(printed) == plain
    assert one_line(printed, colour=True) == coloured


@pytest.mark.parametrize(
    ("printed", "last"),
    [
        ("", ""),
        ("one\ntwo\n", "two"),
        ("one\n\n  \n\x1b[0m\n", "one"),
        ("10 %\r20 %\r", "20 %"),
        ("one\r\ntwo\r\n", "two"),
        (f"  {RED}a\tb{RESET}", "a   b"),
    ],
    ids=ascii,
)
def test_the_last_line_is_the_last_that_says_something(printed, last):
    assert last_line(printed) == last


@pytest.mark.parametrize(
    ("text", "shown"),
    [("src/ä b", "src/ä b"), ("a\nb\x1b", "a\\nb\\x1b"), ("x\udcff", "x\\udcff"), ("\u202e", "\\u202e")],
)
def test_printable(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    "hidden",
    ["\r", "\n", "\x1b", "\x9b", "\u2028", "\u202e", "\u2066", "\u200b", "\ufeff", "\xad", "\U000e0041"],
    ids=ascii,
)
def test_nothing_that_hides_or_turns_a_line_is_left(hidden):
    text = f"a b{hidden}"
    assert is_hidden(text)
    assert printable(text).isprintable()
    assert one_line(text).replace(" ", "") == flattened(text).replace(" ", "") == "ab"
    assert not is_hidden(one_line(text) + flattened(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("  ä — ok ", "ä — ok"),
        ("a\r\nb\tc\0d", "a b c d"),
        ("\x1b[31mred\x9b0m", "red 0m"),
        ("\x1b]0;a title\x07text", "text"),
        ("lone \udcff surrogate", "lone surrogate"),
        ("right\u202eleft", "right left"),
        ("क्\u200dष", "क्\u200dष"),
    ],
    ids=ascii,
)
def test_what_is_recorded_as_a_line_is_one(text, shown):
    assert flattened(text) == shown


@pytest.mark.parametrize("text", ["", "plain ü", "\xa0", "日本語", "🙂"])
def test_what_is_seen_is_not_hidden(text):
    assert not is_hidden(text)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("10 %\r20 %\r100 %", "100 %"),
        ("10 %\r20 %\r", "20 %"),
        ("a longer one\rshort", "shortger one"),
        ("text\r", "text"),
        ("\r\r", ""),
        (f"{RED}10 %{RESET}\r{RED}20 %{RESET}", f"{RED}20 %{RESET}"),
        (f"20 %\r{RESET}", "20 %"),
        ("20 %\r\x1b[K", "\x1b[K"),
        (f"{RED}coloured and long\rshort", "short"),
    ],
    ids=ascii,
)
def test_a_line_is_what_a_terminal_shows_of_it_in_the_end(line, shown):
    assert settled(line) == shown
    assert one_line(line, colour=True).removesuffix(RESET) == one_line(shown, colour=True).removesuffix(RESET)


def test_what_a_stage_has_said_is_told_as_a_terminal_shows_it():
    bar = "".join(f"\rstep {number} of 500" for number in range(1, 501))
    assert gist(f"{bar}\nerror: disk full\r\n") == "step 500 of 500 error: disk full"


def test_what_was_written_over_costs_no_more_than_it_is_long():
    assert settled("x\r" * 1_000_000 + "y" * 1_000_000) == "y" * 1_000_000


def test_lines_are_put_together_from_pieces_and_none_is_kept_for_ever():
    lines = WholeLines()
    assert lines.feed((1, "stdout"), "part 1 ") == []
    assert lines.feed((2, "stdout"), "other") == []
    assert lines.feed((1, "stdout"), "part 2\nnext") == ["part 1 part 2"]
    assert lines.flush((1, "stdout")) == ["next"]
    assert lines.flush((1, "stdout")) == []
    assert lines.flush_all() == [((2, "stdout"), "other")]
    assert lines.feed((3, "stderr"), "10 %\r" * 20_000) == []
    assert lines.flush((3, "stderr")) == ["10 %"]
    assert lines.feed((3, "stderr"), "x" * 70_000) == ["x" * 70_000]


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("plain :: text", "plain :: text"),
        ("::error::x", "\\::error::x"),
        (" \t::error::x", " \t\\::error::x"),
        ("Stage ##[error]x", "Stage ## [error]x"),
    ],
)
def test_no_line_commands_a_runner_of_github(line, given):
    assert harmless(line) == given


def test_json_says_the_same_with_nothing_hidden():
    value = {"a\u202e": ["\x7f\x9b\u2028\ufeff", "\U000e0041", "ö € 🙂 क्\u200dष"]}
    document = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(document) == value
    assert "\\u202e" in document
    assert not is_hidden(document.replace("\u200d", ""))


def test_what_is_cut_says_so():
    assert (cut("abc", 3), cut("abcd", 3)) == ("abc", "abc…")
