"""Creates a task: its documents, its checklist with all copies, and its item in the index."""

from __future__ import annotations

import datetime as dt

from codex_orchestrator.environment import TASK_INDEX, Environment
from codex_orchestrator.errors import UsageError
from codex_orchestrator.identifiers import check_id
from codex_orchestrator.tasks.index import (
    TaskIndex,
    parse_index,
    read_index,
    split_name,
    with_task,
)
from codex_orchestrator.tasks.mirrors import copies_of, plan_sync, write_changes
from codex_orchestrator.tasks.templates import NewTask
from codex_orchestrator.tasks.texts import TextChange, Texts, Trouble, UnusableFile

_SHOWN_FILES = 3


def new_task(name: str, title: str | None, today: dt.date) -> NewTask:
    """A task of that name.

    Raises:
        UsageError: The name is not ``<id>-<slug>``, or the title no line of text.
    """
    check_id(name, name="task ID")
    parts = split_name(name)
    if parts is None:
        raise UsageError(
            f'Invalid task ID "{name}": it is not <id>-<slug>.',
            hint="Use ASCII letters, digits and single hyphens, such as 0042-payments.",
        )
    bare_id, slug = parts
    title = slug.replace("-", " ").capitalize() if title is None else title.strip()
    if not title or not title.isprintable():
        raise UsageError(f"--title {title!a} is not a line of printable text.")
    return NewTask(name, bare_id, slug, title, today)


def create_task(
    environment: Environment, task: NewTask
) -> tuple[tuple[TextChange, ...], tuple[Trouble, ...]]:
    """Write all files of a new task, without overwriting any.

    Returns:
        What was written, and what could not be.

    Raises:
        UsageError: The task, or one of its files, is there already; or a file cannot be added to.
        StorageError: The disk refused.
    """
    index = read_index(environment.root)
    _refuse_known(index, task)
    texts = Texts(environment.root)
    try:
        own = (*task.documents.values(), *copies_of(task.name))
        there = [path for path in own if texts.read(path) is not None]
        if there:
            more = f" and {len(there) - _SHOWN_FILES} more" if len(there) > _SHOWN_FILES else ""
            raise UsageError(
                f"Task {task.name} cannot be made: {', '.join(there[:_SHOWN_FILES])}{more} is there already.",
                hint="Choose another slug, or move what is there.",
            )
        for path, text in task.files().items():
            texts.put(path, text)
        item = {"id": task.name, "slug": task.slug, "title": task.title}
        texts.put(TASK_INDEX, with_task(index.text if index is not None else None, item))
        added = parse_index(texts.read(TASK_INDEX) or "")
    except UnusableFile as refused:
        raise _cannot(refused.trouble) from refused
    sync = plan_sync(environment, added, texts, only=task.name)
    if sync.troubles:
        raise _cannot(sync.troubles[0])
    return sync.changes, write_changes(texts, sync.changes)


def _refuse_known(index: TaskIndex | None, task: NewTask) -> None:
    for name in (task.name, task.bare_id):
        known = index.find(name) if index is not None else ()
        if known:
            raise UsageError(
                f'Task "{task.name}" cannot be made: "{name}" is taken by "{known[0].name}" in {TASK_INDEX}.',
                hint="Choose another id.",
            )


def _cannot(trouble: Trouble) -> UsageError:
    return UsageError(f"{trouble.path}: {trouble.message}", hint=trouble.hint)
