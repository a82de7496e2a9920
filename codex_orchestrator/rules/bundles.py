"""What a bundle has, by names; pure (docs/reference/files.md, "Bundles")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codex_orchestrator.identifiers import stage_file_stem
from codex_orchestrator.model.bundle import BundleList, KeptLogs

LIST = "bundle.json"
README = "README.txt"
# Without these nobody could say what became of a run.
_ALWAYS = frozenset(
    {"manifest.json", "plan.json", "source.json", "run-summary.json", "approvals.ndjson"}
    | {"privacy-decisions.ndjson"}
)
_ALWAYS_IN = ("errors/", "children/")
_LOGS_IN = "commands/"


def is_log(name: str) -> bool:
    """Whether a file of a run, by its path in the run's folder, has what stages printed."""
    return name == "runner.ndjson" or name.startswith(_LOGS_IN)


def keeps_log(name: str, logs: KeptLogs, manifest: Mapping[str, Any]) -> bool:
    """Whether a log goes into a bundle.

    Args:
        name: Its path in the run's folder.
        logs: Which are asked for; ``failed`` means those of stages that have failed, though they may.
        manifest: That of the run.
    """
    if logs != "failed":
        return logs == "all"
    failed = {
        f"{_LOGS_IN}{stage_file_stem(entry.get('index', place), str(entry.get('id')))}.ndjson"
        for place, entry in enumerate(manifest["commands"], start=1)
        if entry.get("status") == "failed" or entry.get("error_file")
    }
    return name in failed


def may_be_left_out(name: str) -> bool:
    """Whether a bundle can do without a file of a run, by its path in the run's folder."""
    return name not in _ALWAYS and not name.startswith(_ALWAYS_IN)


def readme(runs: BundleList) -> str:
    """The text of ``README.txt``.

    Args:
        runs: The bundle's list; what it says of files does not matter.
    """
    first, *others = runs.runs
    lines = [
        f"Evidence of run {first.run_id} of task {first.task_id}, as codex-orchestrator has recorded it.",
        "",
        "Look at it without unpacking it (pip install codex-orchestrator):",
        "",
        "  codex-orchestrator status --run FILE.zip    what was run, and how it ended",
        "  codex-orchestrator logs --run FILE.zip      what the stages printed",
        "  codex-orchestrator verify --run FILE.zip    whether it is what was sealed at the run's end",
        "",
        "FILE.zip is the file that this text is in. Nothing in it is executed, nothing is unpacked.",
        "",
        "What is where:",
        "",
        f"  .runs/{first.task_id}/cli/{first.run_id}/",
        "    manifest.json     how the run and each of its stages ended: begin here",
        "    errors/           for each stage that has failed, the end of what it printed",
        "    commands/         what each stage printed, one JSON document a line",
        "    runner.ndjson     the same and all other events, in their order",
        "    source.json       the commit and the files that were run on",
        "    seal.json         size and SHA-256 of each of these files at the run's end",
        "  .runs/*/metrics.json, out/*/runs.ndjson    what the task's records have of these runs",
        "  out/*/seals.ndjson  the seals of the task's runs up to this one, each naming the one before",
        f"  {LIST}         what no seal has: the other files of this bundle, and what was left out",
        "",
        f"The logs in it: {_LOGS[runs.logs]}.",
    ]
    if others:
        lines += ["", "Runs that were started by it are in it too:", ""]
        lines += [f"  {each.run_id} of task {each.task_id}" for each in others]
    unsealed = [each.run_id for each in runs.runs if each.root is None]
    if unsealed:
        lines += ["", "Not sealed, so that nobody can say whether they are unaltered:", ""]
        lines += [f"  {run_id}" for run_id in unsealed]
    lines += [
        "",
        f"The seal of {first.run_id} has the root",
        "",
        f"  {first.root or 'none'}",
        "",
        "Who knows this root from elsewhere knows that the evidence is the one that was sealed. A seal by",
        "itself does not say who has made it: a signature (seal.dsse.json, where it is there) does.",
    ]
    return "\n".join([*lines, ""])


_LOGS: dict[KeptLogs, str] = {
    "all": "all",
    "failed": "those of stages that have failed; the others were left out",
    "none": "none, they were left out",
}
