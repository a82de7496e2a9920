"""Lineage on disk: which runs a new run is started from, and what child runs leave with their parents.

A child writes nothing of its parent's but its own file under ``children/``. The parent's owner takes it up
into the manifest; where there is no owner any more, the child does, with the parent's lock held
(docs/reference/manifest.md, "Lineage").
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from codex_orchestrator import places, sources
from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment, lineage_around
from codex_orchestrator.errors import Misplaced, StorageError, UnknownRun, UsageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.coordinator import add_children
from codex_orchestrator.evidence.locks import held_lock
from codex_orchestrator.evidence.manifests import read_document, stored_manifest
from codex_orchestrator.evidence.owner import exists, liveness_of, owns, read_owner
from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.model.codec import dumps, loads, to_json
from codex_orchestrator.model.manifest import TERMINAL, ChildRun, Manifest
from codex_orchestrator.rules.layout import RunLayout, TaskLayout

_PATIENCE_SECONDS = 1.0
# Another child may leave something while the lock is held, and find it taken.
_LOOKS = 3


class ParentLink:
    """Reports a run to its parent run; does nothing where there is no parent, or it is gone."""

    def __init__(self, parent: RunLayout | None, child: RunLayout, clock: Clock) -> None:
        """Nothing is touched yet.

        Args:
            parent: The run that started the other one, or None.
            child: The run that was started.
            clock: Time.
        """
        self._parent = parent
        self._child = child
        self._clock = clock

    def report(self, manifest: Manifest) -> None:
        """Write the child's status into the parent's folder.

        Raises:
            StorageError: The disk refused.
        """
        parent = self._parent
        if parent is None or not places.has_file(parent.manifest, below=parent.base):
            return
        record = ChildRun(
            run_id=manifest.run_id,
            pipeline_id=manifest.pipeline_id,
            status=manifest.status,
            manifest=parent.relative(self._child.manifest),
        )
        files.make_new_folder(parent.children, below=parent.base)
        files.replace(parent.child_record(record.run_id), _body(record), below=parent.base)

    def adopt(self) -> None:
        """Bring the child's status into the parent's manifest, where the parent has no owner to do it.

        Raises:
            StorageError: The disk refused.
        """
        if self._parent is not None:
            adopt_children(self._parent, self._clock)


def is_childs_word(layout: RunLayout, path: Path) -> bool:
    """Whether a file is, byte by byte, the record that a child would leave with a run by its own manifest."""
    if path.parent != layout.children:
        return False
    child = next((one for one in read_children(layout) if layout.child_record(one.run_id) == path), None)
    place = child_layout(layout, child) if child is not None else None
    own = _stored(place) if place is not None else None
    if child is None or place is None or own is None or own.get("parent_run_id") != layout.run_id:
        return False
    told = (child.run_id, child.pipeline_id, child.manifest)
    if told != (own.get("run_id"), own.get("pipeline_id"), layout.relative(place.manifest)):
        return False
    try:
        # `read_children` has its status from its manifest.
        return places.read(path, below=layout.base) == _body(child)
    except (OSError, StorageError):
        return False


def read_children(layout: RunLayout) -> list[ChildRun]:
    """The child runs that have a record in a run's folder; files that are no such record are passed over.

    Their own manifests know best how they stand. One without a manifest has not begun, or was removed: it
    counts only if it had ended.
    """
    children = []
    try:
        found = places.listed(layout.children, below=layout.base)
    except StorageError:
        return []  # `adopt_children` tells of it.
    if not found:
        return []
    # Most runs have none.
    from codex_orchestrator.rules.lineage import as_child

    for name, kind in found:
        child = as_child(_read(layout.children / name, layout.base)) if kind == "file" else None
        if child is None or id_problem(child.run_id) or layout.child_record(child.run_id).name != name:
            continue
        place = child_layout(layout, child)
        manifest = _stored(place) if place is not None else None
        if manifest is not None and manifest.get("run_id") == child.run_id:
            children.append(as_child({**to_json(child), "status": manifest.get("status")}) or child)
        elif child.status in TERMINAL:
            children.append(child)
    return children


def changes_in_children(layout: RunLayout, known: Iterable[ChildRun]) -> list[ChildRun]:
    """The children of a run that are not among the known ones, or not as they are now."""
    children = read_children(layout)
    if not children:
        return []
    from codex_orchestrator.rules.lineage import changed_children

    return changed_children(known, children)


def child_layout(layout: RunLayout, child: ChildRun) -> RunLayout | None:
    """The folder of a child run, in this repo or another; None where its manifest is in no run's folder."""
    environment = layout.task.environment
    path = Path(os.path.normpath(environment.root / child.manifest))
    place = RunLayout.at(path.parent, environment.root)
    if "\0" in child.manifest or path != place.manifest:
        return None
    if places.is_archived(environment.root):
        # It has all runs in one folder, wherever they were: no path leads out of it.
        place = TaskLayout(environment, place.task.task_id).run(place.run_id)
    if place.base != environment.runs_dir and place.base.is_relative_to(environment.root):
        try:
            sources.within(place.base, environment.root)
        except Misplaced:
            return None
    return place if place.run_id == child.run_id and _is_id(place.task.task_id, place.run_id) else None


