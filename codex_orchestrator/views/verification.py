"""What is wrong with the evidence of runs: held to its seal, to the chain, and to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_orchestrator import places
from codex_orchestrator.definitions.loader import digest_of
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import StorageError, UnknownRun
from codex_orchestrator.evidence.lineage import child_layout
from codex_orchestrator.evidence.lines import lines_backwards
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.evidence.owner import liveness_of
from codex_orchestrator.evidence.seal_check import Chain, check_seal
from codex_orchestrator.evidence.sealing import read_seal
from codex_orchestrator.evidence.signing import check_signature
from codex_orchestrator.identifiers import check_id, is_run_id
from codex_orchestrator.model.codec import Mismatch, from_json, loads, to_json
from codex_orchestrator.model.manifest import (
    TERMINAL,
    ChildRun,
    Manifest,
    MetricsLine,
    PlanRecord,
    Receipt,
    StageError,
)
from codex_orchestrator.rules import contradictions
from codex_orchestrator.rules.flaws import Flaw, FlawKind
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.reviewer import RunSummary
from codex_orchestrator.views.lookup import LATEST, run_layouts, task_ids

if TYPE_CHECKING:  # Most ask without a key.
    from codex_orchestrator.evidence.keys import PublicKey

_RUNNER_ONLY = (b'{"type":"stage:assigned"', b'{"type":"stage:released"', b'{"type":"privacy:decided"')


def run_to_verify(environment: Environment, run: str, task: str) -> RunLayout:
    """The run of an id, or the latest of a task; a manifest that cannot be read does not hide it.

    Raises:
        UsageError: The id could not be one.
        UnknownRun: There is no such run.
    """
    if run != LATEST:
        check_id(run, name="run ID")
        for name in dict.fromkeys((task, *task_ids(environment))):
            layout = TaskLayout(environment, name).run(run)
            if places.has_folder(layout.folder, below=layout.base):
                return layout
        raise UnknownRun(f'Unknown run "{run}" under {environment.runs_dir}.')
    newest = [each for each in run_layouts(TaskLayout(environment, task)) if is_run_id(each.run_id)]
    for layout in sorted(newest, key=lambda each: each.run_id, reverse=True):
        manifest, problem = _Run(layout).document(layout.manifest, Manifest)
        if problem is not None or (manifest is not None and manifest["parent_run_id"] is None):
            return layout
    raise UnknownRun(f'Task "{task}" has no runs under {environment.runs_dir}.')


class Verification:
    """Verifies the runs of a task, one after the other.

    Attributes:
        chain: The task's seals.
    """

    def __init__(self, chain: Chain, *, now: float, keys: Sequence[PublicKey] = ()) -> None:
        """Nothing is read yet.

        Args:
            chain: The task's seals.
            now: The moment, as epoch seconds.
            keys: Public keys of which one must have signed; without any, a run need not be signed.
        """
        self.chain = chain
        self._now = now
        self._keys = keys

    def flaws(self, layout: RunLayout) -> Iterator[Flaw]:
        """All that is wrong with a run, as it is found."""
        try:
            yield from self._flaws(layout)
            yield from check_signature(layout, self._keys)
        except (OSError, StorageError) as error:
            yield Flaw("unreadable", layout.relative(layout.folder), str(error), layout.run_id)

    def _flaws(self, layout: RunLayout) -> Iterator[Flaw]:
        run = _Run(layout)
        manifest, problem = run.document(layout.manifest, Manifest)
        if manifest is None:
            yield run.flaw(
                "missing" if problem is None else "changed", layout.manifest, problem or "It is not there."
            )
            yield from check_seal(layout, self.chain)
            return
        if manifest["run_id"] != layout.run_id:
            yield run.flaw("changed", layout.manifest, f"It is the manifest of run {manifest['run_id']}.")
        unsealed = self._why_not_yet(layout, manifest)
        if unsealed is not None:
            yield run.flaw("not-sealed", layout.seal, unsealed)
        else:
            yield from check_seal(layout, self.chain)
        if manifest["status"] in TERMINAL:
            yield from _contradictions(run, manifest)
        elif self._liveness(layout, manifest) != "alive":
            # Where its owner was killed it may be a moment behind its log.
            yield from _contradictions(run, read_manifest(layout))

    def _liveness(self, layout: RunLayout, manifest: dict[str, Any]) -> str:
        return liveness_of(layout, manifest, now=self._now)

    def _why_not_yet(self, layout: RunLayout, manifest: dict[str, Any]) -> str | None:
        """Why a run has no seal that counts, where its manifest says so and its seal does not deny it."""
        if manifest["status"] in TERMINAL:
            return None
        seal = read_seal(layout)
        resumed = [
            event["timestamp"] for event in manifest["resume_events"] if event["outcome"] == "accepted"
        ]
        if seal is not None and not any(moment > seal.sealed_at for moment in resumed):
            return None  # It was sealed after it had been taken up for the last time.
        liveness = self._liveness(layout, manifest)
        how = {"alive": "is running", "waiting": "waits for a decision"}.get(
            liveness, "has died before its end"
        )
        return f"The run {how}: it is sealed at its end."


class _Run:
    """Reads the documents of a run."""

    def __init__(self, layout: RunLayout) -> None:
        self.layout = layout

    def flaw(self, kind: FlawKind, path: Path, message: str) -> Flaw:
        return Flaw(kind, self.layout.relative(path), message, self.layout.run_id)

    def said(self, path: Path, manifest: dict[str, Any]) -> str:
        """What the manifest must call a file of the run; in an archive, by where the run was made."""
        if not places.is_archived(self.layout.base):
            return self.layout.relative(path)
        return f"{manifest['artifact_root']}/{path.relative_to(self.layout.folder).as_posix()}"

    def document(self, path: Path, shape: Any) -> tuple[dict[str, Any] | None, str | None]:
        """A document as it was read, and what is wrong with it; neither where there is none."""
        try:
            document = loads(places.read(path, below=self.layout.base))
            from_json(shape, document, strict=False)
        except FileNotFoundError:
            return None, None
        except (ValueError, Mismatch) as error:
            return None, f"It is not of the shape of {shape.__name__}: {error}".rstrip(": ") + "."
        return document, None

    def contradicting(self, path: Path, messages: Iterable[str]) -> Iterator[Flaw]:
        for message in messages:
            yield self.flaw("contradiction", path, f"{message[:1].upper()}{message[1:]}.")


def _contradictions(run: _Run, manifest: dict[str, Any]) -> Iterator[Flaw]:
    layout = run.layout
    yield from _of_logs(run, manifest)
    with_others: tuple[tuple[Path, Any, Callable[[dict[str, Any]], Iterator[str]]], ...] = (
        (layout.run_summary, RunSummary, lambda found: contradictions.of_summary(manifest, found)),
        (layout.plan, PlanRecord, lambda found: contradictions.of_plan(manifest, found, digest_of)),
    )
    ended = manifest["status"] in TERMINAL
    for path, shape, compare in with_others if ended else with_others[1:]:
        found, problem = run.document(path, shape)
        if found is not None:
            yield from run.contradicting(path, compare(found))
        elif problem is not None:
            yield run.flaw("changed", path, problem)
    yield from _of_errors(run, manifest)
    yield from _of_receipts(run, manifest)
    yield from _of_children(run, manifest)
    if ended:
        yield from _of_records(run, manifest)


def _of_logs(run: _Run, manifest: dict[str, Any]) -> Iterator[Flaw]:
    """Hold the logs to the manifest, and those of stages to the run's."""
    layout = run.layout
    log = contradictions.LogReading()
    stages = {str(entry["index"]): sha256() for entry in manifest["commands"]}
    is_resumed = bool(manifest["resume_events"])
    try:
        for line in places.lines(layout.runner_log, below=layout.base):
            log.take(line)
            index = line[line.rfind(b'"index":') + 8 :].rstrip(b"}\n").decode("ascii", "replace")
            if index in stages and not line.startswith(_RUNNER_ONLY):
                stages[index].update(line)
    except FileNotFoundError:
        if any(entry["started_at"] for entry in manifest["commands"]):
            yield run.flaw("missing", layout.runner_log, "Stages were run, and it is not there.")
        return
    yield from run.contradicting(layout.runner_log, contradictions.of_log(manifest, log))
    if is_resumed or manifest["status"] not in TERMINAL or "Log incomplete" in str(manifest["summary"]):
        return  # Where somebody was killed, one of the two may have a line more.
    for entry in manifest["commands"]:
        path = layout.command_log(entry["index"], entry["id"])
        if entry["kind"] != "command" or places.status(path, below=layout.base) is None:
            continue
        own = sha256()
        for line in places.lines(path, below=layout.base):
            own.update(line)
        if own.digest() != stages[str(entry["index"])].digest():
            yield run.flaw("contradiction", path, f"Its lines are not those of {layout.runner_log.name}.")


