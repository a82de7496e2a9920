"""What a cluster's workers are like, and what is wrong with one for our stages: pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from codex_orchestrator.dataclass import dataclass

# Evaluated on workers, of whatever Python.
PROBE = (
    "(__import__('sys').version_info[:3], __import__('distributed').__version__, __import__('os').name, "
    "__import__('socket').gethostname())"
)


@dataclass(frozen=True)
class WorkerFacts:
    """A worker as the scheduler has it.

    Attributes:
        address: Its address.
        name: Its name, as evidence has it.
        threads: How many tasks it runs at once.
        resources: How much it has of what.
    """

    address: str
    name: str
    threads: int
    resources: Mapping[str, float]

    def can_run(self, needs: Mapping[str, float]) -> bool:
        """Whether it has, when it is idle, what a stage needs."""
        return self.threads > 0 and all(
            self.resources.get(name, 0) >= amount for name, amount in needs.items()
        )


def workers_of(identity: Mapping[str, Any]) -> dict[str, WorkerFacts]:
    """The workers by their addresses, from what a scheduler says of itself."""
    return {
        address: WorkerFacts(
            address, _name(address, told.get("name")), told["nthreads"], told.get("resources") or {}
        )
        for address, told in identity["workers"].items()
        if told.get("status", "running") in ("running", "paused")
    }


def in_words(needs: Mapping[str, float]) -> str:
    """``gpu: 1, memory: 2``; empty where nothing is needed."""
    return ", ".join(f"{name}: {amount:g}" for name, amount in needs.items())


def unmet(needs: Mapping[str, float], workers: Sequence[WorkerFacts]) -> str | None:
    """Why no worker can run a stage, as a sentence without its stop; None where one can."""
    if not workers:
        return "The cluster has no workers"
    if any(worker.can_run(needs) for worker in workers):
        return None
    return (
        f"No worker of the cluster has {in_words(needs)}"
        if needs
        else "No worker of the cluster runs anything"
    )


def incompatible(probed: Sequence[Any] | Exception) -> str | None:
    """Why stages cannot run on a worker that has answered so to `PROBE`, as a phrase; None where they can."""
    if isinstance(probed, Exception):
        return str(probed)
    version, _, system, _ = probed
    if system != "posix":
        return f"it runs on {system}, and stages need a POSIX system"
    if tuple(version[:2]) != sys.version_info[:2]:
        own = ".".join(map(str, sys.version_info[:3]))
        return f"it has Python {'.'.join(map(str, version))}, and this is Python {own}"
    return None


def _name(address: str, name: object) -> str:
    """Names are ids in manifests; those of `LocalCluster` are numbers."""
    text = address if name is None else str(name)
    return f"dask-{text}" if text.isdecimal() else text
