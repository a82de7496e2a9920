"""Gathers the facts of a hand-off, and writes it as Markdown.

The answer is in docs/reference/command-line.md, section "review".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from codex_orchestrator import places
from codex_orchestrator.checks.changes import ChangeRequest
from codex_orchestrator.checks.difference import FileChange, read_difference
from codex_orchestrator.checks.evidence import judge_run
from codex_orchestrator.checks.hand_off import ReviewedChange, ReviewedRun, change_line, hand_off
from codex_orchestrator.checks.worktree_files import readable_size
from codex_orchestrator.clock import parse_timestamp, timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import StorageError, UnknownRun
from codex_orchestrator.evidence.manifests import read_document
from codex_orchestrator.model.codec import Mismatch, from_json
from codex_orchestrator.model.manifest import TERMINAL, Manifest
from codex_orchestrator.rules.guardrails import guardrail_status
from codex_orchestrator.text import flattened, gist, printable
from codex_orchestrator.views.citations import claim_document, claims_of_sealed
from codex_orchestrator.views.lookup import FoundRun
from codex_orchestrator.views.pending_approvals import pending_approvals
from codex_orchestrator.views.status import status_document

_FILES_SHOWN = 50


@dataclass(frozen=True)
class ReviewRequest:
    """What to hand over.

    Attributes:
        found: The run.
        change: The change that it is about.
        notes: What whoever hands over has to say, or None.
        from_within: Whether a stage of the run asks.
    """

    found: FoundRun
    change: ChangeRequest
    notes: str | None = None
    from_within: bool = False


def review_document(request: ReviewRequest, *, now: float) -> dict[str, Any]:
    """The JSON answer of ``review``.

    Raises:
        UsageError: A bad base, or a repository that cannot be read.
    """
    run = _reviewed(request, now=now)
    difference = read_difference(request.change)
    ended = parse_timestamp(str(run.manifest.get("completed_at")))
    newer = () if run.from_within else _newer(request.change.root, difference.files, ended)
    change = ReviewedChange(difference=difference, newer=newer)
    # A stage sees its own run before it has ended, or as it was sealed before it was taken up again.
    claims = [] if request.from_within else claims_of_sealed(request.found)
    return {
        **hand_off(run, change, notes=request.notes, generated_at=timestamp(now)),
        **claim_document(claims),
    }


def review_text(document: dict[str, Any]) -> str:
    """The same as Markdown."""
    run = document["run"]
    sections = (
        ("Open questions", _bullets(map(_plain, document["open_questions"])) or ["None."]),
        ("Stages", [_stage_line(stage) for stage in document["stages"]]),
        ("Guardrails", [_plain(document["guardrails"] or "Not known.")]),
        ("Approvals", _bullets(_approval_line(each) for each in document["approvals"])),
        ("Child runs", _bullets(_child_line(each) for each in document["child_runs"])),
        ("Claims", _bullets(_claim_line(each) for each in document["claims"])),
        ("Change", list(_change_lines(document["change"]))),
        # Quoted, as what stages and other tools have written there might look like a section of this.
        ("Summary", [f"> {line}" for line in str(document["summary"] or "").splitlines()]),
        ("Notes", str(document["notes"] or "").splitlines()),
    )
    lines = [f"# Review of {_plain(run['pipeline_id'])}, run {_plain(run['run_id'])}", "", *_head(document)]
    for title, body in sections:
        if body:
            lines += ["", f"## {title}", "", *(printable(line) for line in body)]
    return "\n".join(lines)


def _reviewed(request: ReviewRequest, *, now: float) -> ReviewedRun:
    found = request.found
    status = status_document(found, now=now)
    line, guarded = _guardrails(found, now=now)
    fault = judge_run(found.manifest, _run_summary(found))
    return ReviewedRun(
        manifest=found.manifest,
        path=found.layout.relative(found.layout.manifest),
        liveness=status["liveness"],
        stale=status["stale"],
        from_within=request.from_within,
        guardrails=line,
        guarded=guarded,
        fault=fault[1] if fault else None,
        waits=tuple((gate.run.layout.run_id, gate.stage_id) for gate in pending_approvals(found)),
    )


def _guardrails(found: FoundRun, *, now: float) -> tuple[str | None, bool]:
    """The guardrail line, and whether a guardrail has passed; computed while the run still goes on."""
    manifest = found.manifest
    recorded = manifest.get("guardrail_status")
    if manifest.get("status") in TERMINAL and isinstance(recorded, dict):
        return recorded.get("summary"), recorded.get("present") is True
    try:
        computed = guardrail_status(from_json(Manifest, manifest, strict=False), computed_at=timestamp(now))
    except Mismatch:
        return None, False
    return computed.summary, computed.present


def _run_summary(found: FoundRun) -> Any:
    """The RunSummary; None where there is none that can be read."""
    try:
        return read_document(found.layout.run_summary, below=found.layout.base)
    except UnknownRun:
        return None


def _newer(root: Path, files: Sequence[FileChange], ended: float | None) -> tuple[str, ...]:
    """The files that were written after a moment in epoch seconds; none where it is not known."""
    return tuple(
        file.path for file in files if ended is not None and _written(root / file.path, root) > ended
    )


def _written(path: Path, root: Path) -> float:
    try:
        found = places.status(path, below=root)
    except StorageError:
        found = None
    return found.st_mtime if found is not None else 0.0  # It was removed, and nobody knows when.


def _head(document: dict[str, Any]) -> list[str]:
    run = document["run"]
    detail = f" ({_plain(run['status_detail'])})" if run["status_detail"] else ""
    return [
        f"- Task: {_plain(run['task_id'])}",
        f"- Status: {_plain(run['status'])}{detail}, {run['liveness']}{', stale' if run['stale'] else ''}",
        f"- Evidence: {_plain(document['evidence_detail'])}",
        f"- Manifest: `{_plain(document['manifest'])}`",
        f"- Log: `{_plain(run['log_path'])}`",
        f"- Started: {_plain(run['started_at'])}, completed: {_plain(run['completed_at'] or '-')}",
    ]


def _stage_line(stage: dict[str, Any]) -> str:
    said = f": {_plain(gist(str(stage['summary'])))}" if stage["summary"] else ""
    files = ", ".join(f"`{_plain(path)}`" for path in (stage["error_file"], stage["log_path"]) if path)
    return (
        f"{stage['index']}. [{stage['status']}] {_plain(stage['title'])} ({_plain(stage['id'])}){said}"
        f"{f' — {files}' if files else ''}"
    )


def _approval_line(approval: dict[str, Any]) -> str:
    reason = f": {_plain(approval['reason'])}" if approval.get("reason") else ""
    return f"{_plain(approval.get('actor'))}{reason} — `{_plain(approval['cited_as'])}`"


def _child_line(child: dict[str, Any]) -> str:
    return f"[{child.get('status')}] {_plain(child.get('pipeline_id'))} — `{_plain(child.get('manifest'))}`"


def _claim_line(claim: dict[str, Any]) -> str:
    what = "the run" if claim["stage_id"] is None else _plain(claim["stage_id"])
    return f"{what}: {_plain(claim['status'])} (`{claim['token']}`)"


def _change_lines(change: dict[str, Any]) -> Iterator[str]:
    yield change_line(change)
    if change["changed"] or change["notices"]:
        yield ""
    for file in change["changed"][:_FILES_SHOWN]:
        yield f"- `{_name(file)}`: {_measure(file)}"
    if len(change["changed"]) > _FILES_SHOWN:
        yield f"- and {len(change['changed']) - _FILES_SHOWN} more"
    yield from _bullets(change["notices"])


def _name(file: dict[str, Any]) -> str:
    return f"{file['renamed_from']} → {file['path']}" if file["renamed_from"] else str(file["path"])


def _measure(file: dict[str, Any]) -> str:
    if not file["binary"]:
        return f"+{file['added']} -{file['deleted']}"
    return f"binary, {readable_size(file['bytes'])}" if file["bytes"] else "binary"


def _bullets(lines: Iterable[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def _plain(value: object) -> str:
    """A value as text on one line."""
    return printable(flattened(str(value)))
