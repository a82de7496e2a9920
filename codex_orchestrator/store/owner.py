"""Who owns a run: told by pid, start time, host and boot, so that a recycled pid is no owner."""

from __future__ import annotations

import os
from pathlib import Path

from codex_orchestrator import places
from codex_orchestrator.records import Mismatch, dumps, from_json, loads, to_json
from codex_orchestrator.run.shapes import Owner


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
    """Whether that very process runs; None where this machine cannot know (another host).

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
        return exists(owner.pid)
    return token is not None and token == owner.start_token


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
    """Whether there is any process of that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
