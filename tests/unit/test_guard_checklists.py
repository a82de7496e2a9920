"""Checked boxes and what they cite; runs and whether they are evidence."""

from __future__ import annotations

import dataclasses

import pytest

from codex_orchestrator.checks.checklists import checked_boxes
from codex_orchestrator.checks.evidence import judge_run
from codex_orchestrator.model.codec import to_json
from codex_orchestrator.model.definitions import CommandStage
from tests.support.builders import NOW, opened_run, pipeline_of

A, B = ".runs/t/cli/a/manifest.json", ".runs/t/cli/b/manifest.json"


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ("", []),
        ("- [ ] open", []),
        ("- [x]no box", []),
        ("[x] no item", []),
        ("- [x] done", [(1, "done", ())]),
        ("* [X] done\n+ [x] two\n1. [x] three", [(1, "done", ()), (2, "two", ()), (3, "three", ())]),
        (f"- [x] done (`{A}`).", [(1, f"done (`{A}`).", (A,))]),
        (f"- [x] [run]({A}), <b>{B}</b>", [(1, f"[run]({A}), <b>{B}</b>", (A,))]),
        (f"- [x] see {A}#approvals[0].", [(1, f"see {A}#approvals[0].", (A,))]),
        (f"- [x] see `{A}`, `{A}`; {B}", [(1, f"see `{A}`, `{A}`; {B}", (A, B))]),
        (f"- [x] done\n  - Evidence: `{A}`\n- [x] two", [(1, "done", (A,)), (3, "two", ())]),
        (f"- [x] done\n\n  More: {A}\n", [(1, "done", (A,))]),
        (f"- [x] done\nlazily {A}\n", [(1, "done", (A,))]),
        (f"- [x] done\n\nAnother paragraph: {A}\n", [(1, "done", ())]),
        (f"- [x] done\n## {A}\n- [x] two", [(1, "done", ()), (3, "two", ())]),
        (f"- [x] all {A}\n  - [x] part\n  - [ ] rest", [(1, f"all {A}", (A,)), (2, "part", (A,))]),
        (f"- [ ] all {A}\n  - [x] part", [(2, "part", ())]),
        (f"- [x] all\n  - [x] one {A}\n  - [x] two {B}", [
            (1, "all", (A, B)), (2, f"one {A}", (A,)), (3, f"two {B}", (B,)),
        ]),
        (f"- [x] all {A}\n\t- [x] deep\n\t\t- [x] deeper", [
            (1, f"all {A}", (A,)), (2, "deep", (A,)), (3, "deeper", (A,)),
        ]),
        ("- [x] `.runs/<task>/cli/<run>/manifest.json`", [(1, "`.runs/<task>/cli/<run>/manifest.json`", ())]),
        ("- [x] `.runs/**/manifest.json` $RUN/manifest.json …/manifest.json manifest.json", [
            (1, "`.runs/**/manifest.json` $RUN/manifest.json …/manifest.json manifest.json", ()),
        ]),
        # Other files than the manifest.
        *((f"- [x] {A}{more}", [(1, f"{A}{more}", ())]) for more in (".bak", "x", "/x", "-2", "_old", "~1")),
        *((f"- [x] {A}{more}", [(1, f"{A}{more}", (A,))]) for more in (".", ":", "#x", "?x", "*", "_")),
        ("```md\n- [x] an example\n```\n<!--\n- [x] hidden\n-->\n", []),
        ("> - [x] quoted", []),
    ],
)  # fmt: skip
def test_checked_boxes(text, boxes):
    assert [(box.line, box.text, box.cited) for box in checked_boxes(text)] == boxes


ENDED = dataclasses.replace(
    opened_run(pipeline_of(CommandStage(kind="command", id="a", title="A", command="true"))),
    status="succeeded",
    completed_at=NOW,
    summary="Guardrails: spec-guard command not found.",
)
PARTIAL = "Partial run: 1 of 2 stages selected.\nGuardrails: spec-guard command not found."


def manifest(**changes) -> dict:
    return {**to_json(ENDED), **changes}


def summary(text="fine", *, approved=True) -> dict:
    return {"review": {"summary": text, "decision": {"approved": approved}}}


@pytest.mark.parametrize(
    ("run", "told", "rule", "why"),
    [
        (manifest(), None, None, ""),
        (manifest(), summary(), None, ""),
        (manifest(), "no summary at all", None, ""),
        (manifest(runtime_mode="cli", runtime_provider=None), None, None, ""),
        (manifest(summary=None), None, None, ""),
        (manifest(summary="Not a Partial run: 1 of 2 stages selected. It says so."), None, None, ""),
        (manifest(status="failed"), None, "evidence-not-succeeded", "is of a run that is failed"),
        (
            manifest(status="in_progress"),
            summary(),
            "evidence-not-succeeded",
            "is of a run that is in_progress",
        ),
        (manifest(status="fine"), None, "evidence-invalid", "status"),
        (manifest(extra=1), None, "evidence-invalid", "extra: unknown key"),
        ({}, None, "evidence-invalid", "and 28 more"),
        ([], None, "evidence-invalid", "must be an object"),
        (None, summary(), "evidence-invalid", "must be an object"),
        (manifest(summary=PARTIAL), None, "evidence-partial", "is of a partial run"),
        (manifest(), summary(PARTIAL, approved=False), "evidence-partial", "is of a partial run"),
        (manifest(), summary(approved=False), "evidence-not-approved", "does not approve"),
    ],
)
def test_which_runs_are_evidence(run, told, rule, why):
    verdict = judge_run(run, told)
    assert (verdict is None) == (rule is None)
    if verdict is not None:
        assert verdict[0] == rule
        assert why in verdict[1]
