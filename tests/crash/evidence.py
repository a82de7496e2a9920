"""What must be true of the runs and out folders, after whatever happened: each check lists what is not.

Four checks go with four moments: `readable` holds always, `truthful` for a run that ended by itself,
whatever the disk refused it, `settled` once a later run has ended well, and `gaps` tells what a run
lacks that another one has, to which nothing happened.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codex_orchestrator.clock import SystemClock
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UnknownRun
from codex_orchestrator.evidence.artefacts import check_file
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.evidence.seal_check import Chain
from codex_orchestrator.model.manifest import TERMINAL
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.views.lookup import FoundRun
from codex_orchestrator.views.status import status_document
from codex_orchestrator.views.verification import Verification

from .processes import TASK, Done

_RUN_ID = re.compile(r"\d{4}-\d\d-\d\dT[\d-]+Z-[0-9a-f]{8}")
_NOT_QUEUED = "Record not queued"
_RECORDS = (
    *("metrics.json", "metrics-summary.json", "state.json", "runs.ndjson", "runs-index.json"),
    *("samples.ndjson", "drift.json"),
)


def task_of(root: Path) -> TaskLayout:
    """The task of a project that `processes` runs."""
    return TaskLayout(Environment(root, root / ".runs", root / "out", root, {}), TASK)


def files_in(root: Path) -> list[Path]:
    """All files of the runs and out folders."""
    return sorted(path for top in (".runs", "out") for path in (root / top).rglob("*") if path.is_file())


def is_temporary(path: Path) -> bool:
    """Whether a file is one that would have been renamed."""
    return path.name.startswith(".") and path.suffix == ".tmp"


def readable(root: Path) -> list[str]:
    """Every JSON file and every line but a torn last one is valid, and no run is said to be alive."""
    return [*_invalid(root), *_alive(root)]


def truthful(root: Path, clean: Path, done: Done, *, place: Path | None = None) -> list[str]:
    """What a run that ended by itself must leave and say, whatever the disk refused it.

    - The manifest could be written to its end: then the exit code is that of the stages (0), the manifest is
      final, and each file that is missing or shorter than in ``clean`` is named in the summary.
    - Or it could not: then the exit code is 1, and stderr says so in one message that names a path below the
      project. The manifest, where there is one, is the last that could be written.
    - Either way all files are valid, no temporary file is left, and nobody is shown a traceback.

    Args:
        root: The project, whose last run is meant.
        clean: A project with the same past, whose last run met with nothing.
        done: How the run ended.
        place: Where the project was when it ran, if ``root`` is a copy of it.
    """
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    problems = [*readable(root), *_temporary(root)]
    if "Traceback" in done.stderr + done.stdout:
        problems.append(f"a traceback: {done.stderr}{done.stdout}")
    if done.exit_code == 0:
        manifest = list(found_runs(root))[-1].manifest
        if manifest["status"] != "succeeded" or said:
            problems.append(f"exit 0, but {manifest['status']}: {done.stderr}")
        problems += [
            f"{name}: {gap}, of which the summary says nothing: {manifest['summary']}"
            for name, gap in gaps(root, clean).items()
            if not (_is_named(name, manifest["summary"]) or _says_unsealed(name, root))
        ]
    elif done.exit_code != 1 or len(said) != 1 or str(place or root) not in said[0]:
        problems.append(f"exit {done.exit_code}, and stderr: {done.stderr}")
    return problems


def settled(root: Path) -> list[str]:
    """What a run that ended well leaves of everything that happened before it.

    - Each run with a final manifest is in metrics, history and samples exactly once, unless its summary says
      that its record could not even be queued; the manifest says ``metrics_recorded`` where, and only where,
      it is in.
    - Aggregates count what their files hold, and cover all of it. Nothing is pending.
    - The chain of seals is unbroken, and each run that is sealed is as it was sealed.
    - No temporary file is left, no folder of a run without a manifest, no pointer that leads nowhere.
    """
    return [*readable(root), *_uncounted(root), *_untidy(root), *_unverified(root)]


def gaps(root: Path, clean: Path) -> dict[str, str]:
    """The files that another project's only run has and this one's has not, or not as complete."""
    here, there = _evidence(root), _evidence(clean)
    return {
        name: f"{here.get(name, 'missing')} where {content} was due"
        for name, content in there.items()
        if here.get(name) != content and not name.endswith(".lock")
    }


def found_runs(root: Path) -> Iterator[FoundRun]:
    """The runs with a manifest, oldest first."""
    for layout in _layouts(root):
        try:
            yield FoundRun(layout, read_manifest(layout))
        except UnknownRun:
            continue


def lines_of(path: Path) -> list[Any]:
    """The documents of a file of lines, without a torn last one; none where there is no file."""
    *whole, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
    return [json.loads(line) for line in whole]


def _layouts(root: Path) -> list[RunLayout]:
    task = task_of(root)
    return [task.run(path.name) for path in sorted(task.cli_dir.glob("*")) if path.is_dir()]


def _invalid(root: Path) -> Iterator[str]:
    for path in files_in(root):
        # A lock comes into being empty; its owner writes its name into it before there is a manifest.
        unowned = path.name == "run.lock" and not path.with_name("manifest.json").exists()
        if not is_temporary(path) and not (unowned and path.stat().st_size == 0):
            for problem in check_file(path).problems:
                yield f"{path.relative_to(root)}: {problem}"


def _alive(root: Path) -> Iterator[str]:
    for run in found_runs(root):
        document = status_document(run, now=SystemClock().now())
        expected = "finished" if run.manifest["status"] in TERMINAL else "dead"
        if document["liveness"] != expected:
            yield f"{run.layout.run_id}, which is {expected}, is said to be {document['liveness']}"


def _uncounted(root: Path) -> Iterator[str]:
    task = task_of(root)
    metrics = [line["run_id"] for line in lines_of(task.metrics)]
    history = [line["runId"] for line in lines_of(task.history)]
    samples = [line["request_id"] for line in lines_of(task.drift_samples)]
    for run in found_runs(root):
        run_id, manifest = run.layout.run_id, run.manifest
        given_up = _NOT_QUEUED in (manifest["summary"] or "")
        if manifest["status"] in TERMINAL and not given_up:
            for name, ids in (("metrics", metrics), ("history", history), ("samples", samples)):
                if ids.count(run_id) != 1:
                    yield f"{run_id} is {ids.count(run_id)} times in the {name}"
        if manifest["metrics_recorded"] != (run_id in metrics):
            yield f"{run_id} says metrics_recorded {manifest['metrics_recorded']}"
    for ids in (metrics, history, samples):
        yield from (f"{run_id} is there twice" for run_id, count in Counter(ids).items() if count > 1)
    documents = {
        path: json.loads(path.read_bytes())
        for path in (task.metrics_summary, task.state, task.state_index, task.drift)
    }
    aggregates = {
        "entries_total": (documents[task.metrics_summary]["entries_total"], len(metrics)),
        "metrics covered": (documents[task.metrics_summary]["covered_bytes"], task.metrics.stat().st_size),
        "parse_errors": (documents[task.metrics_summary]["parse_errors"], []),
        "totalRuns": (documents[task.state]["totalRuns"], len(history)),
        "total_runs": (documents[task.state_index]["total_runs"], len(history)),
        "history covered": (documents[task.state_index]["covered_bytes"], task.history.stat().st_size),
        "total_samples": (documents[task.drift]["total_samples"], len(samples)),
        "samples covered": (documents[task.drift]["covered_bytes"], task.drift_samples.stat().st_size),
    }
    yield from (f"{name} is {said}, not {true}" for name, (said, true) in aggregates.items() if said != true)


def _is_named(name: str, summary: str) -> bool:
    """Whether a summary tells of a file that is missing: by its name, or by its kind."""
    path = Path(name)
    if path.name in ("seal.json", "seals.ndjson"):
        return "Trouble in sealing" in summary
    if path.name in _RECORDS:
        return _NOT_QUEUED in summary or "not merged yet" in summary
    return path.name in summary or (path.parent.name == "errors" and "No error file" in summary)


def _says_unsealed(name: str, root: Path) -> bool:
    """Whether `verify` tells that a seal is missing: a disk that takes nothing takes no word of it."""
    verification = Verification(Chain(task_of(root)), now=SystemClock().now())
    flaws = [flaw for run in _layouts(root) for flaw in verification.flaws(run)]
    return Path(name).name in ("seal.json", "seals.ndjson") and any(f.kind == "not-sealed" for f in flaws)


def _temporary(root: Path) -> Iterator[str]:
    yield from (f"left over: {path.relative_to(root)}" for path in files_in(root) if is_temporary(path))


def _unverified(root: Path) -> Iterator[str]:
    chain = Chain(task_of(root))
    verification = Verification(chain, now=SystemClock().now())
    for flaw in (*chain.flaws, *(flaw for run in _layouts(root) for flaw in verification.flaws(run))):
        # Who was killed before the end has none, which is told, and is no more than the truth.
        if flaw.kind != "not-sealed":
            yield f"{flaw.kind}: {flaw.path}: {flaw.message}"


def _untidy(root: Path) -> Iterator[str]:
    yield from _temporary(root)
    task = task_of(root)
    for folder in (*task.pending_dirs, task.runs_dir / "live"):
        yield from (f"left over: {path.relative_to(root)}" for path in folder.glob("*"))
    runs = [layout.run_id for layout in _layouts(root)]
    for layout in _layouts(root):
        if not layout.manifest.exists():
            yield f"half made: {layout.folder.relative_to(root)}"
    for folder in ((task.runs_dir / "mcp"), (root / ".runs" / "local-mcp")):
        yield from (
            f"leads nowhere: {path.relative_to(root)}" for path in folder.glob("*") if path.name not in runs
        )


def _evidence(root: Path) -> dict[str, str]:
    """How much there is in each file, by its name without the run's id."""
    return {_RUN_ID.sub("R", str(path.relative_to(root))): _amount(path) for path in files_in(root)}


def _amount(path: Path) -> str:
    if path.name == "seals.ndjson":
        return "a chain"  # A run that is told of its record after its end is sealed twice.
    if path.suffix == ".ndjson" or path.name == "metrics.json":
        lines = path.read_bytes().count(b"\n")
        return f"{lines} lines"
    return "a document"
