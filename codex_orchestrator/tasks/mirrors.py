"""Keeps a task's files in step: one checklist, its copies, and the gate in the index.

The rules are in docs/reference/files.md, "Tasks".
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import TASK_INDEX, Environment
from codex_orchestrator.tasks.evidence import Evidence, newest_evidence, with_evidence
from codex_orchestrator.tasks.index import Task, TaskIndex, gates_of, with_gates
from codex_orchestrator.tasks.marked_parts import MarkedPart, MarkError, parts_of, with_content, with_part
from codex_orchestrator.tasks.texts import TextChange, Texts, Trouble, UnusableFile

SHARED = {"docs/TASKS.md": "# Tasks\n", "docs/ACTION_PLAN.md": "# Action plans\n"}
# What can stand in a file's name, in Markdown and between marks.
_PLAIN = re.compile(r"\w+(?:[.-]\w+)*")


@dataclass
class SyncPlan:
    """The changes that bring tasks into step, and what prevents others.

    Attributes:
        evidence: By the names of the tasks that are kept in step, the run that their files cite.
        changes: The files whose text is to be another.
        troubles: What keeps a file from being brought into step.
    """

    evidence: dict[str, Evidence | None] = field(default_factory=dict)
    changes: tuple[TextChange, ...] = ()
    troubles: tuple[Trouble, ...] = ()


def checklist_of(name: str) -> str:
    """The file that a task's list is edited in."""
    return f"tasks/tasks-{name}.md"


def copies_of(name: str) -> tuple[str, ...]:
    """The files of the task's own that hold a copy of it."""
    return (f"tasks/{name}.md", f".agent/task/{name}.md")


def plan_sync(
    environment: Environment, index: TaskIndex | None, texts: Texts, *, only: str | None = None
) -> SyncPlan:
    """Find the changes that bring all tasks into step; nothing is written.

    Args:
        environment: Where things are.
        index: The tasks, or None where there is no index.
        texts: The files; it has the changes afterwards.
        only: The name of the one task that is meant; None for all.
    """
    planner = _Planner(texts)
    sync = SyncPlan()
    gates: dict[int, dict[str, Any]] = {}
    recorded = gates_of(index.text) if index is not None else []
    for place, task in enumerate(index.tasks if index is not None else ()):
        kept = only in (None, task.name) and planner.keeps(task)
        if index is None or not (kept or (only is None and recorded[place] is not None)):
            continue
        evidence = newest_evidence(environment, index.names_of(task))
        sync.evidence[task.name] = evidence
        if kept:
            planner.keep(task.name, evidence)
        if evidence is not None and (gate := evidence.gate_after(recorded[place])) != recorded[place]:
            gates[place] = gate
    if index is not None and gates:
        texts.put(TASK_INDEX, with_gates(index.text, gates))
    sync.changes = texts.changes()
    sync.troubles = tuple(dict.fromkeys(planner.troubles))
    return sync


def write_changes(texts: Texts, changes: tuple[TextChange, ...]) -> tuple[Trouble, ...]:
    """Write changes to disk; returns a trouble for each that could not be written.

    Raises:
        StorageError: The disk refused.
    """
    troubles = []
    for change in changes:
        try:
            texts.write(change)
        except UnusableFile as refused:
            troubles.append(refused.trouble)
    return tuple(troubles)


class _Planner:
    """Brings the copies of one task after the other into step, in memory."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._parsed: dict[str, tuple[str, dict[str, MarkedPart]]] = {}
        self.troubles: list[Trouble] = []

    def keeps(self, task: Task) -> bool:
        """Whether a task has a checklist, or copies of a checklist that is gone."""
        name, checklist = task.name, checklist_of(task.name)
        try:
            there = self._texts.read(checklist) is not None
            if there and not _PLAIN.fullmatch(name):
                raise UnusableFile(_unusable(checklist, name))
        except UnusableFile as refused:
            self.troubles.append(refused.trouble)
            return False
        if there:
            return True
        left = [path for path in (*copies_of(name), *SHARED) if self._has_part(path, name)]
        if left:
            message = (
                f"The checklist of task {name} is missing, and there are copies of it: {', '.join(left)}."
            )
            hint = "Put it back, or remove the task's parts from these files."
            self.troubles.append(Trouble(checklist, message, hint))
        return False

    def keep(self, name: str, evidence: Evidence | None) -> None:
        """Fill in the checklist, and bring its copies into step with it."""
        checklist = checklist_of(name)
        try:
            text, parts = self._read(checklist)
            if name not in parts:
                raise UnusableFile(_unmarked(checklist, name))
        except UnusableFile as refused:
            self.troubles.append(refused.trouble)
            return
        content = with_evidence(parts[name].content, evidence)
        self._texts.put(checklist, with_content(text, parts[name], content))
        titles = {**dict.fromkeys(copies_of(name), f"# Task {name}\n"), **SHARED}
        for path, title in titles.items():
            try:
                self._copy(path, name, content, title)
            except UnusableFile as refused:
                self.troubles.append(refused.trouble)

    def _copy(self, path: str, name: str, content: str, title: str) -> None:
        text, parts = self._read(path)
        if name in parts:
            self._texts.put(path, with_content(text, parts[name], content))
        else:
            note = f"a copy, edit {checklist_of(name)} and run: codex-orchestrator task sync"
            start = title if self._texts.read(path) is None else text
            self._texts.put(path, with_part(start, name, content, note))

    def _has_part(self, path: str, name: str) -> bool:
        try:
            return name in self._read(path)[1]
        except UnusableFile:
            # Whichever task is kept there will say so.
            return False

    def _read(self, path: str) -> tuple[str, dict[str, MarkedPart]]:
        text = self._texts.read(path) or ""
        known = self._parsed.get(path)
        if known is not None and known[0] is text:
            return known
        try:
            self._parsed[path] = text, parts_of(text)
        except MarkError as fault:
            hint = "Mend the marks; a part begins and ends with a line of its own, and holds no other."
            raise UnusableFile(Trouble(path, f"Line {fault.line}: {fault.message}.", hint)) from fault
        return self._parsed[path]


def _unmarked(checklist: str, name: str) -> Trouble:
    hint = f'Put the list between a line "<!-- begin task {name} -->" and a line "<!-- end task {name} -->".'
    return Trouble(checklist, f"There is no marked part of task {name}.", hint)


def _unusable(checklist: str, name: str) -> Trouble:
    hint = "Name it with letters, digits and single hyphens, dots or underscores."
    return Trouble(checklist, f'The name of the task, "{name}", cannot stand in marks.', hint)
