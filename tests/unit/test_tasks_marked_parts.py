"""The marked parts of a file."""

from __future__ import annotations

import pytest

from codex_orchestrator.tasks.marked_parts import MarkError, parts_of, with_content, with_part

TWO = (
    "# T\n\n<!-- begin task a (x) -->\none\n<!-- end task a -->\ntail\n"
    "<!-- begin task b -->\n<!-- end task b -->"
)


def contents(text: str) -> dict[str, str]:
    return {name: part.content for name, part in parts_of(text).items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("text\n", {}),
        (TWO, {"a": "one\n", "b": ""}),
        (TWO.replace("\n", "\r\n"), {"a": "one\n", "b": ""}),
        ("\ufeff" + TWO.removeprefix("# T\n\n"), {"a": "one\n", "b": ""}),
        ("  <!--begin task a-->\n\n one \n\t<!-- end task a -->  \n", {"a": "\n one \n"}),
        ("<!-- begin task a -->\none\r\r\n<!-- end task a -->\n", {"a": "one\n"}),
        ("see <!-- begin task a -->\n", {}),
        ("<!-- begin task a --> here\n", {}),
        ("<!-- begin tasks a -->\n<!-- beginning task a -->\n", {}),
    ],
)
def test_what_lies_between_marks(text, found):
    assert contents(text) == found


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x\n<!-- begin task a -->\n", 2, 'the beginning of task "a" has no end'),
        ("x\n<!-- end task a -->\n", 2, 'the end of task "a" has no beginning'),
        ("<!-- end task a -->\n<!-- begin task a -->\n", 1, 'the end of task "a" has no beginning'),
        (
            "<!-- begin task a -->\n<!-- begin task b -->\n<!-- end task b -->\n<!-- end task a -->\n",
            1,
            'the beginning of task "a" has no end',
        ),
        (
            "<!-- begin task a -->\n<!-- end task b -->\n<!-- end task a -->\n",
            1,
            'the beginning of task "a" has no end',
        ),
        (TWO + "\n<!-- begin task a -->\n<!-- end task a -->\n", 9, 'task "a" begins a second time'),
    ],
)
def test_marks_that_do_not_pair_up_are_named_with_their_line(text, line, said):
    with pytest.raises(MarkError) as fault:
        parts_of(text)
    assert (fault.value.line, fault.value.message) == (line, said)


def test_other_text_takes_the_line_ends_of_its_marks():
    text = TWO.replace("\n", "\r\n")
    changed = with_content(text, parts_of(text)["a"], "two\nthree\n")
    assert changed == text.replace("one\r\n", "two\r\nthree\r\n")


def test_the_same_text_changes_nothing_whatever_its_line_ends():
    text = "<!-- begin task a -->\none\r\ntwo\n<!-- end task a -->\n"
    assert with_content(text, parts_of(text)["a"], "one\ntwo\n") is text


@pytest.mark.parametrize(
    ("text", "gap"), [("", ""), ("# T\n", "\n"), ("# T", "\n\n"), ("# T\r\n", "\r\n"), ("a\r\nb", "\r\n\r\n")]
)
def test_a_part_is_added_at_the_end(text, gap):
    ends = "\r\n" if "\r" in text else "\n"
    part = "<!-- begin task a (a copy) -->\none\n<!-- end task a -->\n".replace("\n", ends)
    assert with_part(text, "a", "one\n", "a copy") == text + gap + part
