"""Every file that this product reads or writes: its name, its shape, and where it lies.

The JSON Schemas under ``schemas/`` are generated from these shapes (docs/reference/files.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from codex_orchestrator import named, places
from codex_orchestrator.clock import parse_timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import CONFIG_NAME
from codex_orchestrator.errors import Misplaced
from codex_orchestrator.evidence import node_cli
from codex_orchestrator.model import manifest as shapes
from codex_orchestrator.model.attestation import Envelope
from codex_orchestrator.model.bundle import BundleList
from codex_orchestrator.model.codec import Mismatch, from_json, is_json, loads
from codex_orchestrator.model.definitions import Configuration
from codex_orchestrator.model.events import AnyEvent
from codex_orchestrator.model.explain import explain
from codex_orchestrator.model.privacy_record import PrivacyDecision
from codex_orchestrator.model.seal import Seal, SealDraft, SealLine
from codex_orchestrator.model.source import Source
from codex_orchestrator.rules.reviewer import RunSummary, TaskState
from codex_orchestrator.rules.run_request import DriftReport, DriftSample


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
        Artefact("source", "source.json: of which source a run is", Source),
        Artefact("seal", "seal.json of a run", Seal),
        Artefact("signature", "seal.dsse.json: who answers for a run's seal", Envelope),
        Artefact("seal-line", "Line of seals.ndjson", SealLine, lines=True),
        Artefact("bundle", "bundle.json: the list of a bundle", BundleList),
        Artefact("seal-draft", "A seal that is no part of the chain yet", SealDraft),
        Artefact("resume-token", "Resume token of a run", shapes.ResumeToken),
        Artefact("receipt", "Line of approvals.ndjson", shapes.Receipt, lines=True),
        Artefact("privacy-decision", "Line of privacy-decisions.ndjson", PrivacyDecision, lines=True),
        Artefact("child", "A run that was started from within a stage", shapes.ChildRun),
        Artefact("owner", "run.lock, and a file under live/: the owner of a run", shapes.Owner),
        Artefact("pointer", "Pointer for tools of the MCP days", shapes.Pointer),
        Artefact("run-summary", "run-summary.json, and a line of runs.ndjson", RunSummary),
        Artefact("metrics", "Line of metrics.json", shapes.MetricsLine, lines=True),
        Artefact("metrics-summary", "Aggregate of the metrics", shapes.MetricsSummary),
        Artefact("state", "state.json of a task", TaskState),
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
    "source.json": ARTEFACTS["source"],
    "seal.json": ARTEFACTS["seal"],
    "seal.dsse.json": ARTEFACTS["signature"],
    "seals.ndjson": ARTEFACTS["seal-line"],
    "bundle.json": ARTEFACTS["bundle"],
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
    "seals.pending": ARTEFACTS["seal-draft"],
}
# Where names are ids, also those that files have elsewhere.
_FOLDERS_OF_IDS = ("cli", "mcp", "local-mcp", "trash")
# Trees of git, and indexes; what comes back from workers while runs live.
_NOT_DOCUMENTS = frozenset({".source", ".returned"})
# Files of ours that have no content to check.
_EMPTY = (
    *(".gitignore", ".snapshot.json"),
    *(".metrics.lock", ".runs.lock", ".samples.lock", ".seals.lock", ".tasks.lock"),
)


@dataclass(frozen=True)
class Finding:
    """What `check_file` says of a file.

    Attributes:
        path: The file.
        schema: The kind of file, or None where its name tells none.
        problems: What is wrong with it.
        checked: False for a file of the Node CLI, which has no schema here.
    """

    path: str
    schema: str | None
    problems: tuple[str, ...]
    checked: bool = True


def artefact_of(path: Path) -> Artefact | None:
    """The kind of a file by its name and folder, or None."""
    if path.name == "manifest.json" and path.parent.parent.name == "mcp":
        return ARTEFACTS["pointer"]
    return _BY_FOLDER.get(path.parent.name) or _BY_NAME.get(path.name)


def check_file(path: Path, artefact: Artefact | None = None) -> Finding:
    """Check a file against its schema, strictly: unknown keys are problems, but in files of the Node CLI.

    Args:
        path: The file; what lies in its place and is none is a problem too.
        artefact: What it is; None to tell by its name.

    Raises:
        OSError: It cannot be read.
    """
    try:
        found = _checked(path, artefact)
        if found.problems and artefact is None and _is_of_node_cli(path):
            return replace(found, problems=(), checked=False)
        return found
    except Misplaced as error:
        return Finding(str(path), None, (error.message,))


def check_folder(folder: Path, artefact: Artefact | None = None) -> Iterator[Finding]:
    """Check all that is in a folder and those in it; links, special files and missing manifests are problems.

    Args:
        folder: The folder.
        artefact: What the files are; None to tell by their names.

    Raises:
        OSError: Something cannot be read.
    """
    for path, kind in sorted(places.walked(folder, below=folder, skipped=_NOT_DOCUMENTS)):
        if kind == "file":
            yield check_file(path, artefact)
        elif kind == "link" and node_cli.is_link(path):
            yield Finding(str(path), "pointer", (), checked=False)
        elif kind != "folder" or (path.name in _BY_NAME and path.parent.name not in _FOLDERS_OF_IDS):
            yield Finding(str(path), None, (places.misplaced(path, kind, "file").message,))
        elif path.parent.name == "cli" and not named.is_there(path / "manifest.json"):
            yield Finding(str(path / "manifest.json"), "manifest", ("it is missing",))


def _checked(path: Path, artefact: Artefact | None) -> Finding:
    if artefact is None and path.name in _EMPTY:
        return Finding(str(path), "none", ())
    known = artefact or artefact_of(path)
    if known is not None and known.lines:
        with named.open_stream(path) as stream:
            return Finding(str(path), known.name, tuple(_check_lines(stream, known.shape)))
    text = named.read(path)
    if artefact is None and path.name == ".heartbeat":
        valid = parse_timestamp(text.decode("utf-8", "replace")) is not None
        return Finding(str(path), _HEARTBEAT, () if valid else ("not a timestamp",))
    if known is None:
        return Finding(str(path), None, ("no schema goes with this name; name one with --schema",))
    return Finding(str(path), known.name, tuple(_check_text(text, known.shape)))


def _is_of_node_cli(path: Path) -> bool:
    """Whether what is no file of ours is one of the Node CLI, by its place, its run or what is in it."""
    place = path.absolute()
    folder = node_cli.run_folder(place)
    if folder is not None:
        return node_cli.is_manifest(_document(folder / "manifest.json"))
    known = artefact_of(place)
    if node_cli.is_place(place):
        return _document(place) is not None
    if known is None or not known.lines:
        return node_cli.is_record(_document(place))
    with named.open_stream(place) as stream:
        return not any(_check_lines(stream, known.shape, but=node_cli.is_record))


def _document(path: Path) -> Any:
    """What a file says, or None where it says nothing that can be read."""
    try:
        return loads(named.read(path))
    except (OSError, ValueError, Misplaced):
        return None


def _check_lines(
    stream: BinaryIO, shape: Any, *, but: Callable[[Any], bool] = lambda _: False
) -> Iterator[str]:
    """What is wrong, line by line; nothing is wrong with documents for which ``but`` says yes."""
    number = 0
    while line := stream.readline(places.DOCUMENT_BYTES):
        number += 1
        if line.endswith(b"\n"):
            yield from (f"line {number}: {problem}" for problem in _check_text(line, shape, but))
        elif len(line) == places.DOCUMENT_BYTES:
            yield f"line {number}: longer than {places.DOCUMENT_BYTES} bytes"
            return
        elif is_json(line):  # Else its writer died in it; every reader tolerates that.
            yield f"line {number}: no newline at the end"


def _check_text(text: bytes, shape: Any, but: Callable[[Any], bool] = lambda _: False) -> list[str]:
    try:
        document = loads(text)
    except ValueError as error:
        return [f"not JSON: {error}"]
    if but(document):
        return []
    try:
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
