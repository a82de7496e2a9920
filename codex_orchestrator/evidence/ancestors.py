"""The runs that a new run is started from; a pipeline that would start itself without end is refused.

Rules: docs/reference/manifest.md, "Lineage".
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UnknownRun, UsageError
from codex_orchestrator.evidence.children import find_parent
from codex_orchestrator.evidence.manifests import read_document
from codex_orchestrator.model.manifest import TERMINAL
from codex_orchestrator.rules.layout import RunLayout


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
