"""The newest run of a task that can stand as evidence, and the links to it in the task's files.

Rules: docs/reference/files.md, "Tasks".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from codex_orchestrator import places
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UnknownRun
from codex_orchestrator.evidence.manifests import read_document
from codex_orchestrator.evidence.sealing import read_seal
from codex_orchestrator.identifiers import is_run_id
from codex_orchestrator.model.manifest import TERMINAL
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.summary import says_partial
from codex_orchestrator.rules.tokens import Token

PENDING = "_(pending)_"
MANIFEST_LABEL = "Run Manifest Link"
METRICS_LABEL = "Metrics / State Snapshots"
TOKEN_LABEL = "Evidence Token"


@dataclass(frozen=True)
class Evidence:
    """A run that stands as evidence, with paths relative to the root.

    Attributes:
        run_id: The run.
        status: How it ended.
        manifest: Its manifest.
        snapshots: Those of the task's metrics and state files that are there.
        token: What `cite` would cite it as; None where it is not sealed.
    """

    run_id: str
    status: str
    manifest: str
    snapshots: tuple[str, ...] = ()
    token: str | None = None

    def gate_after(self, recorded: object) -> dict[str, Any]:
        """The ``gate`` of an item in ``tasks/index.json``, with further keys of the present one kept."""
        kept = recorded if isinstance(recorded, dict) else {}
        gate = {**kept, "status": self.status, "run_id": self.run_id, "log": self.manifest}
        gate.pop("token", None)  # That of another run says nothing of this one.
        return gate if self.token is None else {**gate, "token": self.token}


def newest_evidence(environment: Environment, names: Iterable[str]) -> Evidence | None:
    """The newest run, of any of a task's names, that has ended, has no parent and left no stage out."""
    tasks = [TaskLayout(environment, name) for name in names]
    layouts = [task.run(run_id) for task in tasks for run_id in _runs(task)]
    for layout in sorted(layouts, key=lambda layout: layout.run_id, reverse=True):
        status = _status(layout)
        if status is not None:
            task = layout.task
            places_of = ((task.metrics, environment.runs_dir), (task.state, environment.out_dir))
            snapshots = [path for path, base in places_of if places.has_file(path, below=base)]
            return Evidence(
                layout.run_id,
                status,
                layout.relative(layout.manifest),
                tuple(environment.relative(path) for path in snapshots),
                _token(layout, status),
            )
    return None


def with_evidence(content: str, evidence: Evidence | None) -> str:
    """A text with its links set to the evidence; without evidence, links to other places are kept."""
    if evidence is None:
        return content
    link = f"`{evidence.manifest}` _(status: `{evidence.status}`)_"
    snapshots = ", ".join(f"`{path}`" for path in evidence.snapshots) or PENDING
    token = f"`{evidence.token}`" if evidence.token is not None else PENDING
    for label, value in ((MANIFEST_LABEL, link), (METRICS_LABEL, snapshots), (TOKEN_LABEL, token)):
        content = _led(content, label, value)
    return content


def _led(content: str, label: str, value: str) -> str:
    line = re.compile(rf"^([ \t]*[-*+][ \t]+{re.escape(label)}:)[^\n]*", re.MULTILINE)
    return line.sub(lambda found: f"{found[1]} {value}", content)


def _runs(task: TaskLayout) -> list[str]:
    """The task's runs whose id has our form, which says when they ran."""
    found = places.listed(task.cli_dir, below=task.environment.runs_dir)
    return [name for name, kind in found if kind == "folder" and is_run_id(name)]


def _token(layout: RunLayout, status: str) -> str | None:
    seal = read_seal(layout)
    if seal is None or seal.status != status:
        return None
    return Token(layout.task.task_id, layout.run_id, None, seal.root).text


def _status(layout: RunLayout) -> str | None:
    """The status of a run, or None where it cannot stand as evidence."""
    try:
        manifest: Any = read_document(layout.manifest, below=layout.base)
    except UnknownRun:
        return None
    if not isinstance(manifest, dict) or manifest.get("run_id") != layout.run_id:
        return None
    status = manifest.get("status")
    if says_partial(manifest.get("summary")) or manifest.get("parent_run_id") is not None:
        return None
    return status if isinstance(status, str) and status in TERMINAL else None
