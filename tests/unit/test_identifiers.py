"""Ids that become folder names, and the slugs that become file names."""

from __future__ import annotations

import re

import pytest

from codex_orchestrator.errors import EXIT_USAGE, UsageError
from codex_orchestrator.identifiers import born, check_id, id_problem, new_run_id, slug, stage_file_stem

REFUSED = [
    ("", "it is empty"),
    ("a" * 129, "it is longer than 128 bytes"),
    ("é" * 65, "it is longer than 128 bytes"),
    (".", "it starts with '.'"),
    ("..", "it starts with '.'"),
    (".hidden", "it starts with '.'"),
    ("a\nb", "it contains a control character"),
    ("a\0", "it contains a control character"),
    ("\x7f", "it contains a control character"),
    ("a\x85b", "it contains a control character"),
    ("a\u202eb", "it contains a control character"),
    ("a\u200bb", "it contains a control character"),
    ("a/b", "it contains '/'"),
    ("a\\b", r"it contains '\\'"),
    ("a<b", "it contains '<'"),
    ("a>b", "it contains '>'"),
    ("a:b", "it contains ':'"),
    ('a"b', "it contains '\"'"),
    ("a|b", "it contains '|'"),
    ("a?b", "it contains '?'"),
    ("a*b", "it contains '*'"),
    ("a\udcff", "it is not valid Unicode"),
    ("local-mcp", "'local-mcp' is reserved"),
    ("latest", "'latest' is reserved"),
]


@pytest.mark.parametrize(("value", "problem"), REFUSED)
@pytest.mark.parametrize("name", ["task ID", "run ID", "MCP_RUNNER_TASK_ID"])
def test_what_cannot_be_an_id_is_refused_with_its_rule(value, problem, name):
    with pytest.raises(UsageError) as refused:
        check_id(value, name=name)
    assert refused.value.message == f'Invalid {name} "{value}": {problem}.'
    assert refused.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "0940-task",
        "a.b",
        "a..b",
        "ends.",
        "two words",
        " ",
        "aufgabe-ß",
        "é" * 64,
        "a" * 128,
        "Latest",
        "~",
        "-",
    ],
)
def test_anything_else_is_taken_as_it_is(value):
    assert check_id(value, name="task ID") == value
    assert id_problem(value) is None


@pytest.mark.parametrize(
    ("run_id", "moment"),
    [
        ("2025-11-21T02-44-32-979Z-6f1e3102", 1_763_693_072.979),
        ("2025-11-21T02-44-32-979Z", None),
        ("2025-99-21T02-44-32-979Z-6f1e3102", None),
        ("2025-11-21T02-44-32-979Z-6f1e3102x", None),
        ("r1", None),
    ],
)
def test_a_run_id_says_when_it_was_made(run_id, moment):
    assert born(run_id) == moment


def test_a_run_id_is_its_time_and_eight_hex_digits():
    assert re.fullmatch(r"2026-11-21T02-44-32-979Z-[0-9a-f]{8}", new_run_id(1795229072.979))
    assert new_run_id(1.0) != new_run_id(1.0)
    assert new_run_id(1795229072.979) < new_run_id(1795229072.980) < new_run_id(1795229073.0)
    assert id_problem(new_run_id(1795229072.979)) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("build", "build"),
        ("Build It", "Build-It"),
        ("a--b__c", "a-b-c"),
        ("  spec/guard!  ", "spec-guard"),
        ("été", "t"),
        ("日本", "command"),
        ("", "command"),
        ("---", "command"),
        ("x" * 100, "x" * 80),
        ("-" + "x" * 100, "x" * 80),
        # The ends are trimmed first and the length is cut last, as readers of the Node CLI's logs expect.
        ("x" * 79 + "/y", "x" * 79 + "-"),
    ],
)
def test_a_slug_keeps_ascii_letters_digits_and_case(value, expected):
    assert slug(value) == expected


def test_a_slug_of_nothing_is_the_fallback():
    assert slug("!", fallback="task") == "task"


@pytest.mark.parametrize(
    ("index", "stage_id", "stem"),
    [(1, "build", "01-build"), (12, "a b", "12-a-b"), (100, "z", "100-z"), (3, "…", "03-command")],
)
def test_the_files_of_a_stage_are_named_by_place_and_slug(index, stage_id, stem):
    assert stage_file_stem(index, stage_id) == stem
