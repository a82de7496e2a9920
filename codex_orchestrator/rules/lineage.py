"""What a run's manifest says of the runs that it started (docs/reference/manifest.md, "Lineage")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from codex_orchestrator.model.codec import Mismatch, from_json, to_json
from codex_orchestrator.model.manifest import ChildRun


def changed_children(known: Iterable[ChildRun], children: Iterable[ChildRun]) -> list[ChildRun]:
    """The children that are not known, or not as they are now."""
    by_id = {child.run_id: child for child in known}
    return [child for child in children if by_id.get(child.run_id) != child]


def merged_children(known: Iterable[ChildRun], children: Iterable[ChildRun]) -> tuple[ChildRun, ...]:
    """The known children, each as it is now, and then those that are new."""
    return tuple({child.run_id: child for child in (*known, *children)}.values())


def known_children(document: Any) -> list[ChildRun]:
    """``child_runs`` of a manifest, whoever wrote it; entries that are none are passed over."""
    entries = document.get("child_runs") if isinstance(document, dict) else None
    return [child for child in map(as_child, entries if isinstance(entries, list) else ()) if child]


def as_child(document: Any) -> ChildRun | None:
    """A child as an object of JSON names it, or None where it names none."""
    try:
        child: ChildRun = from_json(ChildRun, document, strict=False)
    except Mismatch:
        return None
    return child


def with_children(document: dict[str, Any], children: Sequence[ChildRun], *, now: str) -> dict[str, Any]:
    """A manifest as it was read, with these children as they are now; whatever else it has stays.

    Args:
        document: The manifest.
        children: What is new.
        now: The moment, as a timestamp.
    """
    new = {child.run_id: to_json(child) for child in children}
    known = document.get("child_runs")
    entries = []
    for entry in known if isinstance(known, list) else ():
        child = as_child(entry)
        entries.append({**entry, **new.pop(child.run_id, {})} if child is not None else entry)
    return {**document, "child_runs": [*entries, *new.values()], "updated_at": now}
