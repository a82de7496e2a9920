"""Which tasks may be run, and from where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UsageError
from codex_orchestrator.tasks.registry import look_up, project_of, require_place

REGISTRY = {"01*": "packages/web", "0102-api": "packages/api", "0[2-3]??-*": "packages/api", "0900": "."}


@pytest.mark.parametrize(
    ("names", "project"),
    [
        (("0101-web",), "packages/web"),
        (("0102-api",), "packages/api"),
        (("0102", "0102-api"), "packages/api"),
        (("0201-x",), "packages/api"),
        (("0401-x",), None),
        (("0900",), "."),
        (("0900-x",), None),
        (("0900-x", "0900"), "."),
        (("0[2-3]??-*",), "packages/api"),
    ],
)
def test_an_id_goes_before_a_pattern_and_the_first_pattern_counts(names, project):
    assert project_of(REGISTRY, names) == project


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "repo"
    for name in ("packages/web/src", "packages/api", "docs"):
        (folder / name).mkdir(parents=True)
    return folder


def surroundings(root: Path, cwd: Path) -> Environment:
    return Environment(root, root / ".runs", root / "out", cwd, {})


@pytest.mark.parametrize(
    ("task", "cwd", "said"),
    [
        ("0101-web", ".", None),
        ("0101-web", "packages", None),
        ("0101-web", "packages/web", None),
        ("0101-web", "packages/web/src", None),
        ("0101-web", "..", None),
        ("0101-web", "../elsewhere", None),
        ("0900", "docs", None),
        ("0101-web", "docs", 'belongs to the project "packages/web", and this is "docs".'),
        ("0101-web", "packages/api", 'belongs to the project "packages/web", and this is "packages/api".'),
        ("0102-api", "packages/web/src", 'and this is "packages/web/src".'),
        ("0401-x", ".", 'Unknown task "0401-x": no entry of "tasks"'),
    ],
)
def test_a_task_is_run_in_its_project_or_above_it(root, task, cwd, said):
    environment = surroundings(root, (root / cwd).resolve())
    if said is None:
        require_place(environment, REGISTRY, (task,))
        return
    with pytest.raises(UsageError) as refused:
        require_place(environment, REGISTRY, (task,))
    assert said in refused.value.message
    assert refused.value.hint


def test_an_empty_registry_allows_every_task(root):
    require_place(surroundings(root, root), {}, ("anything",))


def test_a_project_that_is_not_there_is_named(root):
    with pytest.raises(UsageError, match='belongs to the project "gone", and there is no such folder'):
        require_place(surroundings(root, root), {"*": "gone"}, ("0001-a",))


def test_a_project_behind_a_link_is_where_the_link_leads(root):
    (root / "web").symlink_to(root / "packages" / "web")
    require_place(surroundings(root, root / "packages" / "web"), {"*": "web"}, ("0001-a",))


def write_index(root: Path, text: str) -> None:
    (root / "tasks").mkdir()
    (root / "tasks" / "index.json").write_text(text, encoding="utf-8")


def test_the_index_tells_a_tasks_other_names(root):
    write_index(root, json.dumps({"items": [{"id": "0042", "slug": "pay", "title": "Pay"}]}))
    known = look_up(surroundings(root, root), "0042")
    assert known.task is not None
    assert (known.task.slug, known.task.title, known.names) == ("pay", "Pay", ("0042", "0042-pay"))
    assert look_up(surroundings(root, root), "0043").names == ("0043",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "tasks/index.json:1: not valid JSON"),
        ('{"items": [{"id": "42-a"}, {"id": "42-b"}]}', 'Task "42" may be 42-a or 42-b: name one in full.'),
    ],
)
def test_an_index_that_cannot_tell_is_a_notice(root, text, said):
    write_index(root, text)
    known = look_up(surroundings(root, root), "42")
    assert (known.task, known.names) == (None, ("42",))
    assert said in (known.notice or "")
