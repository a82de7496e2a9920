"""The evidence guard: what task lists call done is shown by a run that succeeded.

The rules are in docs/reference/guards.md, section "Evidence guard".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from codex_orchestrator import named, places, sources
from codex_orchestrator.checks.checklists import Box, checked_boxes
from codex_orchestrator.checks.pages import PageReader
from codex_orchestrator.checks.report import Fault, Finding, Report, counted, encodable
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import StorageError, UnknownRun
from codex_orchestrator.evidence.manifests import read_document, validate_manifest
from codex_orchestrator.evidence.node_cli import RUNTIME_KEYS
from codex_orchestrator.evidence.seal_check import Chain, check_seal
from codex_orchestrator.evidence.sealing import read_seal
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.rules.summary import says_partial
from codex_orchestrator.rules.tokens import Token, citations
from codex_orchestrator.text import printable

# Where task lists are; the first takes in `tasks/tasks-<task>.md` and `tasks/<task>.md`.
PAGES = ("tasks/*.md", "docs/TASKS.md", ".agent/task/*.md")

_TEXT_SHOWN = 60
_PROBLEMS_SHOWN = 3
_RERUN = "Run the pipeline to its end, and cite the manifest of that run."
_CITE = "Cite the manifest of a run that shows it (.runs/<task>/cli/<run>/manifest.json), or uncheck it."


@dataclass(frozen=True, kw_only=True)
class EvidenceReport(Report):
    """What was found, page by page and in the order of their lines.

    Attributes:
        checked_pages: How many task lists were read.
        checked_boxes: How many checked boxes they have.
        manifests: The manifests that they cite, as written, sorted.
    """

    GUARD = "evidence"
    LABEL = "evidence-guard"

    checked_pages: int
    checked_boxes: int
    manifests: tuple[str, ...]

    def details(self) -> dict[str, object]:
        """How much was looked at, and the manifests."""
        return {
            "checked_pages": self.checked_pages,
            "checked_boxes": self.checked_boxes,
            "manifests": [encodable(path) for path in self.manifests],
        }

    @property
    def unchecked(self) -> str | None:
        """Task lists without a checked box, or none at all."""
        return None if self.checked_boxes else "no task list has a checked box."

    def scope(self) -> str:
        """How much was looked at."""
        boxes = counted(self.checked_boxes, "checked box", "checked boxes")
        cited = counted(len(self.manifests), "manifest")
        return f"{boxes} on {counted(self.checked_pages, 'page')}; {cited} cited"


def check_evidence(environment: Environment) -> EvidenceReport:
    """Look at every checked box of every task list."""
    reader = PageReader(environment.root, "evidence-unreadable")
    bench = _BoxJudge(environment)
    findings: list[Finding] = []
    boxes: list[Box] = []
    for path in _pages(environment.root):
        found = checked_boxes(reader.read(path) or "")
        boxes += found
        findings += [fault.at(path) for box in found for fault in bench.faults(box, path)]
    return EvidenceReport(
        findings=tuple(sorted([*findings, *reader.findings], key=lambda one: (one.path, one.line or 0))),
        notices=tuple(reader.notices),
        checked_pages=reader.count,
        checked_boxes=len(boxes),
        manifests=tuple(sorted({cited for box in boxes for cited in box.cited})),
    )


def judge_run(manifest: Any, summary: Any) -> tuple[str, str] | None:
    """Why a run is no evidence, as rule and reason, or None where it is.

    Args:
        manifest: The parsed manifest.
        summary: The parsed ``run-summary.json`` beside it, or None where there is none.
    """
    problems = _problems(manifest)
    if problems:
        more = f" and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
        return "evidence-invalid", f"is not valid: {'; '.join(problems[:_PROBLEMS_SHOWN])}{more}"
    if manifest["status"] != "succeeded":
        return "evidence-not-succeeded", f"is of a run that is {manifest['status']}"
    review = _inside(summary, "review")
    if any(says_partial(_inside(each, "summary")) for each in (manifest, review)):
        return "evidence-partial", "is of a partial run"
    decision = _inside(review, "decision")
    if _inside(decision, "approved") is False:
        feedback = " ".join(str(_inside(decision, "feedback") or "").split()).rstrip(".")
        why = f": {feedback}" if feedback else ""
        return "evidence-not-approved", f"is of a run whose summary does not approve it{why}"
    return None


class _BoxJudge:
    """Judges boxes by the manifests that they cite; each manifest is read once."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._root = environment.root
        self._runs = environment.runs_dir
        self._homes = tuple(named.place(home) for home in (environment.root, environment.runs_dir))
        self._judged: dict[Path, tuple[str, str] | None] = {}

    def faults(self, box: Box, page: str) -> Iterator[Fault]:
        """What is wrong with a box; one good manifest is enough."""
        done = printable(box.text if len(box.text) <= _TEXT_SHOWN else box.text[:_TEXT_SHOWN] + "…")
        if not box.cited:
            yield Fault("evidence-missing", f'"{done}" is checked, and cites no manifest.', _CITE, box.line)
            return
        verdicts = {cited: self._verdict(cited, page) for cited in box.cited}
        if None in verdicts.values():
            return
        for cited, verdict in verdicts.items():
            rule, why = verdict or ("", "")
            hint = _CITE if rule in ("evidence-not-found", "evidence-outside") else _RERUN
            yield Fault(rule, f'"{done}" is checked, but {printable(f"{cited} {why}")}.', hint, box.line)

    def _verdict(self, cited: str, page: str) -> tuple[str, str] | None:
        if (token := next(citations(cited), None)) is not None:
            return self._verdict_on_token(token.token)
        beside = (self._root / page).parent
        # A link of a page starts from the page, all else from the root.
        starts = (self._root, beside)
        file = next((one for start in starts if named.is_there(one := start / cited.lstrip("/"))), None)
        if file is None:
            return "evidence-not-found", "does not exist"
        if file not in self._judged:
            self._judged[file] = self._judge(file)
        return self._judged[file]

    def _verdict_on_token(self, token: Token | None) -> tuple[str, str] | None:
        if token is None:
            return "evidence-not-found", "is no token as cite writes it"
        run = TaskLayout(self._environment, token.task_id).run(token.run_id)
        try:
            seal = read_seal(run)
            if seal is None:
                return "evidence-not-found", "is of no run that is sealed here"
            if not seal.root.startswith(token.root):
                return "evidence-invalid", "is of another seal than the run has"
            flaw = next(check_seal(run, Chain(run.task)), None)
            if flaw is not None:
                return (
                    "evidence-invalid",
                    f"is of a run that is not as it was sealed: {flaw.path} is {flaw.kind}",
                )
            if token.stage_id is None:
                return self._judge(run.manifest)
            document = read_document(run.manifest, below=run.base)
        except (OSError, UnknownRun, StorageError) as error:
            return "evidence-invalid", f"cannot be used: {printable(str(error).rstrip('.'))}"
        entries = _inside(document, "commands")
        status = next((each["status"] for each in entries if each["id"] == token.stage_id), "not there")
        is_fine = status == "succeeded"
        return None if is_fine else ("evidence-not-succeeded", f"is of a stage that is {status}")

    def _judge(self, file: Path, *, pointed: bool = False) -> tuple[str, str] | None:
        place, below = self._place(file)
        if below is None:
            return "evidence-outside", "lies outside of the repository"
        try:
            if not places.has_file(place, below=below):
                return "evidence-not-found", "is no file"
            document = read_document(place, below=below)
            target = None if pointed else _inside(document, "redirect_to") and _inside(document, "manifest")
            if isinstance(target, str):
                return self._judge(self._root / target, pointed=True)
            beside = place.with_name("run-summary.json")
            has_summary = places.has_file(beside, below=below)
            return judge_run(document, read_document(beside, below=below) if has_summary else None)
        except (UnknownRun, StorageError) as error:
            return "evidence-invalid", f"cannot be used: {printable(error.message.rstrip('.'))}"

    def _place(self, file: Path) -> tuple[Path, Path | None]:
        """Where a cited file is read, and the folder above it that is trusted: None where it lies outside."""
        path = Path(os.path.normpath(file))
        real = named.place(path)
        home = next((home for home in self._homes if real.is_relative_to(home)), None)
        # Below the runs folder no link is followed, wherever it leads.
        return (path, self._runs) if home and path.is_relative_to(self._runs) else (real, home)


def _pages(root: Path) -> list[str]:
    found = set()
    for pattern in PAGES:
        folder, _, wanted = pattern.rpartition("/")
        for name, kind in sources.listed(root / folder, root=root):
            if kind != "folder" and fnmatchcase(name, wanted):
                found.add(f"{folder}/{name}")
    return sorted(found)


def _problems(manifest: Any) -> list[str]:
    if not isinstance(manifest, dict):
        return ["(document): must be an object"]
    return validate_manifest(
        {key: value for key, value in manifest.items() if not key.startswith(RUNTIME_KEYS)}
    )


def _inside(document: Any, key: str) -> Any:
    return document.get(key) if isinstance(document, dict) else None
