"""The runs below a run, each read from its own manifest (docs/reference/manifest.md, "Lineage")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import UnknownRun
from codex_orchestrator.evidence.lineage import child_layout, read_children
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.model.manifest import ChildRun
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.rules.lineage import known_children, merged_children
from codex_orchestrator.views.lookup import FoundRun
from codex_orchestrator.views.status import liveness_of_run


@dataclass(frozen=True)
class Descendant:
    """A run below another one.

    Attributes:
        child: What is known of it by the run that started it.
        depth: How far below: 0 for a child.
        run: The run itself, or None where its manifest cannot be read.
    """

    child: ChildRun
    depth: int
    run: FoundRun | None


def descendants(run: FoundRun) -> Iterator[Descendant]:
    """All descendants of a run, each before its own; a run that was met already is passed over."""
    yield from _below(run, 0, {run.layout.folder})


def tree_lines(run: FoundRun, *, now: float) -> list[str]:
    """The same for people, a line each, indented by depth."""
    return [_line(below, now=now) for below in descendants(run)]


def _line(below: Descendant, *, now: float) -> str:
    child, run = below.child, below.run
    status = str(run.manifest.get("status")) if run is not None else child.status
    how = liveness_of_run(run, now=now) if run is not None else "missing"
    told = status if how == "finished" else f"{status}, {how}"
    return f"  {'  ' * below.depth}[{told}] {child.run_id} ({child.pipeline_id})"


def _below(run: FoundRun, depth: int, met: set[Path]) -> Iterator[Descendant]:
    # What children have left is newer than what the owner has taken up of it.
    for child in merged_children(known_children(run.manifest), read_children(run.layout)):
        place = child_layout(run.layout, child)
        if place is not None and place.folder in met:
            continue
        found = None
        if place is not None:
            met.add(place.folder)
            found = _found(place, run.layout.task.environment.root)
        yield Descendant(child, depth, found)
        if found is not None:
            yield from _below(found, depth + 1, met)


def _found(place: RunLayout, root: Path) -> FoundRun | None:
    try:
        manifest = read_manifest(place)
    except UnknownRun:
        return None
    if manifest["run_id"] != place.run_id:
        return None
    folder = place.folder
    return FoundRun(RunLayout.at(folder, _root_of(folder, manifest.get("artifact_root"), root)), manifest)


def _root_of(folder: Path, artifact_root: object, root: Path) -> Path:
    """The root of the repo that a run belongs to, which may be another one than its parent's.

    Args:
        folder: The run's folder, absolute.
        artifact_root: The same, as its manifest names it.
        root: The parent's root; the answer where nothing speaks against it.
    """
    if folder.is_relative_to(root) or not isinstance(artifact_root, str):
        return root
    parts = PurePosixPath(artifact_root).parts
    return Path(*folder.parts[: -len(parts)]) if parts and folder.parts[-len(parts) :] == parts else root
