"""``tasks`` in the definition file: which tasks may be run, and from which project."""

from __future__ import annotations

import json

import pytest

WORK = {
    "id": "work",
    "title": "Work",
    "stages": [{"kind": "command", "id": "a", "title": "A", "command": "true"}],
}
REGISTRY = {"web-*": "packages/web", "api-1": "packages/api"}


@pytest.fixture
def registry(project):
    """A repository of two projects, with a registry."""
    for name in ("web", "api"):
        (project.root / "packages" / name).mkdir(parents=True)
    project.write({"tasks": REGISTRY, "pipelines": [WORK]})
    return project


@pytest.mark.parametrize(
    ("task", "folder", "said"),
    [
        ("web-7", ".", None),
        ("web-7", "packages/web", None),
        ("api-1", "packages/api", None),
        ("api-1", "packages/web", 'Task "api-1" belongs to the project "packages/api"'),
        ("api-2", ".", 'Unknown task "api-2": no entry of "tasks"'),
    ],
)
@pytest.mark.parametrize("words", [("start", "work"), ("plan", "work")])
def test_a_task_is_refused_with_the_reason_or_runs(registry, task, folder, said, words):
    variables = {"MCP_RUNNER_TASK_ID": task}
    done = registry.cli(*words, environment=variables, cwd=registry.root / folder)
    assert done.returncode == (0 if said is None else 2), done.stderr
    assert (said or "") in done.stderr
    if said is not None:
        assert not (registry.root / ".runs").exists()


def test_pytest_refuses_the_same(registry):
    done = registry.pytest("--codex-pipeline", "work", "--codex-task", "api-2")
    assert done.returncode == 4
    assert 'Unknown task "api-2"' in done.stderr
    assert not (registry.root / ".runs").exists()


def test_a_task_that_left_the_registry_is_not_resumed(registry):
    run = registry.start("work", "--task", "web-7")
    registry.write({"tasks": {"api-1": "packages/api"}, "pipelines": [WORK]})
    done = registry.cli("resume", "--run", run.answer["run_id"])
    assert done.returncode == 2
    assert 'Unknown task "web-7"' in done.stderr


def test_the_index_tells_which_entry_is_meant(registry):
    (registry.root / "tasks").mkdir()
    index = {"items": [{"id": "web-7", "slug": "shop"}]}
    (registry.root / "tasks" / "index.json").write_text(json.dumps(index))
    registry.write({"tasks": {"web-7-shop": "."}, "pipelines": [WORK]})
    assert registry.start("work", "--task", "web-7").exit_code == 0


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"a/b": "."}, "2: tasks.a/b: no task ID fits \"a/b\": it contains '/'."),
        ({"": "."}, 'no task ID fits "": it is empty.'),
        ({".*": "."}, "no task ID fits \".*\": it starts with '.'."),
        ({"latest": "."}, "'latest' is reserved"),
        ({"a": ""}, 'tasks.a: "" is not a path inside the repository.'),
        ({"a": "/etc"}, '"/etc" is not a path inside the repository.'),
        ({"a": "x/../../y"}, '"x/../../y" is not a path inside the repository.'),
        ({"a": 1}, "tasks.a: must be a string"),
    ],
)
def test_a_registry_that_cannot_be_meant_is_refused(project, entries, said):
    project.write({"tasks": entries, "pipelines": [WORK]})
    done = project.cli("plan", "work", environment={"MCP_RUNNER_TASK_ID": "a"})
    assert done.returncode == 2
    assert said.split(": ", 1)[-1] in done.stderr
