"""Runs in bundles: gathered to be put into one, looked at and verified in one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from codex_orchestrator.errors import Busy
from codex_orchestrator.evidence.bundles import Bundle
from codex_orchestrator.evidence.bundling import RunToBundle
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.evidence.seal_check import Chain
from codex_orchestrator.rules.flaws import Flaw
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.views.lineage import descendants
from codex_orchestrator.views.lookup import FoundRun
from codex_orchestrator.views.status import liveness_of_run
from codex_orchestrator.views.verification import Verification

if TYPE_CHECKING:
    from codex_orchestrator.evidence.keys import PublicKey


def runs_to_bundle(run: FoundRun, *, now: float) -> list[RunToBundle]:
    """A run and all that it has started, as far as they lie in the same runs folder.

    Raises:
        Busy: One of them still runs.
    """
    environment = run.layout.task.environment
    found = [run]
    for below in descendants(run):
        if below.run is not None and below.run.layout.base == environment.runs_dir:
            layout = TaskLayout(environment, below.run.layout.task.task_id).run(below.run.layout.run_id)
            found.append(FoundRun(layout, below.run.manifest))
    for each in found:
        if liveness_of_run(each, now=now) == "alive":
            raise Busy(
                f"Run {each.layout.run_id} still runs.",
                hint="Bundle it when it has ended: codex-orchestrator status --watch waits for that.",
            )
    return [RunToBundle(each.layout, each.manifest) for each in found]


def bundled_run(bundle: Bundle) -> FoundRun:
    """The run that a bundle was made of.

    Raises:
        UnknownRun: Its manifest cannot be read.
    """
    layout = bundle.layouts[0]
    return FoundRun(layout, read_manifest(layout))


def bundle_flaws(bundle: Bundle, *, now: float, keys: Sequence[PublicKey] = ()) -> Iterator[Flaw]:
    """All that is wrong with a bundle and the runs in it, as it is found.

    Args:
        bundle: The bundle.
        now: The moment, as epoch seconds.
        keys: Public keys of which one must have signed each run; without any, none need be signed.
    """
    damages = list(bundle.damages())
    yield from damages
    if damages:
        return  # What cannot be read as it was written cannot be compared either.
    yield from bundle.flaws()
    left_out = bundle.left_out()
    by_task: dict[str, list[RunLayout]] = {}
    for layout in bundle.layouts:
        by_task.setdefault(layout.task.task_id, []).append(layout)
    for layouts in by_task.values():
        chain = Chain(layouts[0].task)
        yield from chain.flaws
        verification = Verification(chain, now=now, keys=keys)
        for layout in layouts:
            for flaw in verification.flaws(layout):
                if flaw.kind != "missing" or flaw.path not in left_out:
                    yield flaw
