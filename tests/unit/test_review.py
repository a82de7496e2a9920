"""What a hand-off asks, decided from what is known."""

from __future__ import annotations

import pytest

from codex_orchestrator.checks.base import Base
from codex_orchestrator.checks.changes import Changes
from codex_orchestrator.checks.difference import Difference, FileChange
from codex_orchestrator.checks.hand_off import (
    ReviewedChange,
    ReviewedRun,
    change_line,
    hand_off,
    open_questions,
)
from tests.support.builders import NOW

GUARDED = "Guardrails: spec-guard succeeded (1 passed)."
BASE = Base("a" * 40, "origin/main")
OLDER = "The run is older than the change: files were written after it had ended:"
APPROVE = "codex-orchestrator approve --run r --stage"


def entry(stage_id: str, status: str, **keys) -> dict:
    return {"index": 1, "id": stage_id, "title": stage_id.title(), "status": status, **keys}


def run_of(*commands: dict, **keys) -> ReviewedRun:
    """A run that succeeded, but for what is given: its manifest's keys in ``manifest``, else its own."""
    manifest = {"run_id": "r", "status": "succeeded", "commands": list(commands), **keys.pop("manifest", {})}
    known = {
        "path": ".runs/t/cli/r/manifest.json",
        "liveness": "finished",
        "stale": False,
        "from_within": False,
        "guardrails": GUARDED,
        "guarded": True,
        "fault": None,
        "waits": (),
    }
    return ReviewedRun(manifest=manifest, **{**known, **keys})


def change_of(*files: FileChange, base: Base | None = BASE, newer=(), notices=()) -> ReviewedChange:
    changes = Changes(base, tuple(file.path for file in files), tuple(notices))
    return ReviewedChange(difference=Difference(changes, files), newer=tuple(newer))


DONE = entry("build", "succeeded")
CASES = {
    "all is well": (run_of(DONE), []),
    "failed": (
        run_of(
            DONE,
            entry("test", "failed", summary="Exited with\n code 1", error_file="errors/02-test.json"),
            entry("ship", "pending"),
            manifest={"status": "failed", "status_detail": "stage:test:failed"},
            fault="is of a run that is failed",
        ),
        [
            "The run is failed (stage:test:failed).",
            'Stage "test" failed: Exited with code 1 (see errors/02-test.json).',
            'Stage "ship" has not been run.',
        ],
    ),
    "failed without words": (
        run_of(entry("test", "failed"), manifest={"status": "failed"}),
        ["The run is failed.", 'Stage "test" failed.'],
    ),
    "partial": (
        run_of(DONE, fault="is of a partial run"),
        ["The run's manifest is of a partial run."],
    ),
    "skipped": (
        run_of(entry("lint", "skipped", summary="no ruff")),
        ['Stage "lint" was skipped: no ruff.'],
    ),
    "waiting": (
        run_of(
            entry("gate", "pending", kind="manual"), liveness="waiting", waits=(("r", "gate"), ("s", "a b"))
        ),
        [
            "The run waits for a decision.",
            f'Stage "gate" has not been approved: {APPROVE} gate (or reject).',
            f"""Stage "a b" has not been approved: {APPROVE.replace("run r", "run s")} 'a b' (or reject).""",
        ],
    ),
    "alive": (
        run_of(entry("test", "running"), liveness="alive"),
        ["The run still goes on.", 'Stage "test" has not ended.'],
    ),
    "stale": (
        run_of(DONE, liveness="alive", stale=True),
        ["The run still goes on, and its heartbeat is stale."],
    ),
    "dead": (
        run_of(DONE, liveness="dead"),
        ["The run has not ended and its process is gone: codex-orchestrator resume --run r."],
    ),
    "from within": (
        run_of(
            entry("review", "running"),
            entry("ship", "pending"),
            liveness="alive",
            from_within=True,
            fault="is of a run that is in_progress",
        ),
        ['Stage "ship" has not been run.'],
    ),
    "no guardrail": (
        run_of(DONE, guarded=False, guardrails="Guardrails: spec-guard command not found."),
        ["No guardrail has passed. Guardrails: spec-guard command not found."],
    ),
    "guardrails unknown": (run_of(DONE, guarded=False, guardrails=None), ["No guardrail has passed."]),
    "children": (
        run_of(
            DONE,
            manifest={
                "child_runs": [
                    {"run_id": "c", "pipeline_id": "inner", "status": "failed"},
                    {"run_id": "d", "pipeline_id": "inner", "status": "succeeded"},
                    "no object",
                ]
            },
        ),
        ["Child run c (inner) is failed."],
    ),
}


@pytest.mark.parametrize(("run", "expected"), CASES.values(), ids=CASES)
def test_what_is_open_is_asked(run, expected):
    assert list(open_questions(run, change_of())) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_of(base=None), ["How large the change is, is not known."]),
        (
            change_of(newer=("a", "b\udcff")),
            ["The run is older than the change: files were written after it had ended: a, b\\udcff."],
        ),
        (
            change_of(newer="abcdefg"),
            [f"{OLDER} a, b, c, d, e and 2 more."],
        ),
    ],
    ids=["no base", "newer", "many newer"],
)
def test_what_is_not_known_of_the_change_is_asked(change, expected):
    assert list(open_questions(run_of(DONE), change)) == expected


@pytest.mark.parametrize(
    ("keys", "evidence"),
    [
        ({}, True),
        ({"fault": "is of a partial run"}, False),
        ({"fault": "is of a run that is in_progress", "from_within": True}, None),
    ],
)
def test_a_run_is_evidence_or_it_is_said_why_not(keys, evidence):
    document = hand_off(run_of(DONE, **keys), change_of(), notes=None, generated_at=NOW)
    assert document["evidence"] is evidence
    assert (keys.get("fault", "") in document["evidence_detail"]) is (evidence is not None)


def test_a_hand_off_cites_approvals_and_adds_up_the_change():
    approvals = [{"actor": "ada", "timestamp": NOW, "reason": "stage:gate:approved"}]
    run = run_of(DONE, manifest={"approvals": approvals})
    change = change_of(FileChange("a", 3, 1), FileChange("b\udcff", 0, 0, binary=True, size=34 * 1024))
    document = hand_off(run, change, notes="Look here.", generated_at=NOW)
    assert document["approvals"] == [{**approvals[0], "cited_as": f"{run.path}#approvals[0]"}]
    assert {key: document["change"][key] for key in ("files", "added", "deleted", "binary")} == {
        "files": 2,
        "added": 3,
        "deleted": 1,
        "binary": 1,
    }
    assert [file["path"] for file in document["change"]["changed"]] == ["a", "b\\udcff"]
    assert (document["notes"], document["generated_at"]) == ("Look here.", NOW)
    assert change_line(document["change"]) == (
        "2 files changed, 1 of them binary (34 KiB), "
        "3 lines added and 1 deleted since aaaaaaaaaaaa (origin/main)."
    )


def test_a_change_without_a_base_has_no_size():
    document = hand_off(run_of(DONE), change_of(base=None), notes=None, generated_at=NOW)
    assert change_line(document["change"]) == "Not measured."
