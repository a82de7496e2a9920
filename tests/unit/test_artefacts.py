"""Checking files against their schemas, whatever is in them."""

from __future__ import annotations

import pytest

from codex_orchestrator.artefacts import check_file

DEEP = {"array": b"[" * 100_000, "object": b'{"a":' * 100_000, "whole": b"[" * 100_000 + b"]" * 100_000}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("name", ["manifest.json", "codex.orchestrator.json", "run.lock", "runner.ndjson"])
def test_what_is_nested_too_deeply_is_a_problem_of_the_file(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text + b"\n")
    (problem,) = check_file(path).problems
    assert problem.removeprefix("line 1: ") == "not JSON: nested more than 100 levels deep"


@pytest.mark.parametrize("levels", [300, 900])
def test_what_only_one_of_the_readers_can_follow_is_one_too(tmp_path, levels):
    path = tmp_path / "manifest.json"
    path.write_text('{"x":' * levels + "1" + "}" * levels)
    assert check_file(path).problems


def test_a_deep_line_that_its_writer_died_in_is_passed_over(tmp_path):
    path = tmp_path / "runner.ndjson"
    path.write_bytes(DEEP["array"])
    assert check_file(path).problems == ()
