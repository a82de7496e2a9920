"""What other tools are told of a run: an in-toto statement (docs/reference/files.md, "Signatures"). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from codex_orchestrator.dataclass import dataclass

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"


@dataclass(frozen=True, kw_only=True)
class Attested:
    """A run as it is spoken of.

    Attributes:
        task_id: Its task.
        run_id: The run.
        pipeline_id: What it ran.
        status: Of the run.
        partial: Whether a selection left stages out.
        plan_digest: The SHA-256 of what it ran; None where it is not known.
        stages: The status of each stage by its id.
        evidence: The SHA-256 that stands for its evidence: its seal's root, or its manifest's digest.
        is_sealed: Whether that is a root.
        commit: The commit whose files it ran on from beginning to end; None where it is none.
        tree: The same for a tree.
    """

    task_id: str
    run_id: str
    pipeline_id: str
    status: str
    partial: bool
    plan_digest: str | None
    stages: Mapping[str, str]
    evidence: str
    is_sealed: bool
    commit: str | None
    tree: str | None


def statement_of(run: Attested) -> dict[str, Any]:
    """The statement, with what must be in it by the definition of test results, version 0.1."""
    plan = {"name": f"{run.pipeline_id}: plan", "digest": {"sha256": run.plan_digest}}
    return {
        "_type": STATEMENT_TYPE,
        "subject": _subjects(run),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": _result(run),
            "configuration": [plan] if run.plan_digest is not None else [],
            "passedTests": _stages(run, "succeeded"),
            "warnedTests": _stages(run, "skipped"),
            "failedTests": _stages(run, "failed"),
        },
    }


def names_evidence(statement: Any, digest: str) -> bool:
    """Whether somebody's statement is of this kind and has a subject with this SHA-256."""
    if not isinstance(statement, dict) or statement.get("_type") != STATEMENT_TYPE:
        return False
    subjects = statement.get("subject")
    digests = [each.get("digest") for each in _objects(subjects)]
    return statement.get("predicateType") == PREDICATE_TYPE and any(
        isinstance(each, dict) and each.get("sha256") == digest for each in digests
    )


def _objects(value: Any) -> Sequence[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _subjects(run: Attested) -> list[dict[str, Any]]:
    name = f"codex:{quote(run.task_id, safe='')}/{quote(run.run_id, safe='')}"
    what = "seal" if run.is_sealed else "manifest"
    subjects = [(f"{name} {what}", "sha256", run.evidence)]
    if run.commit is not None:
        subjects.append(("git commit", "gitCommit", run.commit))
    if run.tree is not None:
        subjects.append(("git tree", "gitTree", run.tree))
    return [{"name": name, "digest": {kind: digest}} for name, kind, digest in subjects]


def _result(run: Attested) -> str:
    """``PASSED`` is for runs of which every stage has succeeded."""
    if run.status != "succeeded":
        return "FAILED"
    whole = not run.partial and all(status == "succeeded" for status in run.stages.values())
    return "PASSED" if whole else "WARNED"


def _stages(run: Attested, status: str) -> list[str]:
    return [f"{run.pipeline_id}::{name}" for name, known in run.stages.items() if known == status]
