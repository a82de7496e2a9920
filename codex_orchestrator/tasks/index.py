"""``tasks/index.json``: which tasks there are, by any of their names (docs/reference/files.md, "Tasks").

Annotations are real types here (no postponed evaluation): `codec` and pydantic read them. Keys that
other tools keep in the file are left as they are.
"""

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from codex_orchestrator import sources
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import TASK_INDEX
from codex_orchestrator.errors import Misplaced, UsageError
from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.model.codec import Bounds, Mismatch, from_json, loads

_SHOWN_PROBLEMS = 5

# Some indexes put the day before the id: 20251226-0913-roadmap is task 0913 as well.
_STAMP = re.compile(r"\d{8}-(?=\d)")
_NAME = re.compile(rf"(?P<id>(?:{_STAMP.pattern})?[A-Za-z0-9]+)-(?P<slug>[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)")


@dataclass(frozen=True, kw_only=True)
class WrittenItem:
    """An item as the file has it."""

    id: Annotated[str, Bounds(min_length=1)]
    slug: str | None = None
    title: str | None = None


@dataclass(frozen=True, kw_only=True)
class WrittenIndex:
    """The file."""

    items: tuple[WrittenItem, ...]


@dataclass(frozen=True)
class Task:
    """A task of the index.

    Attributes:
        name: ``<id>-<slug>``, as its files are called.
        slug: The slug, the name where none can be told.
        title: Its name for people, or None.
        names: All that it may be called by: the name, the item's id, the bare id.
    """

    name: str
    slug: str
    title: str | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class TaskIndex:
    """The tasks, in the order of the file, and its text."""

    tasks: tuple[Task, ...]
    text: str

    @cached_property
    def _by_name(self) -> dict[str, tuple[Task, ...]]:
        found: dict[str, tuple[Task, ...]] = {}
        for task in self.tasks:
            for name in task.names:
                found[name] = (*found.get(name, ()), task)
        # A task's own name is never taken for what another may be called as well.
        return found | {task.name: (task,) for task in self.tasks}

    def find(self, task_id: str) -> tuple[Task, ...]:
        """The tasks that an id may mean; several only for a bare id that they share."""
        return self._by_name.get(task_id, ())

    def names_of(self, task: Task) -> tuple[str, ...]:
        """The names of this task that no other task has."""
        return tuple(name for name in task.names if self.find(name) == (task,))


def read_index(root: Path) -> TaskIndex | None:
    """The index of a repository; None where it has none.

    Raises:
        UsageError: It cannot be read, or is no index.
    """
    try:
        content = sources.read(root / TASK_INDEX, root=root)
    except FileNotFoundError:
        return None
    except Misplaced as error:
        raise UsageError(f"{TASK_INDEX} cannot be read: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise UsageError(f"{TASK_INDEX} cannot be read: {error.strerror or error}.") from error
    try:
        return parse_index(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{TASK_INDEX}:{line}: not valid UTF-8: {error.reason}.") from error


def parse_index(text: str) -> TaskIndex:
    """The tasks of an index.

    Raises:
        UsageError: It is no index: everything that is wrong with it.
    """
    data = _parsed(text)
    try:
        written = from_json(WrittenIndex, data, strict=False)
    except Mismatch:
        from codex_orchestrator.model.explain import explain

        problems = [f"{problem.where()}: {problem.message}" for problem in explain(WrittenIndex, data)]
        raise _refusal(problems) from None
    tasks = tuple(_task(item) for item in written.items)
    problems = []
    seen: set[str] = set()
    for place, task in enumerate(tasks):
        unusable = next(filter(None, (id_problem(name) for name in task.names)), None)
        if unusable:
            problems.append(f'items[{place}].id: Invalid task ID "{task.name}": {unusable}')
        elif task.name in seen:
            problems.append(f'items[{place}].id: the task "{task.name}" is there twice')
        seen.add(task.name)
    if problems:
        raise _refusal(problems)
    return TaskIndex(tasks, text)


def split_name(name: str) -> tuple[str, str] | None:
    """Id and slug of ``<id>-<slug>``, of letters, digits and single hyphens; None for any other text."""
    match = _NAME.fullmatch(name)
    return (match["id"], match["slug"]) if match else None


def with_gates(text: str, gates: Mapping[int, Mapping[str, Any]]) -> str:
    """The index with the ``gate`` of some items set, by their places."""
    data = loads(text)
    for place, gate in gates.items():
        data["items"][place]["gate"] = dict(gate)
    return _written(data, text)


def gates_of(text: str) -> list[Any]:
    """The ``gate`` of each item, in order; None for an item without one."""
    return [item.get("gate") for item in loads(text)["items"]]


def with_task(text: str | None, item: Mapping[str, str]) -> str:
    """The index with one item more; ``text`` is None where there was no index yet."""
    data = {"items": []} if text is None else loads(text)
    data["items"].append(dict(item))
    return _written(data, text or "{\n  \n}\n")


def _written(data: Any, before: str) -> str:
    """The document in the style of the previous text: indentation, escapes, line ends."""
    indent = re.search(r"\n([ \t]+)\S", before)
    text = json.dumps(data, indent=indent[1] if indent else 2, ensure_ascii="\\u" in before)
    text = text.replace("\n", "\r\n") if "\r\n" in before else text
    return text + before[len(before.rstrip("\r\n")) :]


def _parsed(text: str) -> Any:
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in items]
        repeated.extend(key for place, key in enumerate(keys) if key in keys[:place])
        return dict(items)

    try:
        data = loads(text, object_pairs_hook=pairs, keep_halves=True)
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where = f"{TASK_INDEX}:{error.lineno}"
        raise UsageError(f"{where}: not valid JSON at column {error.colno}: {error.msg}.") from error
    except UnicodeEncodeError as error:
        raise UsageError(f"{TASK_INDEX}: a string holds half of a surrogate pair.") from error
    except ValueError as error:
        raise UsageError(f"{TASK_INDEX}: not valid JSON: {error}.") from error
    if repeated:
        # To write the file anew would drop one of the two.
        raise _refusal([f'the key "{key}" is repeated in one object' for key in dict.fromkeys(repeated)])
    return data


def _task(item: WrittenItem) -> Task:
    name = _name(item.id, item.slug)
    split = split_name(name)
    bare, slug = split or (name, name)
    if item.slug and name.endswith(f"-{item.slug}"):
        bare = name.removesuffix(f"-{item.slug}")
    names = (name, item.id, bare)
    stamped = [_STAMP.sub("", one, count=1) for one in names if _STAMP.match(one)]
    return Task(name, item.slug or slug, item.title or None, tuple(dict.fromkeys([*names, *stamped])))


def _name(task_id: str, slug: str | None) -> str:
    """``<id>-<slug>``, from an item that has it whole or in parts."""
    if not slug or task_id == slug or task_id.endswith(f"-{slug}"):
        return task_id
    return slug if slug.startswith(f"{task_id}-") else f"{task_id}-{slug}"


def _refusal(problems: list[str]) -> UsageError:
    shown = "; ".join(problems[:_SHOWN_PROBLEMS]) or "does not have the expected shape"
    more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
    return UsageError(
        f"{TASK_INDEX}: {shown}{more}.", hint='It holds {"items": [{"id", "slug", "title"}, …]}.'
    )
