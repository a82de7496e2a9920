"""Who owns a run, and whether it lives.

An owner is told by pid, start time, host and boot, so that a recycled pid is none. What a lock file says is a
claim: `owns` and `objection` hold it to what the kernel says of the process (docs/reference/files.md,
"Locks"). Where the kernel cannot tell, heartbeats do (docs/reference/command-line.md, "status"). Readers
never take a run's lock, so that they cannot be in the way of who wants it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from codex_orchestrator import places
from codex_orchestrator.clock import parse_timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.model.codec import Mismatch, dumps, from_json, loads, to_json
from codex_orchestrator.model.manifest import LARGEST_PID, STALE_SECONDS, TERMINAL, Owner
from codex_orchestrator.rules.layout import RunLayout

Liveness = Literal["alive", "dead", "finished", "waiting"]
_WAITING = ":awaiting-approval"


def this_process() -> Owner:
    """The owner that this process would be."""
    return Owner(
        pid=os.getpid(), start_token=_start_token(os.getpid()), host=os.uname().nodename, boot_id=_boot_id()
    )


def render_owner(owner: Owner) -> bytes:
    """What is written into ``run.lock``."""
    return dumps(to_json(owner)).encode()


def read_owner(path: Path, *, below: Path) -> Owner | None:
    """The owner that a ``run.lock`` names, or None where it names none."""
    try:
        return from_json(Owner, loads(places.read(path, below=below)), strict=False)
    except (OSError, ValueError, Mismatch):
        return None  # Missing, or caught between locking and writing: judged by the heartbeat instead.


def is_alive(owner: Owner, here: Owner | None = None) -> bool | None:
    """Whether that very process runs; None where this machine cannot know.

    It cannot of another host's, nor of one without a start time, which only systems without /proc write:
    there, any process may have the id by now.

    Args:
        owner: Who is asked about.
        here: `this_process`, where the caller has it already.
    """
    here = here or this_process()
    if owner.host != here.host:
        return None
    if owner.boot_id != here.boot_id:
        return False
    token = _start_token(owner.pid)
    if token is None and owner.start_token is None:
        return None if exists(owner.pid) else False
    return token is not None and token == owner.start_token


def owns(owner: Owner, lock: Path, here: Owner | None = None) -> bool | None:
    """Whether the process that a lock file names runs and has that file open, as its holder has.

    Looked at without taking the lock; None where this machine cannot know.

    Args:
        owner: What the file says.
        lock: The file.
        here: `this_process`, where the caller has it already.
    """
    alive = is_alive(owner, here)
    return False if alive and has_open(owner.pid, lock) is False else alive


def is_of_this_host(owner: Owner) -> bool:
    """Whether an owner is, or was, a process of this machine."""
    return owner.host == os.uname().nodename


def objection(owner: Owner, lock: Path) -> str | None:
    """Why the process that a lock file names must not be signalled; None where nothing is against it.

    Whether anybody holds the lock is for `locks.is_held` to say.

    Args:
        owner: What the file says.
        lock: The file.
    """
    pid = owner.pid
    if pid == 1:
        return "process 1 ends with its machine or container, and is not signalled"
    if pid == os.getpid() or is_alive(owner) is False or has_open(pid, lock) is False:
        return f"process {pid} does not hold {lock}, which names it"
    if not _is_ours(pid, lock):
        return f"its process {pid} is another user's"
    return None


def has_open(pid: int, path: Path) -> bool | None:
    """Whether a process has a file open; None where the kernel does not say: no /proc, or another user's."""
    folder = Path(f"/proc/{pid}/fd")
    try:
        meant = path.lstat()
        descriptors = list(folder.iterdir())
    except OSError:
        return None
    for descriptor in descriptors:
        # By name first: to look at whatever else it has open may take as long as a lost file server does.
        with suppress(OSError):
            if descriptor.readlink().name == path.name and os.path.samestat(descriptor.stat(), meant):
                return True
    return False


def _is_ours(pid: int, lock: Path) -> bool:
    """Whether a process is this user's; root's claim goes no further than that of the run's own user."""
    me = os.geteuid()
    try:
        run_by = lock.lstat().st_uid
    except OSError:
        return False
    uid = _uid_of(pid)
    if uid is None:
        return run_by == me  # The kernel refuses signals to another user's, but to root's it does not.
    return uid == (run_by if me == 0 else me)


def _uid_of(pid: int) -> int | None:
    """The user that a process belongs to; None where there is no /proc, or no such process."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith(b"Uid:")), None)


def _start_token(pid: int) -> str | None:
    """When a process started, in ticks since boot; None where it is gone, a zombie, or without /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command in parentheses may hold anything, so count fields from its end.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return None if state in "ZX" else started


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def exists(pid: int) -> bool:
    """Whether there is any process of that id; 0 and negative numbers are no ids of one."""
    if not 0 < pid <= LARGEST_PID:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
    if places.is_archived(layout.base):
        return judge_liveness(manifest, False, heartbeat_age=None)  # What is in an archive runs no more.
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
    return None if found is None or places.is_archived(layout.base) else found.st_mtime
