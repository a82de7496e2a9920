"""The registry of tasks and their projects: ``tasks`` of the definition file.

Rules: docs/reference/configuration.md, "tasks".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from codex_orchestrator import named, sources
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import TASK_INDEX, Environment
from codex_orchestrator.errors import StorageError, UsageError

if TYPE_CHECKING:
    from codex_orchestrator.tasks.index import Task

_SHOWN_ENTRIES = 8


@dataclass(frozen=True)
class KnownTask:
    """What the index says of a task id.

    Attributes:
        task: The task, or None where the index has none of that id.
        names: All that it may be called by, at least the id.
        notice: Why the index could not say, or None.
    """

    task: Task | None
    names: tuple[str, ...]
    notice: str | None = None


def look_up(environment: Environment, task_id: str) -> KnownTask:
    """What the index says of a task id; an index that cannot be read leads to a notice only."""
    unknown = (task_id,)
    if not _has_index(environment):
        return KnownTask(None, unknown)
    # Every start and status asks, and few repositories have one.
    from codex_orchestrator.tasks.index import read_index

    try:
        index = read_index(environment.root)
    except UsageError as error:
        return KnownTask(None, unknown, f"{error.message} Slug and title of the task are not known.")
    found = index.find(task_id) if index is not None else ()
    if index is None or not found:
        return KnownTask(None, unknown)
    if len(found) > 1:
        names = " or ".join(task.name for task in found)
        return KnownTask(None, unknown, f'Task "{task_id}" may be {names}: name one in full.')
    return KnownTask(found[0], tuple(dict.fromkeys((task_id, *index.names_of(found[0])))))


def _has_index(environment: Environment) -> bool:
    try:
        return sources.kind(environment.root / TASK_INDEX, root=environment.root) is not None
    except StorageError:
        return True  # Whoever reads it says what is wrong with it.


def project_of(registry: Mapping[str, str], names: Iterable[str]) -> str | None:
    """The project of a task by its names: an entry that is one of them, else the first pattern that fits."""
    names = tuple(names)
    exact = next((registry[name] for name in names if name in registry), None)
    if exact is not None:
        return exact
    fitting = (
        path for pattern, path in registry.items() if any(fnmatchcase(name, pattern) for name in names)
    )
    return next(fitting, None)


def require_place(environment: Environment, registry: Mapping[str, str], names: tuple[str, ...]) -> None:
    """Refuse a task that the registry does not know, or that belongs to another project than this one.

    Args:
        environment: Where things are; the current folder tells the project.
        registry: The configured ``tasks``; an empty one allows every task.
        names: What the task may be called by; the first is the id as it was given.

    Raises:
        UsageError: The task is unknown or misplaced.
    """
    if not registry:
        return
    project = project_of(registry, names)
    if project is None:
        shown = ", ".join(list(registry)[:_SHOWN_ENTRIES])
        more = ", …" if len(registry) > _SHOWN_ENTRIES else ""
        raise UsageError(
            f'Unknown task "{names[0]}": no entry of "tasks" in {environment.config_in_words} fits.',
            hint=f"Tasks here: {shown}{more}.",
        )
    folder = (environment.root / project).resolve()
    if named.kind(folder) != "folder":
        raise UsageError(
            f'Task "{names[0]}" belongs to the project "{project}", and there is no such folder.',
            hint=f'Mend "tasks" in {environment.config_in_words}.',
        )
    root, cwd = environment.root.resolve(), environment.cwd.resolve()
    # From outside, by --root, it is the root that counts.
    here = cwd if cwd.is_relative_to(root) else root
    # In the project, or above it, as whoever runs it from the root is.
    if not (here.is_relative_to(folder) or folder.is_relative_to(here)):
        where = PurePosixPath(here.relative_to(root))
        raise UsageError(
            f'Task "{names[0]}" belongs to the project "{project}", and this is "{where}".',
            hint=f'Change to "{project}" or to the root, or choose a task of this project.',
        )
