"""``start``: run a pipeline."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED, OrchestratorError
from codex_orchestrator.preparation import Asked, prepare, require_runnable
from codex_orchestrator.run.shapes import Manifest

from . import render
from .common import add_format, add_root, add_task, environment_of, notify
from .reader import is_gone

_SIGNALLED = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``start``."""
    parser.add_argument("pipeline", nargs="?", help="pipeline id (default: the config's, then diagnostics)")
    add_task(parser)
    parser.add_argument("--parent-run", metavar="RUN", help="record RUN as the parent of this run")
    parser.add_argument("--approval-policy", metavar="POLICY", help="record this approval policy")
    parser.add_argument("--target", "--target-stage", metavar="STAGE", help="target stage of the plan")
    parser.add_argument(
        "--only", action="append", metavar="STAGE", default=[], help="run only this stage (repeatable)"
    )
    parser.add_argument("--from", dest="start_from", metavar="STAGE", help="begin at this stage")
    parser.add_argument("--execution-mode", metavar="MODE", help="mcp or cloud, where a stage does not say")
    parser.add_argument(
        "--interactive",
        "--ui",
        action="store_true",
        help="accepted for the Node CLI's users; changes nothing",
    )
    parser.add_argument("--no-interactive", action="store_true", help="never ask (nothing is asked yet)")
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the pipeline; 0, 1 or 128 plus the number of the signal that cancelled it."""
    prepared = prepare(
        environment_of(arguments),
        Asked(
            pipeline=arguments.pipeline,
            task=arguments.task,
            parent_run=arguments.parent_run,
            approval_policy=arguments.approval_policy,
            target=arguments.target,
            execution_mode=arguments.execution_mode,
            only=tuple(arguments.only),
            start_from=arguments.start_from,
        ),
    )
    require_runnable(prepared)
    notify(prepared.notices)
    from .engine import run_prepared

    as_json = arguments.format == "json"
    progress = sys.stderr if as_json else sys.stdout
    result = run_prepared(prepared, progress=progress, colour=render.wants_colour(progress, os.environ))
    if result.error is not None:
        raise result.error
    manifest = result.manifest
    if manifest is None:
        raise OrchestratorError("No run was opened: a plugin ended the session before it began.")
    _tell(manifest, as_json=as_json)
    if result.cancelled_by is not None:
        return _SIGNALLED + result.cancelled_by
    return EXIT_OK if manifest.status == "succeeded" else EXIT_RUN_FAILED


def _tell(manifest: Manifest, *, as_json: bool) -> None:
    path = f"{manifest.artifact_root}/manifest.json"
    try:
        if as_json:
            render.emit_json(answer(manifest, path))
        else:
            render.emit(_text(manifest, path))
    except OSError as error:
        # Where nobody reads any more, the exit code still speaks for the run.
        if not is_gone(error):
            raise


def answer(manifest: Manifest, path: str) -> dict[str, Any]:
    """The JSON answer."""
    return {
        "run_id": manifest.run_id,
        "status": manifest.status,
        "artifact_root": manifest.artifact_root,
        "manifest": path,
        "log_path": manifest.log_path,
        "summary": manifest.summary,
    }


def _text(manifest: Manifest, path: str) -> str:
    return "\n".join(
        [
            "",
            manifest.summary or "",
            "",
            f"Run started: {manifest.run_id}",
            f"Status: {manifest.status}",
            f"Manifest: {path}",
            f"Log: {manifest.log_path}",
        ]
    )
