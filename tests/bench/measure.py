"""Takes the samples of a case: makes projects, runs both tools in turns, checks that they did the work."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from .cases import PIPELINE, START, TASK_ID, Case, configuration
from .figures import Sample
from .processes import failure, run_measured
from .tools import Tool


def measure_case(case: Case, tools: Sequence[Tool], runs: int, work: Path) -> dict[str, list[Sample]]:
    """``runs`` samples per tool name, taken in turns (ours, Node's, ours, …).

    One process of each goes before, uncounted, to warm the caches. Raises CommandFailedError.
    """
    samples: dict[str, list[Sample]] = {tool.name: [] for tool in tools}
    run_ids = {tool.name: _make_run(case, tool, work) if case.needs_run else "" for tool in tools}
    for turn in range(runs + 1):
        for tool in tools:
            sample = _measure_once(case, tool, run_ids[tool.name], work)
            if turn > 0:
                samples[tool.name].append(sample)
    return samples


def _measure_once(case: Case, tool: Tool, run_id: str, work: Path) -> Sample:
    outputs = work / tool.name
    project = _project(tool, work) if case.needs_run else _make_project(case, tool, work)
    command = (*tool.command, *case.command_line(run_id))
    sample = run_measured(command, tool.environment, project, outputs)
    if case.starts_run:
        _check_run(case, command, project, outputs)
    fragment = case.output_fragment(run_id)
    if fragment not in (outputs / "stdout").read_text(encoding="utf-8"):
        raise failure(command, f"stdout does not hold {fragment!r}", outputs)
    return sample


def _make_run(case: Case, tool: Tool, work: Path) -> str:
    """The id of a run of the case's pipeline, in the project that the measured processes will share."""
    project = _make_project(case, tool, work)
    command = (*tool.command, *(argument.format(pipeline=PIPELINE) for argument in START))
    run_measured(command, tool.environment, project, work / tool.name)
    return _check_run(case, command, project, work / tool.name).name


def _check_run(case: Case, command: Sequence[str], project: Path, outputs: Path) -> Path:
    """The folder of the project's only run, checked by its manifest, at the same place for both tools."""
    manifests = list((project / ".runs" / TASK_ID / "cli").glob("*/manifest.json"))
    if len(manifests) != 1:
        raise failure(command, f"{len(manifests)} runs in a project that should have one", outputs)
    folder = manifests[0].parent
    manifest = json.loads(manifests[0].read_text(encoding="utf-8"))
    done = [entry["status"] for entry in manifest["commands"]].count("succeeded")
    if manifest["status"] != "succeeded" or done != len(case.stages):
        raise failure(
            command, f"run {manifest['status']}, {done} of {len(case.stages)} stages succeeded", outputs
        )
    logged = sum(log.stat().st_size for log in (folder / "commands").iterdir())
    if logged < case.log_bytes:
        raise failure(
            command, f"{logged} bytes in the stage logs, at least {case.log_bytes} expected", outputs
        )
    return folder


def _project(tool: Tool, work: Path) -> Path:
    return work / tool.name / "project"


def _make_project(case: Case, tool: Tool, work: Path) -> Path:
    project = _project(tool, work)
    if project.exists():
        shutil.rmtree(project)
    project.mkdir(parents=True)
    text = json.dumps(configuration(case), indent=2) + "\n"
    (project / "codex.orchestrator.json").write_text(text, encoding="utf-8")
    return project
