"""Lines of key paths in TOML, for messages about a bad file."""

from __future__ import annotations

import tomllib

import pytest

from codex_orchestrator.definitions.positions import TomlPositions

TEXT = '''\
[project]
name = "x"

[tool.x]  # ours
taskId = "t"
limits.logBytes = 1
text = """
[tool.x]
taskId = 'no'
"""

[[tool.x.pipelines]]
id = "a"
stages = [
  { kind = "command", id = "b", command = """
echo""" },
  { "kind" = 'command', "\\u0069d" = 1979-05-27 07:32:00 },
]

[[tool.x.pipelines]]
id = "b"

  [[tool.x.pipelines.stages]]
  id = "s"

  [tool.x.pipelines.stages.plan]
  aliases = ["p",
    "q"]

[tool.x.guards.docs]
ignore = []

[tool.x.guards]
diff = { files = 1, lines = 2 }
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 4),
        (("taskId",), 5),
        (("limits",), 6),
        (("limits", "logBytes"), 6),
        (("text",), 7),
        (("pipelines",), 12),
        (("pipelines", 0), 12),
        (("pipelines", 0, "id"), 13),
        (("pipelines", 0, "stages"), 14),
        (("pipelines", 0, "stages", 0), 15),
        (("pipelines", 0, "stages", 0, "command"), 15),
        (("pipelines", 0, "stages", 1), 17),
        (("pipelines", 0, "stages", 1, "id"), 17),
        (("pipelines", 1), 20),
        (("pipelines", 1, "id"), 21),
        (("pipelines", 1, "stages"), 23),
        (("pipelines", 1, "stages", 0, "id"), 24),
        (("pipelines", 1, "stages", 0, "plan"), 26),
        (("pipelines", 1, "stages", 0, "plan", "aliases", 1), 28),
        (("guards",), 33),
        (("guards", "docs", "ignore"), 31),
        (("guards", "diff", "lines"), 34),
        # What is not there is looked for around it.
        (("pipelines", 0, "title"), 12),
        (("pipelines", 1, "stages", 7, "id"), 23),
        (("missing",), 4),
    ],
)
def test_the_line_of_a_path_or_of_what_is_around_it(path, line):
    tomllib.loads(TEXT)
    assert TomlPositions(TEXT, within=("tool", "x")).line(path) == line


@pytest.mark.parametrize(
    "text",
    [
        'a = "\\"]"\nb = 1',
        "a = ']'\nb = 1",
        'a = """"]""""\nb = 1',
        'a = """""]"""""\nb = 1',
        "a = '''']''''\nb = 1",
        'a = ""\nb = 1',
        "a = 1 # ['\"\nb = 1",
        "a = 1\r\nb = 1",
        'a = "\u2028\u0085"\nb = 1',
        "a = [[1], {b = [2]}, []]\nb = 1",
        "\"a\".'c'.d = 1.5e3\nb = 1",
    ],
)
def test_nothing_within_a_value_is_taken_for_a_key(text):
    assert tomllib.loads(text)["b"] == 1
    assert TomlPositions(text).line(("b",)) == 2


@pytest.mark.parametrize(
    "text", ["", "[", "[[", "=", "a", "a.", "a=[", "a={", "]", "}", '"', "a=[}", "a={]", "\\"]
)
def test_text_that_is_no_toml_has_fewer_lines_and_no_traceback(text):
    assert TomlPositions(text).line(("a", 0)) == 1