def _of_errors(run: _Run, manifest: dict[str, Any]) -> Iterator[Flaw]:
    for entry in manifest["commands"]:
        if entry["error_file"] is None:
            continue
        path = run.layout.error_file(entry["index"], entry["id"])
        if run.said(path, manifest) != entry["error_file"]:
            yield run.flaw(
                "contradiction", run.layout.manifest, f"{entry['error_file']} is no file of this run's."
            )
            continue
        found, problem = run.document(path, StageError)
        if found is None:
            yield run.flaw("changed" if problem else "missing", path, problem or "The manifest names it.")
        else:
            yield from run.contradicting(path, contradictions.of_error(entry, found, manifest))


def _of_receipts(run: _Run, manifest: dict[str, Any]) -> Iterator[Flaw]:
    path = run.layout.approvals
    try:
        lines = list(places.lines(path, below=run.layout.base))
    except FileNotFoundError:
        lines = []
    receipts = []
    for number, line in enumerate(lines, start=1):
        try:
            receipts.append(to_json(from_json(Receipt, loads(line), strict=False)))
        except (ValueError, Mismatch):
            if line.endswith(b"\n"):
                yield run.flaw("changed", path, f"Line {number} is no receipt.")
    yield from run.contradicting(path, contradictions.of_approvals(manifest, receipts))


