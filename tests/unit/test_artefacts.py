"""Checking files against their schemas, whatever is in them."""

from __future__ import annotations

import json

import pytest

from codex_orchestrator.evidence.artefacts import ARTEFACTS, check_file, check_folder

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


RUN = "2026-11-21T02-44-32-979Z-6f1e3102"
NODE_MANIFEST = json.dumps({"run_id": RUN, "runtime_mode": "cli"})
NODE_LINE = json.dumps({"run_id": RUN, "learning_alerts": 0}) + "\n"


def lay_out(root, files):
    for name, text in files.items():
        path = root / name.replace("RUN", RUN)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    "files",
    [
        {"t/cli/RUN/manifest.json": NODE_MANIFEST},
        {"t/cli/RUN/manifest.json": json.dumps({"resume_token": "0" * 64}), "t/cli/RUN/a/b.txt": ""},
        {"t/RUN/manifest.json": "{}"},
        {"t/metrics/baseline.json": "{}"},
        {"t/metrics.json": NODE_LINE},
        {"t/runs.json": "{}"},
        {"t/state.json": '{"taskId": "t", "lastRunAt": null, "runs": []}'},
        {"t/state.json": '{"updated_at": "x", "safety": {}}'},
        {"t/drift.json": '{"entries": []}'},
    ],
)
def test_files_of_the_node_cli_are_not_checked(tmp_path, files):
    lay_out(tmp_path, files)
    found = list(check_folder(tmp_path))
    assert [(one.problems, one.checked) for one in found] == [((), False)] * len(files)


@pytest.mark.parametrize(
    "files",
    [
        {"t/cli/RUN/manifest.json": '{"resume_token": "sha256:0"}'},
        {"t/cli/RUN/manifest.json": "torn {"},
        {"t/RUN/manifest.json": "torn {"},
        {"t/mcp/RUN/manifest.json": "{}"},
        {"t/metrics.json": NODE_LINE + "{}\n"},
        {"t/state.json": '{"taskId": "t"}'},
        {"t/note.txt": ""},
    ],
)
def test_what_is_neither_ours_nor_of_the_node_cli_is_a_problem(tmp_path, files):
    lay_out(tmp_path, files)
    (found,) = check_folder(tmp_path)
    assert found.problems
    assert found.checked


def test_what_a_file_is_said_to_be_is_checked_whoever_wrote_it(tmp_path):
    lay_out(tmp_path, {"t/cli/RUN/manifest.json": NODE_MANIFEST})
    assert check_file(tmp_path / "t/cli" / RUN / "manifest.json", ARTEFACTS["manifest"]).problems
