"""Which cluster runs a session's cloud stages, and how: decided before anything is imported for it."""

from __future__ import annotations

import os
from importlib.util import find_spec

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UsageError
from codex_orchestrator.model.definitions import CloudSettings

VARIABLE = "DASK_SCHEDULER_ADDRESS"
# The words for a cluster that is started on this machine for the run.
LOCAL = "local"
_MOST_LOCAL_WORKERS = 256


@dataclass(frozen=True)
class ClusterSettings:
    """How to get at the cluster.

    Attributes:
        address: Its scheduler's address, as Dask writes it; empty where a cluster is started here.
        local_workers: How many worker processes to start here; 0 where there is a cluster.
        settings: What the definitions say of it.
    """

    address: str
    local_workers: int
    settings: CloudSettings


def cluster_settings(environment: Environment, settings: CloudSettings, asked: str | None) -> ClusterSettings:
    """The cluster that the user has named: by flag, in the definitions, or by Dask's variable.

    Args:
        environment: Has the variable.
        settings: What the definitions say.
        asked: What the flag says, or None.

    Raises:
        UsageError: None is named, it is no address, or Dask is missing.
    """
    address = asked or settings.address or environment.setting(VARIABLE)
    if address is None:
        raise UsageError(
            "No cluster is named.",
            hint=f"Pass --cluster ADDRESS (local starts one here), or set cloud.address or {VARIABLE}; "
            "--execution-mode mcp runs stages here that do not say otherwise.",
        )
    word, _, number = address.partition(":")
    workers = 0
    if word == LOCAL:
        if address != LOCAL and not (
            number.isascii() and number.isdecimal() and 0 < int(number) <= _MOST_LOCAL_WORKERS
        ):
            raise UsageError(
                f'"{address}" is no cluster of this machine.',
                hint=f"Write local, or local:N with 1 to {_MOST_LOCAL_WORKERS} workers.",
            )
        workers = int(number) if number else _cores()
    elif "://" not in address and not number.rpartition(":")[2].isdecimal():
        raise UsageError(
            f'"{address}" is no address of a Dask scheduler.',
            hint="Write tcp://HOST:PORT, tls://HOST:PORT or local.",
        )
    if find_spec("distributed") is None:
        raise UsageError(
            "Stages on a cluster need Dask, which is not installed.",
            hint="Install codex-orchestrator[cloud], or pass --execution-mode mcp.",
        )
    return ClusterSettings("" if workers else address, workers, settings)


def _cores() -> int:
    known = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(known, _MOST_LOCAL_WORKERS)
