"""The hand-off of a run to its reviewer, as one JSON value.

Pure: what is known of the run and of the change goes in, and what is open comes out with it
(docs/reference/command-line.md, "review").
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from codex_orchestrator.checks.difference import Difference
from codex_orchestrator.checks.report import counted, encodable
from codex_orchestrator.checks.worktree_files import readable_size
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.text import gist

_RUN_KEYS = (
    *("run_id", "task_id", "pipeline_id", "pipeline_title", "status", "status_detail"),
    *("started_at", "completed_at", "parent_run_id", "artifact_root", "log_path", "run_summary_path"),
)
_STAGE_KEYS = (
    *("index", "id", "title", "kind", "command", "status", "exit_code", "summary"),
    *("log_path", "error_file", "sub_run_id"),
)
_FILES_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class ReviewedRun:
    """What is known of a run.

    Attributes:
        manifest: Its manifest as it is, which another tool may have written.
        path: Where that is, relative to the root.
        liveness: ``alive``, ``dead``, ``finished`` or ``waiting``.
        stale: Whether its heartbeat is too old for a run that has not ended.
        from_within: Whether the hand-off is made by a stage of this very run.
        guardrails: The guardrail line; None where nobody can tell.
        guarded: Whether a guardrail command has succeeded.
        fault: Why it is no evidence, to be read after "Its manifest"; None where nothing speaks against it.
        waits: The manual stages to be decided on, each as the ids of its run and of itself.
    """

    manifest: Mapping[str, Any]
    path: str
    liveness: str
    stale: bool
    from_within: bool
    guardrails: str | None
    guarded: bool
    fault: str | None
    waits: tuple[tuple[str, str], ...]

    @property
    def run_id(self) -> str:
        """Its id."""
        return str(self.manifest["run_id"])

    @property
    def status(self) -> str:
        """Its status."""
        return str(self.manifest.get("status"))


@dataclass(frozen=True, kw_only=True)
class ReviewedChange:
    """What is known of the change that the run is about.

    Attributes:
        difference: Its files.
        newer: Changed files that were written after the run had ended.
    """

    difference: Difference
    newer: tuple[str, ...]


def hand_off(
    run: ReviewedRun, change: ReviewedChange, *, notes: str | None, generated_at: str
) -> dict[str, Any]:
    """The hand-off.

    Args:
        run: The run.
        change: The change.
        notes: What whoever hands over has to say.
        generated_at: The time, as artefacts write it.
    """
    manifest = run.manifest
    evidence, reason = _evidence(run)
    return {
        "generated_at": generated_at,
        "manifest": run.path,
        "run": {
            **{key: manifest.get(key) for key in _RUN_KEYS},
            "liveness": run.liveness,
            "stale": run.stale,
        },
        "evidence": evidence,
        "evidence_detail": reason,
        "open_questions": list(open_questions(run, change)),
        "stages": [{key: entry.get(key) for key in _STAGE_KEYS} for entry in manifest["commands"]],
        "guardrails": run.guardrails,
        "approvals": [
            {**approval, "cited_as": f"{run.path}#approvals[{index}]"}
            for index, approval in enumerate(_objects(manifest, "approvals"))
        ],
        "child_runs": _objects(manifest, "child_runs"),
        "summary": manifest.get("summary"),
        "change": _change(change),
        "notes": notes,
    }


def open_questions(run: ReviewedRun, change: ReviewedChange) -> Iterator[str]:
    """What is open for the reviewer, a sentence each; empty where the run is complete and succeeded."""
    yield from _about_run(run)
    for entry in run.manifest["commands"]:
        yield from _about_stage(run, entry)
    for run_id, stage in run.waits:
        words = f"codex-orchestrator approve --run {shlex.quote(run_id)} --stage {shlex.quote(stage)}"
        yield f'Stage "{stage}" has not been approved: {words} (or reject).'
    if not run.guarded:
        yield f"No guardrail has passed. {run.guardrails or ''}".strip()
    for child in _objects(run.manifest, "child_runs"):
        if child.get("status") != "succeeded":
            yield f"Child run {child.get('run_id')} ({child.get('pipeline_id')}) is {child.get('status')}."
    if change.difference.changes.unchecked is not None:
        yield "How large the change is, is not known."
    if change.newer:
        named = ", ".join(map(encodable, change.newer[:_FILES_NAMED]))
        more = f" and {len(change.newer) - _FILES_NAMED} more" if len(change.newer) > _FILES_NAMED else ""
        yield f"The run is older than the change: files were written after it had ended: {named}{more}."


def _evidence(run: ReviewedRun) -> tuple[bool | None, str]:
    """Whether the run can stand as evidence (None before it has ended), and why."""
    if run.from_within:
        return None, "The run still goes on: this is made by a stage of it. Its manifest tells how it ends."
    if run.fault is not None:
        return False, f"This run is no evidence: its manifest {run.fault}."
    return True, "The run has succeeded as a whole."


def _about_run(run: ReviewedRun) -> Iterator[str]:
    if run.from_within:
        return
    if run.liveness == "dead":
        words = f"codex-orchestrator resume --run {shlex.quote(run.run_id)}"
        yield f"The run has not ended and its process is gone: {words}."
    elif run.liveness == "alive":
        yield f"The run still goes on{', and its heartbeat is stale' if run.stale else ''}."
    elif run.liveness == "waiting":
        yield "The run waits for a decision."
    elif run.status != "succeeded":
        detail = run.manifest.get("status_detail")
        yield f"The run is {run.status}{f' ({detail})' if detail else ''}."
    elif run.fault is not None:
        yield f"The run's manifest {run.fault}."


def _about_stage(run: ReviewedRun, entry: Mapping[str, Any]) -> Iterator[str]:
    status, name = entry.get("status"), f'Stage "{entry.get("id")}"'
    said = gist(str(entry.get("summary") or ""))
    if status == "failed":
        where = entry.get("error_file") or entry.get("log_path")
        yield f"{name} failed{f': {said}' if said else ''}{f' (see {where})' if where else ''}."
    elif status == "skipped":
        yield f"{name} was skipped{f': {said}' if said else ''}."
    elif status == "running" and not run.from_within:
        yield f"{name} has not ended."
    elif status == "pending" and (run.run_id, entry.get("id")) not in run.waits:
        yield f"{name} has not been run."


def _change(change: ReviewedChange) -> dict[str, Any]:
    changes, files = change.difference.changes, change.difference.files
    base = changes.base
    return {
        "base": base.commit if base else None,
        "base_source": base.source if base else None,
        "files": len(files),
        "added": sum(file.added for file in files),
        "deleted": sum(file.deleted for file in files),
        "binary": sum(file.binary for file in files),
        "bytes": sum(file.size for file in files),
        "left_out": len(change.difference.left_out),
        "changed": [file.to_json() for file in files],
        "notices": list(change.difference.notices),
    }


def change_line(change: Mapping[str, Any]) -> str:
    """The size of a change in one sentence."""
    if change["base"] is None:
        return "Not measured."
    lines = f"{counted(change['added'], 'line')} added and {change['deleted']} deleted"
    size = f" ({readable_size(change['bytes'])})" if change["bytes"] else ""
    binary = f", {change['binary']} of them binary{size}" if change["binary"] else ""
    since = f"{change['base'][:12]} ({change['base_source']})"
    return f"{counted(change['files'], 'file')} changed{binary}, {lines} since {since}."


def _objects(manifest: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects; other tools may write none."""
    return [item for item in manifest.get(key) or () if isinstance(item, dict)]
