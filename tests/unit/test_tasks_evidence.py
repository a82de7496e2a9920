"""Which run a task's files cite, and how."""

from __future__ import annotations

import json

import pytest

from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.tasks.evidence import Evidence, newest_evidence, with_evidence

FIRST, SECOND, THIRD = (f"2026-11-2{day}T00-00-00-000Z-00000000" for day in (1, 2, 3))


@pytest.fixture
def leave(task):
    """Leave a manifest of a run: succeeded, complete and without a parent, but for what is given."""

    def manifest(run_id: str, task_id: str = "t", /, **fields) -> None:
        layout = TaskLayout(task.environment, task_id).run(run_id)
        layout.folder.mkdir(parents=True)
        document = {
            "run_id": run_id,
            "status": "succeeded",
            "parent_run_id": None,
            "summary": "Good.",
            **fields,
        }
        layout.manifest.write_text(json.dumps(document), encoding="utf-8")

    return manifest


def newest(task, *names: str):
    evidence = newest_evidence(task.environment, names or ("t",))
    return evidence and (evidence.run_id, evidence.status)


@pytest.mark.parametrize(
    ("fields", "cited"),
    [
        ({}, (SECOND, "succeeded")),
        ({"status": "failed"}, (SECOND, "failed")),
        ({"status": "cancelled"}, (SECOND, "cancelled")),
        ({"status": "in_progress"}, (FIRST, "succeeded")),
        ({"status": "queued"}, (FIRST, "succeeded")),
        ({"parent_run_id": FIRST}, (FIRST, "succeeded")),
        ({"summary": "Odd.\nPartial run: 1 of 2 stages selected.\nGuard."}, (FIRST, "succeeded")),
        ({"summary": None}, (SECOND, "succeeded")),
        ({"run_id": THIRD}, (FIRST, "succeeded")),
        ({"status": ["succeeded"]}, (FIRST, "succeeded")),
    ],
)
def test_the_newest_run_that_has_ended_and_is_whole(task, leave, fields, cited):
    leave(FIRST)
    leave(SECOND, **fields)
    assert newest(task) == cited


def test_runs_under_any_of_the_names_count(task, leave):
    leave(SECOND, "0042")
    leave(FIRST, "0042-pay")
    leave(THIRD, "0043")
    assert newest(task, "0042-pay", "0042") == (SECOND, "succeeded")


def test_what_is_no_manifest_is_passed_over(task, leave):
    leave(FIRST)
    for name, content in ((SECOND, b"{"), (THIRD, b"[]")):
        folder = task.run(name).folder
        folder.mkdir()
        (folder / "manifest.json").write_bytes(content)
    (task.cli_dir / "zzz").write_text("a file\n")
    assert newest(task) == (FIRST, "succeeded")
    assert newest(task, "nobody") is None


def test_paths_are_relative_and_only_snapshots_that_are_there_are_named(task, leave):
    leave(FIRST)
    manifest = f".runs/t/cli/{FIRST}/manifest.json"
    assert newest_evidence(task.environment, ("t",)) == Evidence(FIRST, "succeeded", manifest)
    task.state.write_text("{}")
    task.metrics.write_text("")
    evidence = newest_evidence(task.environment, ("t",))
    assert evidence is not None
    assert evidence.snapshots == (".runs/t/metrics.json", "out/t/state.json")


EVIDENCE = Evidence("r", "failed", "m.json", ("a", "b"), "codex:t/r@0123456789abcdef")
LINK, SNAPSHOTS = "`m.json` _(status: `failed`)_", "`a`, `b`"


@pytest.mark.parametrize(
    ("content", "after"),
    [
        ("- Run Manifest Link: _(pending)_\n", f"- Run Manifest Link: {LINK}\n"),
        ("x\n  * Run Manifest Link:old\ny\n", f"x\n  * Run Manifest Link: {LINK}\ny\n"),
        ("- Metrics / State Snapshots:\n- [ ] x\n", f"- Metrics / State Snapshots: {SNAPSHOTS}\n- [ ] x\n"),
        ("- Evidence Token: x\n", "- Evidence Token: `codex:t/r@0123456789abcdef`\n"),
        ("Run Manifest Link: x\n- The Run Manifest Link: x\n", None),
        ("- [ ] x\n", None),
    ],
)
def test_lines_that_speak_of_evidence_are_led_to_it(content, after):
    assert with_evidence(content, EVIDENCE) == (content if after is None else after)


def test_without_evidence_here_what_others_have_written_stays():
    assert with_evidence("- Run Manifest Link: `theirs`\n", None) == "- Run Manifest Link: `theirs`\n"
    bare = Evidence("r", "failed", "m.json")
    assert (
        with_evidence("- Metrics / State Snapshots: x\n", bare)
        == "- Metrics / State Snapshots: _(pending)_\n"
    )


def test_a_gate_keeps_what_else_is_in_it():
    own = {"status": "failed", "run_id": "r", "log": "m.json", "token": "codex:t/r@0123456789abcdef"}
    assert EVIDENCE.gate_after(None) == own
    assert EVIDENCE.gate_after("odd") == own
    assert EVIDENCE.gate_after({"note": "n", "status": "succeeded"}) == {"note": "n", **own}


def test_a_run_that_is_not_sealed_has_no_token_and_keeps_none_of_another():
    bare = Evidence("r", "failed", "m.json")
    gate = {"status": "failed", "run_id": "r", "log": "m.json"}
    assert bare.gate_after({**gate, "token": "codex:t/q@0123456789abcdef"}) == gate
    assert with_evidence("- Evidence Token: `x`\n", bare) == "- Evidence Token: _(pending)_\n"
