"""Reads what is on disk of a run that is to be resumed, and prepares its folder.

(docs/reference/manifest.md, "Resuming")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.errors import UnknownRun
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.lineage import read_children
from codex_orchestrator.evidence.lines import append, mend_last_line
from codex_orchestrator.evidence.manifests import read_document
from codex_orchestrator.evidence.owner import render_owner, this_process
from codex_orchestrator.evidence.sealing import forget_draft
from codex_orchestrator.evidence.sweep import remove_temporaries
from codex_orchestrator.model.codec import Mismatch, dumps_line, from_json, loads, to_json
from codex_orchestrator.model.manifest import CommandEntry, Manifest, PlanRecord, Receipt
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.rules.lineage import merged_children
from codex_orchestrator.rules.replay import Replay, catch_up, parse_log


def read_whole_manifest(layout: RunLayout) -> Manifest:
    """A manifest of this product or the Node CLI; unknown keys are left out.

    Raises:
        UnknownRun: It is missing, or not one that can be gone on with.
    """
    document = read_document(layout.manifest, below=layout.base)
    try:
        manifest: Manifest = from_json(Manifest, document, strict=False)
    except Mismatch as error:
        raise UnknownRun(f"{layout.manifest} is not a run manifest that can be gone on with.") from error
    return manifest


def read_log(layout: RunLayout) -> Replay:
    """The events in the run's log, as far as they can be read."""
    try:
        return parse_log(places.lines(layout.runner_log, below=layout.base))
    except FileNotFoundError:
        return parse_log(())


def read_known(layout: RunLayout) -> tuple[Manifest, Replay]:
    """The run as its manifest, its log and its children know it together, where nobody else writes them.

    Raises:
        UnknownRun: The manifest cannot be read.
    """
    replay = read_log(layout)
    known = catch_up(read_whole_manifest(layout), replay)
    return replace(known, child_runs=merged_children(known.child_runs, read_children(layout))), replay


def read_plan(layout: RunLayout) -> PlanRecord | None:
    """The plan that the run was started with, or None: runs of the Node CLI have none."""
    try:
        document = loads(places.read(layout.plan, below=layout.base))
        plan: PlanRecord = from_json(PlanRecord, document, strict=False)
    except (OSError, ValueError, Mismatch):
        return None
    return plan


def read_receipts(layout: RunLayout) -> list[Receipt]:
    """The decisions on a run's manual stages, in order; torn lines and those of other runs are left out."""
    try:
        lines = places.read(layout.approvals, below=layout.base).splitlines()
    except FileNotFoundError:
        return []
    receipts = []
    for line in lines:
        try:
            receipt: Receipt = from_json(Receipt, loads(line), strict=False)
        except (ValueError, Mismatch):
            continue  # Torn by a death: nobody was told that it counts. Or of a version that named no run.
        if receipt.run_id == layout.run_id:
            receipts.append(receipt)
    return receipts


def add_receipt(layout: RunLayout, receipt: Receipt) -> None:
    """Append a decision, with the run's lock held.

    Raises:
        StorageError: The disk refused.
    """
    mend_last_line(layout.approvals, below=layout.base)
    append(layout.approvals, dumps_line(to_json(receipt)).encode(), below=layout.base)


def prepare_folder(layout: RunLayout) -> None:
    """Prepare a run's folder to be written to again, with its lock held.

    What a dead owner left half written goes, and the run is marked as live.

    Raises:
        StorageError: The disk refused.
    """
    below = layout.base
    files.make_folder(layout.task.live_dir, below=below)
    files.remove(layout.live_marker, below=below)
    files.create(layout.live_marker, render_owner(this_process()), below=below)
    remove_temporaries(layout)
    forget_draft(layout)
    files.make_folder(layout.folder / "commands", below=below)


def number_error_files(layout: RunLayout, manifest: Manifest, attempts: Mapping[int, int]) -> None:
    """Give the error files of stages that run again the numbers of their attempts.

    Args:
        layout: The run, whose manifest does not name these files any more.
        manifest: The run as it was before it was taken up again.
        attempts: By stage index, how often its command was tried.

    Raises:
        StorageError: The disk refused.
    """
    below = layout.base
    for entry in manifest.commands:
        error = layout.error_file(entry.index, entry.id)
        if entry.status != "succeeded" and places.has_file(error, below=below):
            _keep_error(layout, entry, error, attempts.get(entry.index, 0))


def _keep_error(layout: RunLayout, entry: CommandEntry, error: Path, attempt: int) -> None:
    """Give an error file the number of its attempt."""
    kept = layout.attempt_error_file(entry.index, entry.id, attempt)
    if attempt and places.has_file(kept, below=layout.base):
        # The stage ended before another attempt began, as when it is cancelled in the pause: the error of
        # the last one is kept already, and the next number is that of the next one.
        files.remove(error, below=layout.base)
    else:
        free = _free_error_file(layout, entry, max(1, attempt))
        files.move(error, free, below=layout.base)


def _free_error_file(layout: RunLayout, entry: CommandEntry, attempt: int) -> Path:
    """Where the error of an attempt is kept; nobody counts those of stages that are no commands."""
    while True:
        path = layout.attempt_error_file(entry.index, entry.id, attempt)
        if not places.has_file(path, below=layout.base):
            return path
        attempt += 1
