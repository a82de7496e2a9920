"""Whether a run lives: by manifest, owner and heartbeat (docs/reference/command-line.md, "status").

Readers never take a run's lock, so that they cannot be in the way of who wants it.
"""

from __future__ import annotations

from typing import Any, Literal

from codex_orchestrator import places
from codex_orchestrator.clock import parse_timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.evidence.owner import owns, read_owner
from codex_orchestrator.model.manifest import STALE_SECONDS, TERMINAL
from codex_orchestrator.rules.layout import RunLayout

Liveness = Literal["alive", "dead", "finished", "waiting"]
_WAITING = ":awaiting-approval"


@dataclass(frozen=True)
class Activity:
    """Signs of life, as epoch seconds, None where there is none."""

    manifest_heartbeat: float | None
    heartbeat_file: float | None
    runner_log: float | None

    @property
    def latest(self) -> float | None:
        """The newest heartbeat."""
        beats = [beat for beat in (self.manifest_heartbeat, self.heartbeat_file) if beat is not None]
        return max(beats, default=None)

    def age(self, now: float) -> float | None:
        """Seconds since the newest heartbeat, at ``now``."""
        # A clock that was set back must not make a heartbeat come from the future.
        return None if self.latest is None else round(max(0.0, now - self.latest), 3)


def judge_liveness(
    manifest: dict[str, Any], owner_alive: bool | None, *, heartbeat_age: float | None
) -> Liveness:
    """Alive, dead, finished or waiting.

    Args:
        manifest: The run's manifest.
        owner_alive: Whether the owner named in the lock runs; None where nobody can tell.
        heartbeat_age: Seconds since the newest heartbeat; decides only where the owner cannot.
    """
    if str(manifest.get("status")) in TERMINAL:
        return "finished"
    if owner_alive is None:
        owner_alive = heartbeat_age is not None and heartbeat_age <= STALE_SECONDS
    if owner_alive:
        return "alive"
    return "waiting" if str(manifest.get("status_detail") or "").endswith(_WAITING) else "dead"


def liveness_of(
    layout: RunLayout, manifest: dict[str, Any], *, now: float, activity: Activity | None = None
) -> Liveness:
    """The liveness of a run by its files and its owner's process; ``activity`` where it was read already."""
    if str(manifest.get("status")) in TERMINAL:
        return "finished"
    owner = read_owner(layout.lock, below=layout.base)
    age = (activity or read_activity(layout, manifest)).age(now)
    return judge_liveness(manifest, owns(owner, layout.lock) if owner else None, heartbeat_age=age)


def is_owned_here(layout: RunLayout) -> bool:
    """Whether a live process of this machine owns a run."""
    owner = read_owner(layout.lock, below=layout.base)
    return owner is not None and owns(owner, layout.lock) is True


def read_activity(layout: RunLayout, manifest: dict[str, Any]) -> Activity:
    """The signs of life that a run leaves on disk."""
    beat = manifest.get("heartbeat_at")
    try:
        text = places.read(layout.heartbeat, below=layout.base).decode("utf-8", "replace")
    except OSError:
        text = ""
    return Activity(
        manifest_heartbeat=parse_timestamp(beat) if isinstance(beat, str) else None,
        heartbeat_file=parse_timestamp(text),
        runner_log=_modified(layout),
    )


def _modified(layout: RunLayout) -> float | None:
    try:
        found = places.status(layout.runner_log, below=layout.base)
    except Misplaced:
        raise
    except StorageError:
        return None
    return None if found is None else found.st_mtime