def _of_children(run: _Run, manifest: dict[str, Any]) -> Iterator[Flaw]:
    layout = run.layout
    listed = {each["run_id"]: each for each in manifest["child_runs"]}
    for child in listed.values():
        place = child_layout(layout, from_json(ChildRun, child, strict=False))
        if place is None:
            yield run.flaw("contradiction", layout.manifest, f"{child['manifest']} is no run's manifest.")
            continue
        found, _ = _Run(place).document(place.manifest, Manifest)
        if found is not None:  # Else it was removed, or is told of where it is verified itself.
            path = layout.task.environment.root / layout.relative(place.manifest)
            yield from run.contradicting(path, contradictions.of_child(manifest, child, found))
    for name, kind in places.listed(layout.children, below=layout.base):
        path = layout.children / name
        if kind != "file" or name.startswith("."):
            continue
        left, problem = run.document(path, ChildRun)
        known = listed.get(path.stem)
        if left is None:
            yield run.flaw("changed", path, problem or "It is no record of a run.")
        elif known is None:
            yield run.flaw("contradiction", path, "The manifest lacks this run.")
        elif [left[key] for key in _CHILD_KEYS] != [known[key] for key in _CHILD_KEYS]:
            yield run.flaw("contradiction", path, "It is not what the manifest says of this run.")


_CHILD_KEYS = ("run_id", "pipeline_id", "manifest")


def _of_records(run: _Run, manifest: dict[str, Any]) -> Iterator[Flaw]:
    """Hold what the task's files have of the run to its own."""
    task = run.layout.task
    runs, out = task.environment.runs_dir, task.environment.out_dir
    if manifest["metrics_recorded"]:
        line, problem = _last_line(task.metrics, run.layout.run_id, "run_id", MetricsLine, runs)
        if line is not None:
            yield from run.contradicting(task.metrics, contradictions.of_metrics(manifest, line))
        else:
            yield run.flaw(
                "changed" if problem else "missing", task.metrics, problem or "It has no line of this run."
            )
    summary, _ = run.document(run.layout.run_summary, RunSummary)
    line, problem = _last_line(task.history, run.layout.run_id, "runId", RunSummary, out)
    if problem is not None:
        yield run.flaw("changed", task.history, problem)
    elif summary is not None and line is not None and line != summary:
        yield run.flaw(
            "contradiction", task.history, f"Its line of this run is not {run.layout.run_summary.name}."
        )
    elif summary is not None and line is None and not _is_told(manifest):
        yield run.flaw("missing", task.history, "It has no line of this run.")
    yield from _of_state(run, summary)


def _is_told(manifest: dict[str, Any]) -> bool:
    """Whether the run's summary says that its record is not where it belongs."""
    told = str(manifest["summary"])
    return not manifest["metrics_recorded"] or any(words in told for words in ("not queued", "not merged"))


def _of_state(run: _Run, summary: dict[str, Any] | None) -> Iterator[Flaw]:
    """Hold the snapshot of the latest runs to the run's summary."""
    task = run.layout.task
    try:
        state = loads(places.read(task.state, below=task.environment.out_dir))
    except FileNotFoundError:
        return
    except ValueError as error:
        yield run.flaw("changed", task.state, f"It is not JSON: {error}.")
        return
    runs = state.get("runs") if isinstance(state, dict) else None
    for each in runs if isinstance(runs, list) else ():
        if isinstance(each, dict) and each.get("runId") == run.layout.run_id and summary is not None:
            left_out = ("handles", "privacy")
            known = {key: value for key, value in summary.items() if key not in left_out}
            if {key: value for key, value in each.items() if key not in left_out} != known:
                name = run.layout.run_summary.name
                yield run.flaw("contradiction", task.state, f"What it has of this run is not {name}.")


def _last_line(
    path: Path, run_id: str, key: str, shape: Any, below: Path
) -> tuple[dict[str, Any] | None, str | None]:
    """The latest line of a run in a file of lines, and what is wrong with one that names it."""
    found = places.status(path, below=below)
    if found is None:
        return None, None
    needle = f'"{key}":"{run_id}"'.encode()
    for line in lines_backwards(path, found.st_size, below=below):
        if needle not in line:
            continue
        try:
            document = loads(line)
            if isinstance(document, dict) and document.get(key) == run_id:
                from_json(shape, document, strict=False)
                return document, None
        except (ValueError, Mismatch):
            return None, f"Its line of run {run_id} is not of the shape of {shape.__name__}."
    return None, None


def verification_document(flaws: Iterable[Flaw], *, runs: int, sealed: int) -> dict[str, Any]:
    """The JSON answer."""
    found = [
        {"kind": one.kind, "path": one.path, "message": one.message, "run_id": one.run_id} for one in flaws
    ]
    return {"holds": not found, "runs": runs, "sealed": sealed, "findings": found}
