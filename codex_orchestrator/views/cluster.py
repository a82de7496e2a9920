"""Whether a cluster can run stages of this repository (docs/reference/command-line.md, "doctor")."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from codex_orchestrator.engine.cloud import facts, shared
from codex_orchestrator.engine.cloud.facts import WorkerFacts
from codex_orchestrator.engine.cloud.settings import ClusterSettings, cluster_settings
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.model.definitions import CloudSettings
from codex_orchestrator.views.doctor import Check


def cluster_checks(environment: Environment, settings: CloudSettings, asked: str | None) -> Iterator[Check]:
    """What can be said of a cluster without running anything on it.

    Args:
        environment: Where runs are.
        settings: What the definitions say of the cluster.
        asked: Which one the user has named, or None.
    """
    try:
        found = cluster_settings(environment, settings, asked)
    except OrchestratorError as error:
        yield Check("cluster", True, "failed", error.message, error.hint)
        return
    dask = f"distributed {version('distributed')}"
    if found.local_workers:
        yield Check(
            "cluster", True, "ok", f"{found.local_workers} workers, started here for each run; {dask}"
        )
        return
    try:
        yield from _checks(environment, found, dask)
    except OrchestratorError as error:
        yield Check("cluster", True, "failed", error.message, error.hint)


def _checks(environment: Environment, found: ClusterSettings, dask: str) -> Iterator[Check]:
    from codex_orchestrator.engine.cloud.connection import Connection

    connection = Connection(found.address, seconds=found.settings.connect_seconds)
    try:
        workers = {worker.address: worker for worker in connection.look()}
        detail = f"{found.address}: {len(workers)} workers, {connection.size} stages at once; here {dask}"
        hint = None if workers else f"Start workers: dask worker {found.address}"
        yield Check("cluster", True, "ok" if workers else "failed", detail, hint)
        probed = connection.evaluate(facts.PROBE, workers)
        blind = shared.blind(environment.root, workers, connection.evaluate) if workers else []
        for address, worker in workers.items():
            yield _worker_check(worker, probed[address], found.settings.workspace, is_blind=address in blind)
    finally:
        connection.close()


def _worker_check(worker: WorkerFacts, probed: object, workspace: str, *, is_blind: bool) -> Check:
    name = f"worker {worker.name}"
    if not isinstance(probed, tuple):
        return Check(name, True, "failed", f"it does not answer: {probed}")
    if (why := facts.incompatible(probed)) is not None:
        return Check(name, True, "failed", why, "Start it with the Python that runs codex-orchestrator.")
    python, dask, _, host = probed
    has = f", {facts.in_words(worker.resources)}" if worker.resources else ""
    sees = "the work tree travels to it" if is_blind else "it sees the work tree"
    said = (
        f"Python {'.'.join(map(str, python))}, distributed {dask}, on {host}, {worker.threads} at once{has}"
    )
    if is_blind and workspace == "shared":
        hint = "Put the repository where it is under the same path, or set cloud.workspace to snapshot."
        return Check(name, True, "failed", f"{said}; it does not see the work tree", hint)
    return Check(name, True, "ok", f"{said}; {sees}")
