"""Lines of JSON paths, for messages about a bad file."""

from __future__ import annotations

import pytest

from codex_orchestrator.definitions.positions import Positions

TEXT = """\
{
  "taskId": "t",
  "pipelines": [
    {
      "id": "a", "title":
        "A",
      "stages": [
        1,
        [],
        { "needs": ["x",
          "y"] }
      ]
    }
  ]
}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("taskId",), 2),
        (("pipelines",), 3),
        (("pipelines", 0), 4),
        (("pipelines", 0, "id"), 5),
        (("pipelines", 0, "title"), 5),
        (("pipelines", 0, "stages"), 7),
        (("pipelines", 0, "stages", 0), 8),
        (("pipelines", 0, "stages", 1), 9),
        (("pipelines", 0, "stages", 2, "needs"), 10),
        (("pipelines", 0, "stages", 2, "needs", 1), 11),
        # What is not there is looked for around it.
        (("pipelines", 0, "command"), 4),
        (("pipelines", 0, "stages", 7, "id"), 7),
        (("missing",), 1),
        (("0",), 1),
    ],
)
def test_the_line_of_a_path_or_of_what_is_around_it(path, line):
    assert Positions(TEXT).line(path) == line


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ('{"a": 1, "b": 2}', []),
        ('{"a": 1,\n "a": 2}', [("a",)]),
        (
            '{"a": {"b": 1, "b": 2}, "c": [{"d": 1, "d": 2, "d": 3}]}',
            [("a", "b"), ("c", 0, "d"), ("c", 0, "d")],
        ),
        ('{"a": {"b": 1}, "c": {"b": 1}}', []),
        (r'{"é": 1, "\u00e9": 2}', [("é",)]),
        ('[{"a": 1}, {"a": 1}]', []),
    ],
)
def test_repeated_keys_are_named(text, repeated):
    assert Positions(text).repeated_keys == repeated


def test_a_repeated_key_s_line_is_that_of_the_last():
    assert Positions('{\n"a": 1,\n"a": 2}').line(("a",)) == 3


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ('{"brackets": "}{][,:",\n"next": 1}', ("next",), 2),
        ('{"quote": "\\"\\\\",\n"next": 1}', ("next",), 2),
        ('\n\n {"a": 1}', (), 3),
        ('{"a": 1,\r\n"b": 2}', ("b",), 2),
        ('{"a": "\u2028\u0085",\n"b": 2}', ("b",), 2),
    ],
)
def test_only_line_feeds_outside_strings_count(text, path, line):
    assert Positions(text).line(path) == line


@pytest.mark.parametrize(
    "text", ["", "{", "[", "}", "]]", '"', "{{{", '{"a"', '{"a":', "[,", "{,}", "\\", "[" * 5_000]
)
def test_text_that_is_no_json_has_fewer_lines_and_no_traceback(text):
    assert Positions(text).line(("a", 0)) == 1
