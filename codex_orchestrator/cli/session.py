"""What ``start`` and ``resume`` share: the session, and the answer at its end."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import notify
from codex_orchestrator.definitions.planner import Planned
from codex_orchestrator.engine.preparation import Prepared, require_runnable, with_signing_key
from codex_orchestrator.engine.source import SourceLook
from codex_orchestrator.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_RUN_FAILED,
    EXIT_WAITING,
    OrchestratorError,
)
from codex_orchestrator.model.manifest import Manifest

if TYPE_CHECKING:
    from codex_orchestrator.rules.approvals import Ask

_SIGNALLED = 128


def add_interactive(parser: argparse.ArgumentParser) -> None:
    """``--interactive`` and its opposite."""
    parser.add_argument(
        "--interactive",
        "--ui",
        action="store_true",
        help="accepted for the Node CLI's users: on a terminal approvals are asked for anyway",
    )
    parser.add_argument("--no-interactive", action="store_true", help="never ask, also on a terminal")


def add_running(parser: argparse.ArgumentParser) -> None:
    """``--keep-going``, ``--jobs``, ``--cluster``, ``--sign`` and the flags for what is shown."""
    parser.add_argument(
        "--keep-going", action="store_true", help="after a failure, run what does not need the failed stage"
    )
    parser.add_argument(
        "--jobs", metavar="N", help="run so many stages at once (a number, or auto; default: 1)"
    )
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="the Dask scheduler whose workers run cloud stages; local or local:N starts one here",
    )
    parser.add_argument(
        "--sign",
        metavar="KEY",
        help="sign the run's seal with this private key, a PEM file (default: CODEX_ORCHESTRATOR_SIGN_KEY)",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--stream",
        action="store_true",
        help="show what stages print as they print it, each line with its stage's name",
    )
    how.add_argument("-q", "--quiet", action="store_true", help="show only failures and the answer")


def asker_of(arguments: argparse.Namespace) -> Ask | None:
    """What asks about manual stages, or None where nobody is there to be asked."""
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        return None
    from codex_orchestrator.cli.prompt import asker

    return asker(arguments)


def passphrase_asker(arguments: argparse.Namespace) -> Callable[[str], str | None]:
    """What asks a person for the passphrase of a key; it answers None where nobody can be asked."""

    def ask(key: str) -> str | None:
        from codex_orchestrator.cli.prompt import ask_passphrase

        return None if getattr(arguments, "no_interactive", False) else ask_passphrase(key)

    return ask


def run_and_tell(
    prepared: Prepared, arguments: argparse.Namespace, *, verb: str, ask: Ask | None = None
) -> int:
    """Run a prepared pipeline and print the answer; returns the exit code of the run or of the session.

    Args:
        prepared: What to run.
        arguments: The command's flags.
        verb: What was done to the run, in the answer for people.
        ask: Asks a person to decide on a manual stage; None where nobody is to be asked.

    Raises:
        InternalError: Somebody's code raised in the session what nobody expected.
        OrchestratorError: No run was opened, or its evidence cannot be written.
    """
    require_runnable(prepared)
    prepared = with_signing_key(prepared, passphrase_asker(arguments))
    notify(prepared.notices)
    # Beside the import of pytest.
    prepared = replace(prepared, look=SourceLook(prepared.environment))
    # The only place where the command line starts pytest.
    from pytest_codex.session import run_session

    as_json = arguments.format == "json"
    progress = sys.stderr if as_json else sys.stdout
    colour = render.wants_colour(progress, os.environ)
    result = run_session(
        prepared,
        progress=progress,
        colour=colour,
        ask=ask,
        jobs=arguments.jobs,
        quiet=arguments.quiet,
        stream=arguments.stream,
    )
    manifest = result.manifest
    if result.broken is not None:
        from codex_orchestrator.cli.internal_error import internal_error

        run = f"Run {manifest.run_id}: {manifest.status}, {manifest.artifact_root}." if manifest else None
        raise internal_error(result.broken, outcome=run, scrub=result.scrub)
    if result.error is not None:
        raise result.error
    if manifest is None:
        raise OrchestratorError("No run was opened: a plugin ended the session before it began.")
    if as_json:
        render.emit_json(answer(manifest))
    else:
        render.emit_lines(_lines(manifest, verb, prepared.planned))
    if result.cancelled_by is not None:
        return _SIGNALLED + result.cancelled_by
    if manifest.status == "in_progress":
        return EXIT_WAITING
    if manifest.status != "succeeded" and result.code in (EXIT_OK, EXIT_INTERRUPTED):
        return EXIT_RUN_FAILED
    return result.code


def answer(manifest: Manifest) -> dict[str, Any]:
    """The JSON answer."""
    return {
        "run_id": manifest.run_id,
        "status": manifest.status,
        "artifact_root": manifest.artifact_root,
        "manifest": manifest.path,
        "log_path": manifest.log_path,
        "summary": manifest.summary,
    }


def _lines(manifest: Manifest, verb: str, planned: Planned) -> list[str]:
    waits = f" ({manifest.status_detail})" if manifest.status == "in_progress" else ""
    return [
        *(["", *manifest.summary.split("\n")] if manifest.summary else []),
        "",
        f"Run {verb}: {manifest.run_id}",
        f"Status: {manifest.status}{waits}",
        f"Manifest: {manifest.path}",
        f"Log: {manifest.log_path}",
        *_unused_way(manifest, planned),
        *_next_command(manifest),
    ]


def _unused_way(manifest: Manifest, planned: Planned) -> list[str]:
    """The hint that ``--keep-going`` would have run later stages that do not need the failed one."""
    if manifest.status != "failed":
        return []
    failed = {entry.id for entry in manifest.commands if entry.status == "failed"}
    idle = {entry.id for entry in manifest.commands if entry.status == "pending"} & planned.selected
    if not idle & planned.stopped_by_place(failed):
        return []
    count = "1 stage was" if len(idle) == 1 else f"{len(idle)} stages were"
    return [f"{count} not run: --keep-going runs what does not need the failed one."]


def _next_command(manifest: Manifest) -> list[str]:
    """The command to go on with, where something is left to do."""
    if manifest.status == "succeeded":
        return []
    run = f"--run {shlex.quote(manifest.run_id)}"
    command = f"resume {run}"
    if manifest.status == "in_progress":
        waiting = [
            each
            for each in manifest.commands
            if manifest.status_detail == f"stage:{each.id}:awaiting-approval"
        ]
        decided_here = waiting and waiting[0].kind == "manual"
        # A decision below is asked for by a run of its own, which status names.
        command = f"approve {run} --stage {shlex.quote(waiting[0].id)}" if decided_here else f"status {run}"
    return [f"Go on with: codex-orchestrator {command}"]
