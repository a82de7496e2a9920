"""Tells files of the Node CLI of the same name from files of this product.

See docs/how-to/migrate-from-node-cli.md, "What is the same".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codex_orchestrator.identifiers import is_run_id

# What it says in a manifest about its own runtime.
RUNTIME_KEYS = "runtime_"
# Keys of its records: a line of the metrics, a RunSummary, its own state.json and drift.json.
_RECORDS = ("learning_", "tfgrpo_", "tool_", "cloudExecution", "usageKpi", "safety", "entries")
_RUNS_FOLDERS = ("cli", "mcp", "local-mcp")
_PLAIN_TOKEN = 64


def is_manifest(document: Any) -> bool:
    """Whether a run's manifest was written by it: it names its runtime, or keeps the token as it is."""
    if not isinstance(document, dict):
        return False
    token = document.get("resume_token")
    plain = isinstance(token, str) and len(token) == _PLAIN_TOKEN
    return plain or any(key.startswith(RUNTIME_KEYS) for key in document)


def is_record(document: Any) -> bool:
    """Whether a document outside of a run's folder, or a line of one, was written by it."""
    if not isinstance(document, dict):
        return False
    # As it once was, state.json did not count.
    old_state = {"taskId", "runs"} <= document.keys() and "totalRuns" not in document
    return old_state or any(key.startswith(_RECORDS) for key in document)


def is_place(path: Path) -> bool:
    """Whether only the Node CLI has files of that name there: its history, metrics or pointers."""
    above = path.parent
    pointer = (
        path.name == "manifest.json" and is_run_id(above.name) and above.parent.name not in _RUNS_FOLDERS
    )
    return pointer or path.name == "runs.json" or (above.name == "metrics" and path.suffix == ".json")


def is_link(path: Path) -> bool:
    """Whether the Node CLI has a link to a manifest there, for old MCP tools."""
    return path.name == "manifest.json" and path.parent.parent.name == "local-mcp"


def run_folder(path: Path) -> Path | None:
    """The folder of the run that a file belongs to, by its place, or None where it belongs to none."""
    return next(
        (above for above in path.parents if above.parent.name == "cli" and is_run_id(above.name)), None
    )


def converted_summary(run: dict[str, Any]) -> dict[str, Any]:
    """A RunSummary of the Node CLI's history, with its privacy part in our form."""
    privacy = run.get("privacy")
    if not isinstance(privacy, dict) or "totals" in privacy:
        return run
    totals = {key: value for key, value in privacy.items() if key.endswith("Frames")}
    return {
        **run,
        "privacy": {"mode": privacy.get("mode"), "totals": totals, "logPath": privacy.get("logPath")},
    }
