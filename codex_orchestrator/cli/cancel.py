"""``cancel``: end a live run."""

from __future__ import annotations

import argparse
import shlex
import signal

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import (
    add_format,
    add_root,
    add_run,
    add_task,
    environment_of,
    found_run,
    notify,
    task_of,
)
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED, OrchestratorError, UnknownRun, UsageError
from codex_orchestrator.evidence.locks import is_held
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.evidence.owner import is_of_this_host, objection, read_owner
from codex_orchestrator.execution.process import signal_if
from codex_orchestrator.model.manifest import TERMINAL, Owner
from codex_orchestrator.views.lookup import FoundRun, find_run
from codex_orchestrator.views.status import liveness_of_run

_LONGEST_WAIT = 86_400
_POLL_SECONDS = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``cancel``."""
    add_run(parser)
    add_task(parser)
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="for the run to end (default: 30)"
    )
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Cancel the run; 0 once it has ended, 1 where it has not in time."""
    if not 0 <= arguments.wait <= _LONGEST_WAIT:
        raise UsageError(f"--wait must be at least 0 and at most {_LONGEST_WAIT} seconds.")
    environment = environment_of(arguments)
    found = found_run(environment, arguments.run, task_of(environment, arguments))
    _send(found, _owner(found))
    session = _session(environment, found)
    if session != found.layout.run_id:
        notify((f"Run {found.layout.run_id} is part of run {session}, which is cancelled with it.",))
    return _tell(found, _wait(found, arguments.wait), arguments)


def _owner(found: FoundRun) -> Owner:
    """The live process that owns the run.

    Raises:
        UsageError: There is none, or none that can be reached from here.
    """
    run_id, status = found.layout.run_id, found.manifest.get("status")
    liveness = liveness_of_run(found, now=SystemClock().now())
    if liveness == "finished":
        raise UsageError(f"Run {run_id} is not alive: it has ended, {status}.")
    if liveness == "waiting":
        raise UsageError(
            f"Run {run_id} has no process to cancel: it waits ({found.manifest.get('status_detail')}).",
            hint="Reject it to end it: codex-orchestrator reject",
        )
    if liveness == "dead":
        raise UsageError(
            f"Run {run_id} is not alive: it is {status}, and its process is gone.",
            hint=f"Go on with it: codex-orchestrator resume --run {shlex.quote(run_id)}",
        )
    owner = read_owner(found.layout.lock, below=found.layout.base)
    if owner is None:
        raise UsageError(f"Run {run_id} cannot be cancelled: {found.layout.lock} names no process.")
    if not is_of_this_host(owner):
        raise UsageError(
            f"Run {run_id} cannot be cancelled from here: its process {owner.pid} is on host {owner.host}.",
            hint="Cancel it there.",
        )
    against = _objection(found, owner)
    if against is not None:
        raise UsageError(
            f"Run {run_id} cannot be cancelled: {against}.",
            hint=f"If nothing runs it any more, go on with it: codex-orchestrator resume --run {run_id}",
        )
    return owner


def _objection(found: FoundRun, owner: Owner) -> str | None:
    """Why the process that the run's lock names must not be signalled; None where it may be."""
    against = objection(owner, found.layout.lock)
    if against is None and not is_held(found.layout.lock, below=found.layout.base):
        return f"nobody holds its lock ({found.layout.lock})"
    return against


def _send(found: FoundRun, owner: Owner) -> None:
    """Signal the owner, after checking that its process id was not given to another process.

    Raises:
        OrchestratorError: It is another user's.
    """

    def owns() -> bool:
        now = _read(found)
        ended = now is not None and now.manifest.get("status") in TERMINAL
        named = read_owner(found.layout.lock, below=found.layout.base)
        return not ended and named == owner and _objection(found, owner) is None

    try:
        # Where it has ended just now, there is nothing to do but to say so.
        signal_if(owner.pid, signal.SIGTERM, owns)
    except PermissionError as error:
        raise OrchestratorError(
            f"Run {found.layout.run_id} cannot be cancelled: its process {owner.pid} is another user's."
        ) from error


def _session(environment: Environment, found: FoundRun) -> str:
    """The id of the run whose session this one belongs to: one process runs it and all its sub-pipelines."""
    owner, met = read_owner(found.layout.lock, below=found.layout.base), {found.layout.run_id}
    run = found
    while isinstance(parent_id := run.manifest.get("parent_run_id"), str) and parent_id not in met:
        met.add(parent_id)
        try:
            parent = find_run(environment, parent_id, run.layout.task.task_id)
        except UsageError:
            break  # In another repo, so another process too.
        if read_owner(parent.layout.lock, below=parent.layout.base) != owner:
            break
        run = parent
    return run.layout.run_id


def _wait(found: FoundRun, seconds: float) -> FoundRun | None:
    """The run once its process has finished it, or None where that takes too long."""
    clock = SystemClock()
    until = clock.monotonic() + seconds
    while True:
        now = _read(found)
        if now is not None and liveness_of_run(now, now=clock.now()) != "alive":
            return now
        left = until - clock.monotonic()
        if left <= 0:
            return None
        clock.sleep(min(_POLL_SECONDS, left))


def _read(found: FoundRun) -> FoundRun | None:
    try:
        return FoundRun(found.layout, read_manifest(found.layout))
    except UnknownRun:
        return None


def _tell(found: FoundRun, ended: FoundRun | None, arguments: argparse.Namespace) -> int:
    shown = ended or _read(found) or found
    manifest, status = shown.manifest, shown.manifest.get("status")
    in_time = status in TERMINAL
    path = found.layout.relative(found.layout.manifest)
    if not in_time:
        why = "its process is gone" if ended else f"waited for {arguments.wait:g} s"
        notify((f"Run {found.layout.run_id} has not ended, it is {status}: {why}.",))
    if arguments.format == "json":
        keys = ("run_id", "status", "artifact_root", "manifest", "log_path", "summary")
        render.emit_json({key: path if key == "manifest" else manifest.get(key) for key in keys})
    elif in_time:
        # It may have been faster than the signal.
        verb = "cancelled" if status == "cancelled" else "ended"
        render.emit_lines([f"Run {verb}: {found.layout.run_id}", f"Status: {status}", f"Manifest: {path}"])
    return EXIT_OK if in_time else EXIT_RUN_FAILED
