"""Seals runs, and keeps the chain of a task's seals (docs/reference/files.md, "Seals").

A run that has ended leaves a draft of its seal. Whoever holds the lock takes up all drafts, one after the
other: it learns which seal comes before, writes the run's ``seal.json``, appends the line to the chain, and
removes the draft. So each step may be the last: a draft whose seal is there already is not sealed anew, and
one whose line is there is done. A draft is given another name when its turn comes, so that one that its run
leaves meanwhile is not removed with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from codex_orchestrator import __version__, places
from codex_orchestrator.clock import Clock, SystemClock, timestamp
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.lines import append, lines_backwards, mend_last_line
from codex_orchestrator.evidence.locks import held_lock
from codex_orchestrator.evidence.manifests import object_in, shape_in
from codex_orchestrator.evidence.pending_records import list_pending
from codex_orchestrator.evidence.sealed_files import sealed_file, sealed_files
from codex_orchestrator.model.codec import Mismatch, dumps, dumps_line, from_json, loads, to_json
from codex_orchestrator.model.manifest import ChildRun, Manifest
from codex_orchestrator.model.seal import Seal, SealDraft, SealedFile, SealLine, SealSource, SealTool
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.verdict import add_warnings

PATIENCE_SECONDS = 10.0
NO_PLAN = "unknown"
_LOOKS = 3
_WAITING = ".json"
_TAKEN = ".sealing"
TOOL = SealTool("codex-orchestrator", __version__)


def seal_run(layout: RunLayout, manifest: Manifest, clock: Clock, *, partial: bool) -> bool:
    """Seal a run that has ended and all of whose files are written.

    Args:
        layout: The run.
        manifest: As it is on disk.
        clock: Time.
        partial: Whether a selection left stages out.

    Returns:
        False where somebody else holds the lock, who or whose successor seals it then.

    Raises:
        StorageError: A file cannot be read, or the disk refused.
    """
    with files.storage_errors("seal", layout.folder):
        found = tuple(sealed_files(layout))
    draft = SealDraft(
        task_id=manifest.task_id,
        run_id=manifest.run_id,
        pipeline_id=manifest.pipeline_id,
        status=manifest.status,
        plan_digest=str(object_in(layout.plan, below=layout.base).get("digest") or NO_PLAN),
        partial=partial,
        source=_source(layout),
        tool=TOOL,
        files=(*found, *_child_seals(layout, manifest.child_runs)),
    )
    return _sealed(layout, draft, clock)


def seal_or_warn(
    layout: RunLayout, manifest: Manifest, clock: Clock, save: Callable[[Manifest], None], partial: bool
) -> Manifest:
    """Seal a run as `seal_run` does; trouble is told in its summary, and no half of a seal is left.

    Args:
        layout: The run.
        manifest: As it is on disk.
        clock: Time.
        save: Puts a manifest on disk.
        partial: Whether a selection left stages out.

    Returns:
        The manifest with that.
    """
    try:
        seal_run(layout, manifest, clock, partial=partial)
    except StorageError as error:
        seal = read_seal(layout)
        if seal is not None and _is_in_chain(layout.task, seal) and not is_being_sealed(layout):
            return manifest  # It is another run that could not be sealed.
        manifest = add_warnings(manifest, [f"Trouble in sealing: {error.message}"])
        with suppress(StorageError):  # A disk that takes nothing any more: whoever started the run is told.
            _take_back(layout)
            save(manifest)
            try:
                seal_run(layout, manifest, clock, partial=partial)
            except StorageError:
                _take_back(layout)
    return manifest


def _take_back(layout: RunLayout) -> None:
    """Leave nothing of a seal that is not in the chain.

    Raises:
        StorageError: The disk refused.
    """
    forget_draft(layout)
    seal = read_seal(layout)
    if seal is not None and not _is_in_chain(layout.task, seal):
        files.remove(layout.seal, below=layout.base)


def merge_seals(task: TaskLayout, clock: Clock, *, patience_seconds: float = 0.0) -> bool:
    """Seal all runs of a task that wait for it; False where the lock cannot be had.

    Raises:
        StorageError: Something cannot be read or written; nothing is lost by it.
    """
    below = task.environment.out_dir
    for _ in range(_LOOKS):
        if not _drafts(task, _WAITING) and not _drafts(task, _TAKEN):
            break
        with held_lock(task.seals_lock, below=below, patience_seconds=patience_seconds) as held:
            if not held:
                return False
            _seal_all(task, clock)
    return True


@contextmanager
def kept_sealed(layout: RunLayout, clock: Clock | None = None) -> Iterator[None]:
    """Have a run that is sealed be sealed anew when the block has changed it, if it was whole before.

    For who holds the run's lock, and changes what may change after a run's end: its manifest, its receipts,
    what its children have left.

    Raises:
        StorageError: The disk refused.
    """
    known = _draft_of(layout) or read_seal(layout)
    is_whole = known is not None and all(_is_as_sealed(layout, known, path) for path in _changing(layout))
    yield
    if known is not None and is_whole:
        kept = [one for one in known.files if not _may_change(layout, one.path)]
        now = [found for path in _changing(layout) if (found := sealed_file(layout, path)) is not None]
        known_files = tuple(sorted([*kept, *now], key=_path))
        draft = SealDraft(**{**_fields(known), "tool": TOOL, "files": known_files})
        if set(map(_facts, draft.files)) != set(map(_facts, known.files)):
            _sealed(layout, draft, clock or SystemClock())


def forget_draft(layout: RunLayout) -> None:
    """Take back a run that was to be sealed and goes on.

    Raises:
        StorageError: The disk refused.
    """
    for suffix in (_WAITING, _TAKEN):
        files.remove(_draft_file(layout, suffix), below=layout.task.environment.out_dir)


def is_being_sealed(layout: RunLayout) -> bool:
    """Whether a run waits for its seal, or somebody has died in giving it one."""
    return _draft_of(layout) is not None


def read_seal(layout: RunLayout) -> Seal | None:
    """The seal of a run, whatever it says; None where there is none of this shape."""
    return shape_in(layout.seal, Seal, below=layout.base)


def _sealed(layout: RunLayout, draft: SealDraft, clock: Clock) -> bool:
    below = layout.task.environment.out_dir
    files.make_folder(layout.task.seals_pending, below=below)
    files.replace(_draft_file(layout), dumps_line(to_json(draft)).encode(), below=below)
    return merge_seals(layout.task, clock, patience_seconds=PATIENCE_SECONDS)


def _seal_all(task: TaskLayout, clock: Clock) -> None:
    below, refusal = task.environment.out_dir, None
    mend_last_line(task.seals, below=below)
    # Those that somebody has died at come first, as their seals may be there already.
    for suffix in (_TAKEN, _WAITING):
        for run_id, path in _drafts(task, suffix):
            draft, layout = shape_in(path, SealDraft, below=below), task.run(run_id)
            if draft is None or draft.run_id != run_id:
                continue  # None of ours: left alone.
            taken = path.with_suffix(_TAKEN)
            files.move(path, taken, below=below)
            try:
                if _is_there(layout):
                    _seal(layout, draft, clock)
                files.remove(taken, below=below)
            except StorageError as error:
                refusal = refusal or error  # No other run waits for one that cannot be sealed.
    if refusal is not None:
        raise refusal


def _seal(layout: RunLayout, draft: SealDraft, clock: Clock) -> None:
    """Give a run the next seal of the chain, or go on where somebody has died in doing so."""
    task, below = layout.task, layout.task.environment.out_dir
    line = _last_line(task)
    previous = line.ref if line is not None else None
    before = read_seal(layout)
    superseded = before.root if before is not None else None
    begun = before if before is not None and before.is_of(draft) else None
    if begun is not None and _is_in_chain(task, begun):
        return
    if begun is None or begun.previous != previous:
        seal = Seal(
            **_fields(draft),
            previous=previous,
            supersedes=begun.supersedes if begun is not None else superseded,
            sealed_at=timestamp(clock.now()),
        )
        begun = replace(seal, root=seal.computed_root())
        files.remove_temporaries(layout.folder, below=layout.base, of=layout.seal.name)
        files.remove(layout.signature, below=layout.base)  # It is of the seal before, and goes first.
        files.replace(layout.seal, dumps(to_json(begun)).encode(), below=layout.base)
    append(task.seals, dumps_line(to_json(begun.line())).encode(), below=below)


def _is_in_chain(task: TaskLayout, seal: Seal) -> bool:
    """Whether a seal has its line; looked for from the end back to when it was made."""
    for line in _lines_backwards(task):
        if line.root == seal.root:
            return True
        if line.sealed_at < seal.sealed_at:
            return False
    return False


def _last_line(task: TaskLayout) -> SealLine | None:
    return next(_lines_backwards(task), None)


def _lines_backwards(task: TaskLayout) -> Iterator[SealLine]:
    below = task.environment.out_dir
    found = places.status(task.seals, below=below)
    for line in lines_backwards(task.seals, found.st_size, below=below) if found is not None else ():
        try:
            yield from_json(SealLine, loads(line), strict=False)
        except (ValueError, Mismatch):
            continue  # No line of ours.


def _drafts(task: TaskLayout, suffix: str) -> list[tuple[str, Path]]:
    found, _ = list_pending(task.seals_pending, suffix, below=task.environment.out_dir)
    return [(one.run_id, one.path) for one in found]


def _draft_file(layout: RunLayout, suffix: str = _WAITING) -> Path:
    return layout.task.seals_pending / f"{layout.run_id}{suffix}"


def _draft_of(layout: RunLayout) -> SealDraft | None:
    """What a run is about to be sealed as, or None."""
    below = layout.task.environment.out_dir
    return next(
        (
            draft
            for suffix in (_WAITING, _TAKEN)
            if (draft := shape_in(_draft_file(layout, suffix), SealDraft, below=below)) is not None
        ),
        None,
    )


def _is_there(layout: RunLayout) -> bool:
    return places.has_file(layout.manifest, below=layout.base)


def _changing(layout: RunLayout) -> Sequence[Path]:
    """What may change in a run that has ended, as far as it is there."""
    records = [layout.children / name for name, _ in places.listed(layout.children, below=layout.base)]
    return [layout.manifest, layout.approvals, *records]


def _may_change(layout: RunLayout, path: str) -> bool:
    folder = layout.relative(layout.folder)
    own = {f"{folder}/manifest.json", f"{folder}/approvals.ndjson"}
    return path in own or path.startswith(f"{folder}/children/")


def _is_as_sealed(layout: RunLayout, known: SealDraft, path: Path) -> bool:
    """Whether a file is what was sealed; receipts may have been added, and children may have left word."""
    sealed = known.file(layout.relative(path))
    if path.parent == layout.children:
        return True  # `verify` holds it to the manifest.
    if sealed is None:
        return path != layout.manifest
    if path == layout.approvals:
        try:
            begin = places.read(path, below=layout.base)[: sealed.size]
        except OSError:
            return False
        return sha256(begin).hexdigest() == sealed.sha256
    return sealed_file(layout, path) == sealed


def _child_seals(layout: RunLayout, children: Sequence[ChildRun]) -> Iterator[SealedFile]:
    """The seals of child runs by their roots."""
    for child in children:
        from codex_orchestrator.evidence.lineage import child_layout

        place = child_layout(layout, child)
        seal = read_seal(place) if place is not None else None
        if place is not None and seal is not None:
            yield SealedFile(layout.relative(place.seal), len(seal.body()), seal.root)


def _source(layout: RunLayout) -> SealSource:
    return shape_in(layout.source, SealSource, below=layout.base) or SealSource(None, None, None)


def _fields(draft: SealDraft) -> dict[str, Any]:
    """What a seal and its draft share."""
    return {field.name: getattr(draft, field.name) for field in fields(SealDraft)}


def _facts(one: SealedFile) -> tuple[str, int, str]:
    return one.path, one.size, one.sha256


def _path(one: SealedFile) -> str:
    return one.path
