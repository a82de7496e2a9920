"""Every file that this product reads or writes: its name, its shape, and where it lies.

The JSON Schemas under ``schemas/`` are generated from these shapes (docs/reference/files.md).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codex_orchestrator.dataclass import dataclass

from .clock import parse_timestamp
from .environment import CONFIG_NAME
from .pipelines.model import Configuration
from .records import Mismatch, from_json
from .run import shapes
from .run.drift import DriftReport, DriftSample
from .run.events import AnyEvent
from .run.privacy.record import PrivacyDecision
from .run.reviewer import RunSummary, State
from .validation import explain


@dataclass(frozen=True)
class Artefact:
    """A kind of file.

    Attributes:
        name: What `schema` calls it.
        title: What it is, in words.
        shape: Its class, or the class of each of its lines.
        lines: Whether it holds one JSON document a line.
    """

    name: str
    title: str
    shape: Any
    lines: bool = False


ARTEFACTS = {
    artefact.name: artefact
    for artefact in (
        Artefact("config", "codex.orchestrator.json", Configuration),
        Artefact("manifest", "Run manifest", shapes.Manifest),
        Artefact("event", "Line of runner.ndjson and commands/*.ndjson", AnyEvent, lines=True),
        Artefact("error", "Error file of a stage", shapes.StageError),
        Artefact("plan", "plan.json of a run", shapes.PlanRecord),
        Artefact("resume-token", "Resume token of a run", shapes.ResumeToken),
        Artefact("receipt", "Line of approvals.ndjson", shapes.Receipt, lines=True),
        Artefact("privacy-decision", "Line of privacy-decisions.ndjson", PrivacyDecision, lines=True),
        Artefact("child", "A run that was started from within a stage", shapes.ChildRun),
        Artefact("owner", "run.lock, and a file under live/: the owner of a run", shapes.Owner),
        Artefact("pointer", "Pointer for tools of the MCP days", shapes.Pointer),
        Artefact("run-summary", "run-summary.json, and a line of runs.ndjson", RunSummary),
        Artefact("metrics", "Line of metrics.json", shapes.MetricsLine, lines=True),
        Artefact("metrics-summary", "Aggregate of the metrics", shapes.MetricsSummary),
        Artefact("state", "state.json of a task", State),
        Artefact("drift", "drift.json of a task: how its requests were found", DriftReport),
        Artefact(
            "drift-sample", "Line of samples.ndjson: how one request was found", DriftSample, lines=True
        ),
        Artefact("runs-index", "How much of the history state.json counts", shapes.StateIndex),
    )
}

_HISTORY = Artefact("run-summary", "Run history", RunSummary, lines=True)
_HEARTBEAT = "heartbeat"
_BY_NAME: dict[str, Artefact] = {
    CONFIG_NAME: ARTEFACTS["config"],
    "manifest.json": ARTEFACTS["manifest"],
    "compat.json": ARTEFACTS["pointer"],
    "runner.ndjson": ARTEFACTS["event"],
    "resume-token.json": ARTEFACTS["resume-token"],
    "plan.json": ARTEFACTS["plan"],
    "approvals.ndjson": ARTEFACTS["receipt"],
    "privacy-decisions.ndjson": ARTEFACTS["privacy-decision"],
    "run-summary.json": ARTEFACTS["run-summary"],
    "run.lock": ARTEFACTS["owner"],
    "metrics.json": ARTEFACTS["metrics"],
    "metrics-summary.json": ARTEFACTS["metrics-summary"],
    "state.json": ARTEFACTS["state"],
    "runs.ndjson": _HISTORY,
    "runs-index.json": ARTEFACTS["runs-index"],
    "drift.json": ARTEFACTS["drift"],
    "samples.ndjson": ARTEFACTS["drift-sample"],
}
_BY_FOLDER: dict[str, Artefact] = {
    "commands": ARTEFACTS["event"],
    "errors": ARTEFACTS["error"],
    "children": ARTEFACTS["child"],
    "live": ARTEFACTS["owner"],
    "metrics.pending": ARTEFACTS["metrics"],
    "runs.pending": _HISTORY,
    "samples.pending": ARTEFACTS["drift-sample"],
}
# Files of ours that have no content to check.
_EMPTY = (".gitignore", ".metrics.lock", ".runs.lock", ".samples.lock", ".tasks.lock")


@dataclass(frozen=True)
class Finding:
    """What `check_file` says of a file; ``schema`` is None where its name tells no kind."""

    path: str
    schema: str | None
    problems: tuple[str, ...]


def artefact_of(path: Path) -> Artefact | None:
    """The kind of a file by its name and folder, or None."""
    if path.name == "manifest.json" and path.parent.parent.name == "mcp":
        return ARTEFACTS["pointer"]
    return _BY_FOLDER.get(path.parent.name) or _BY_NAME.get(path.name)


def check_file(path: Path, artefact: Artefact | None = None) -> Finding:
    """Check a file against its schema, strictly: unknown keys are problems.

    Args:
        path: The file.
        artefact: What it is; None to tell by its name.

    Raises:
        OSError: It cannot be read.
    """
    text = path.read_bytes()
    if artefact is None and path.name == ".heartbeat":
        valid = parse_timestamp(text.decode("utf-8", "replace")) is not None
        return Finding(str(path), _HEARTBEAT, () if valid else ("not a timestamp",))
    if artefact is None and path.name in _EMPTY:
        return Finding(str(path), "none", ())
    artefact = artefact or artefact_of(path)
    if artefact is None:
        return Finding(str(path), None, ("no schema goes with this name; name one with --schema",))
    problems = _check_lines(text, artefact.shape) if artefact.lines else _check_text(text, artefact.shape)
    return Finding(str(path), artefact.name, tuple(problems))


def _check_lines(text: bytes, shape: Any) -> list[str]:
    problems: list[str] = []
    *whole, torn = text.split(b"\n")
    for number, line in enumerate(whole, start=1):
        problems.extend(f"line {number}: {problem}" for problem in _check_text(line, shape))
    if torn:
        try:
            json.loads(torn)
        except (ValueError, RecursionError):
            return problems  # Its writer died in it; every reader tolerates that.
        problems.append(f"line {len(whole) + 1}: no newline at the end")
    return problems


def _check_text(text: bytes, shape: Any) -> list[str]:
    try:
        document = json.loads(text)
        from_json(shape, document)
    except Mismatch:
        problems = [f"{problem.where()}: {problem.message}" for problem in explain(shape, document)]
        # The reader and pydantic read the same shapes; were they ever to differ, refuse all the same.
        return problems or ["(document): not of the expected shape"]
    except ValueError as error:
        return [f"not JSON: {error}"]
    except RecursionError:
        return ["nested too deeply"]
    return []
