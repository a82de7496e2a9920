"""A task with runs of many kinds, and ways to tamper with what they have left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from codex_orchestrator.environment import discover
from codex_orchestrator.evidence.seal_check import Chain
from codex_orchestrator.evidence.sealed_files import LIVES_ON
from codex_orchestrator.rules.flaws import Flaw
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.views.lookup import run_layouts
from codex_orchestrator.views.verification import Verification

from .projects import Project, command


def make_world(project: Project) -> str:
    """Leave a run of ten stages with a child, a resume and an approval, between two others; give its id."""
    stages = [
        command("one", "echo one; echo two >&2"),
        command("two", "exit 3", allowFailure=True),
        {"kind": "subpipeline", "id": "inner", "title": "Inner", "pipeline": "inner"},
        command("four", "test -e fixed || exit 7"),
        {"kind": "manual", "id": "ask", "title": "Ask"},
        *(command(f"more-{number}", f"seq {number}") for number in range(5)),
    ]
    project.pipelines(work=stages, inner=["echo inner", "true"], small=["true"])
    project.start("small")
    run = project.start("work")
    (project.root / "fixed").touch()
    run_id = run.answer["run_id"]
    project.resume(run=run_id)
    project.cli("approve", "--run", run_id, "--stage", "ask")
    ended = project.resume(run=run_id)
    assert ended.exit_code == 0, ended.stderr
    project.start("small")
    return run_id


def task_of(project: Project, task: str = "task-1") -> TaskLayout:
    return TaskLayout(discover(project.root, {}, str(project.root)), task)


def flaws_of(project: Project, task: str = "task-1") -> list[Flaw]:
    """What `verify --all` finds, in this process."""
    layout = task_of(project, task)
    chain = Chain(layout)
    verification = Verification(chain, now=0.0)
    return [*chain.flaws, *(flaw for run in run_layouts(layout) for flaw in verification.flaws(run))]


def sealed_files(project: Project, task: str = "task-1") -> list[Path]:
    """All files that are sealed, and the seals and the chain themselves."""
    found = [
        path
        for folder in project.runs(task)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (path.name == "seal.json" or path.name not in LIVES_ON)
    ]
    return [*found, project.root / "out" / task / "seals.ndjson"]


@contextmanager
def changed(path: Path, content: bytes | None) -> Iterator[None]:
    """Have a file say something else, or be gone, for the length of a block."""
    before = path.read_bytes() if path.exists() else None
    try:
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


def flipped(content: bytes, place: int, bit: int) -> bytes:
    """The same with one bit different."""
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


def edited(path: Path, edit: Callable[[dict], object]) -> bytes:
    """A JSON document as an edit leaves it, written as ours are."""
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document)
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