def adopt_children(layout: RunLayout, clock: Clock, *, as_owner: bool = False) -> None:
    """Bring the records of children into the manifest of a run that no process owns.

    Whoever cannot have the lock leaves it to the one who has, and who looks once more after giving it up.

    Args:
        layout: The run.
        clock: Time.
        as_owner: Whether the caller is who owned it until now.

    Raises:
        StorageError: The disk refused.
    """
    if not places.has_folder(layout.children, below=layout.base):
        return
    from codex_orchestrator.rules.lineage import known_children

    for _ in range(_LOOKS):
        manifest = _stored(layout)
        if manifest is None or not changes_in_children(layout, known_children(manifest)):
            return
        if not as_owner and liveness_of(layout, manifest, now=clock.now()) == "alive":
            return
        with held_lock(layout.lock, below=layout.base, patience_seconds=_PATIENCE_SECONDS) as held:
            if not held:
                return
            files.remove_temporaries(layout.children, below=layout.base, is_dead=lambda pid: not exists(pid))
            add_children(layout, read_children(layout), now=timestamp(clock.now()))


def live_owners(layout: RunLayout) -> set[int]:
    """The live processes of this machine that own children of a run."""
    found = set()
    for child in read_children(layout):
        place = child_layout(layout, child)
        if child.status in TERMINAL or place is None:
            continue
        owner = read_owner(place.lock, below=place.base)
        if owner is not None and owns(owner, place.lock):
            found.add(owner.pid)
    return found


def find_parent(environment: Environment, run_id: str) -> RunLayout | None:
    """The run of that id: one that this process was started from, in any repo, or one under this root."""
    for layout in _places(environment, run_id):
        manifest = _stored(layout)
        if manifest is not None and manifest.get("run_id") == run_id:
            return layout
    return None


@dataclass(frozen=True)
class Ancestor:
    """A run that has not ended and from which another one is started, directly or not.

    Attributes:
        layout: Where it lies.
        pipeline_id: What it runs.
    """

    layout: RunLayout
    pipeline_id: str

    def is_of(self, root: str) -> bool:
        """Whether it is of the repo at ``root``, all links followed."""
        return os.path.realpath(self.layout.task.environment.root) == root


def refuse_recursion(
    environment: Environment, pipeline_id: str, *, starting: Iterable[str], parents: Iterable[str]
) -> None:
    """Refuse to start a pipeline of this root from within itself.

    Args:
        environment: Where things are.
        pipeline_id: What was asked for.
        starting: The pipelines that would be started with it, itself among them.
        parents: The ids of the runs that start it.

    Raises:
        UsageError: One of them is above it already.
    """
    starting, root = set(starting), os.path.realpath(environment.root)
    for run_id in parents:
        above = [*reversed(ancestors(environment, run_id))]
        again = next((run for run in above if run.pipeline_id in starting and run.is_of(root)), None)
        if again is not None:
            lineage = [f"{run.pipeline_id} ({run.layout.run_id})" for run in above]
            raise UsageError(
                f'Pipeline "{again.pipeline_id}" would start itself: {" > ".join([*lineage, pipeline_id])}.',
                hint="Have the stage start another pipeline, or run its command itself.",
            )


def ancestors(environment: Environment, run_id: str) -> list[Ancestor]:
    """The parent of a run that is about to begin, its parent, and so on, as far as they are found.

    A run that has ended starts nothing any more: who names it as a parent is not within it.

    Args:
        environment: Where things are for the run that is started.
        run_id: The run that starts it.
    """
    found: list[Ancestor] = []
    met: set[str] = set()
    above: object = run_id
    while isinstance(above, str) and above not in met:
        met.add(above)
        # A run of the same session lies beside the one that it has started.
        beside = found[-1].layout.task.environment if found else environment
        layout = find_parent(environment, above) or find_parent(beside, above)
        document = _manifest(layout) if layout is not None else {}
        if layout is None or document.get("status") in (None, *TERMINAL):
            break
        found.append(Ancestor(layout, str(document.get("pipeline_id"))))
        above = document.get("parent_run_id")
    return found


def _manifest(layout: RunLayout) -> dict[str, object]:
    try:
        document = read_document(layout.manifest, below=layout.base)
    except UnknownRun:
        return {}
    return document if isinstance(document, dict) else {}


def _places(environment: Environment, run_id: str) -> Iterator[RunLayout]:
    for root, folder in lineage_around(environment):
        if folder.name == run_id:
            yield RunLayout.at(folder, root)
    if id_problem(run_id) is not None:
        return
    try:
        tasks = places.listed(environment.runs_dir, below=environment.runs_dir)
    except StorageError:
        return
    for name, kind in tasks:
        if kind == "folder" and id_problem(name) is None:
            yield RunLayout.at(environment.runs_dir / name / "cli" / run_id, environment.root)


def _body(record: ChildRun) -> bytes:
    return dumps(to_json(record)).encode()


def _is_id(*names: str) -> bool:
    return all(id_problem(name) is None for name in names)


def _stored(layout: RunLayout) -> dict[str, Any] | None:
    with suppress(Misplaced):
        return stored_manifest(layout)
    return None


def _read(path: Path, below: Path) -> Any:
    """The JSON in a child's file, or None where it cannot be read."""
    try:
        return loads(places.read(path, below=below))
    except (OSError, ValueError, Misplaced):
        return None
