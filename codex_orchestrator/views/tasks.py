"""The results of ``task``, for people and programs (docs/reference/command-line.md, "task")."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from codex_orchestrator.tasks.mirrors import SyncPlan
from codex_orchestrator.tasks.templates import NewTask
from codex_orchestrator.tasks.texts import TextChange, Trouble

_SHOWN_LINES = 20


def created_document(
    task: NewTask, changes: Sequence[TextChange], troubles: Sequence[Trouble]
) -> dict[str, Any]:
    """The JSON answer of ``task new``."""
    return {
        "task_id": task.name,
        "slug": task.slug,
        "title": task.title,
        "created": [change.path for change in changes if change.kind == "created"],
        "updated": [change.path for change in changes if change.kind == "updated"],
        "troubles": _troubles(troubles),
    }


def created_lines(task: NewTask, changes: Sequence[TextChange], troubles: Sequence[Trouble]) -> list[str]:
    """The same for people."""
    lines = [f"Task {task.name}: {task.title}"]
    lines += [f"  {change.kind} {change.path}" for change in changes]
    return [*lines, *_trouble_lines(troubles)]


def sync_document(sync: SyncPlan, *, check: bool) -> dict[str, Any]:
    """The JSON answer of ``task sync``."""
    return {
        "status": _status(sync, check=check),
        "check": check,
        "tasks": [
            {
                "task_id": name,
                "run_id": evidence.run_id if evidence else None,
                "status": evidence.status if evidence else None,
                "manifest": evidence.manifest if evidence else None,
                "token": evidence.token if evidence else None,
            }
            for name, evidence in sync.evidence.items()
        ],
        "changes": [
            {"path": change.path, "kind": change.kind, "removed": removed, "added": added}
            for change in sync.changes
            for removed, added in [change.lines()]
        ],
        "troubles": _troubles(sync.troubles),
    }


def sync_lines(sync: SyncPlan, *, check: bool) -> list[str]:
    """The same for people, with every line that is removed."""
    lines: list[str] = []
    # Copies change alike: what does is shown once, after the last of them.
    for (removed, added), alike in groupby(sync.changes, key=TextChange.lines):
        for change in alike:
            verb = {"created": "create", "updated": "update"}[change.kind]
            lines.append(f"{'Would ' + verb if check else verb.capitalize() + 'd'} {change.path}")
        lines += [*_shown("-", removed), *_shown("+", added)]
    lines += _trouble_lines(sync.troubles)
    files = len({change.path for change in sync.changes})
    done = (
        f"{_count(files, 'file')} {'out of step' if check else 'brought into step'}" if files else "in step"
    )
    failed = f", {_count(len(sync.troubles), 'trouble')}" if sync.troubles else ""
    lines.append(f"{_count(len(sync.evidence), 'task')}: {done}{failed}.")
    return lines


def _status(sync: SyncPlan, *, check: bool) -> str:
    if sync.troubles:
        return "troubles"
    if not sync.changes:
        return "in-step"
    return "out-of-step" if check else "updated"


def _troubles(troubles: Sequence[Trouble]) -> list[dict[str, str]]:
    return [{"path": one.path, "message": one.message, "hint": one.hint} for one in troubles]


def _trouble_lines(troubles: Sequence[Trouble]) -> list[str]:
    return [line for one in troubles for line in (f"{one.path}: {one.message}", f"  {one.hint}")]


def _shown(sign: str, lines: Sequence[str]) -> list[str]:
    more = [f"  {sign} … and {len(lines) - _SHOWN_LINES} more"] if len(lines) > _SHOWN_LINES else []
    return [f"  {sign} {line}".rstrip() for line in lines[:_SHOWN_LINES]] + more


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
