"""Where root, runs, out and task id come from, and what a stage is given."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from codex_orchestrator import named
from codex_orchestrator.environment import Environment, choose_task, discover, lineage_around, stage_variables
from codex_orchestrator.errors import UsageError

ROOT = "CODEX_ORCHESTRATOR_ROOT"
RUNS = "CODEX_ORCHESTRATOR_RUNS_DIR"
OUT = "CODEX_ORCHESTRATOR_OUT_DIR"
RUN_ID = "CODEX_ORCHESTRATOR_RUN_ID"
TASK = "MCP_RUNNER_TASK_ID"


@pytest.fixture
def repo(tmp_path) -> Path:
    """``repo`` has .git; ``repo/packages/web`` has definitions; both have folders below."""
    for folder in ("repo/.git", "repo/lib", "repo/packages/web/src", "other/.git", "bare/deep"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "repo/packages/web/codex.orchestrator.json").write_text("{}")
    return tmp_path / "repo"


@pytest.mark.parametrize(
    ("cwd", "option", "variable", "root"),
    [
        ("repo", None, None, "repo"),
        ("repo/lib", None, None, "repo"),
        ("repo/packages/web", None, None, "repo/packages/web"),
        ("repo/packages/web/src", None, None, "repo/packages/web"),
        ("repo/lib", None, "{tmp}/other", "other"),
        ("repo/lib", None, "../packages", "repo/packages"),
        ("repo/lib", None, "", "repo"),
        ("repo/lib", "{tmp}/bare", "{tmp}/other", "bare"),
        ("repo/lib", "..", "{tmp}/other", "repo"),
        ("repo/lib", "../../other/.", None, "other"),
    ],
)
def test_the_root_is_option_then_variable_then_definitions_then_git(repo, cwd, option, variable, root):
    tmp = repo.parent
    variables = {} if variable is None else {ROOT: variable.format(tmp=tmp)}
    found = discover(tmp / cwd, variables, option and option.format(tmp=tmp))
    assert found.root == tmp / root
    assert found.cwd == tmp / cwd


def test_definitions_win_over_a_nearer_git_folder(repo):
    (repo / "codex.orchestrator.json").write_text("{}")
    (repo / "lib" / ".git").mkdir()
    assert discover(repo / "lib", {}).root == repo


@pytest.mark.parametrize(
    ("mode", "enforce", "enforces"),
    [
        (None, None, False),
        ("", "", False),
        ("1", None, True),
        ("true", None, True),
        (" ON ", None, True),
        ("Yes", None, True),
        ("enforce", None, True),
        ("shadow", None, False),
        ("2", None, False),
        ("0", None, False),
        (None, "1", True),
        ("", "ENFORCE", True),
        ("shadow", "1", False),
        ("enforce", "0", True),
    ],
)
def test_enforcing_is_asked_for_by_the_mode_or_else_by_its_short_form(repo, mode, enforce, enforces):
    given = {"CODEX_CONTROL_PLANE_MODE": mode, "CODEX_CONTROL_PLANE_ENFORCE": enforce}
    found = discover(repo, {name: value for name, value in given.items() if value is not None})
    assert found.enforces("CODEX_CONTROL_PLANE") is enforces
    assert found.enforces("CODEX_PRIVACY_GUARD") is False


def test_a_git_file_marks_a_worktree(repo):
    (repo / "lib" / ".git").write_text("gitdir: elsewhere")
    assert discover(repo / "lib", {}).root == repo / "lib"


def test_without_any_mark_the_root_is_the_folder_itself(tmp_path, monkeypatch):
    # A machine may have a .git or definitions anywhere above its temporary folder.
    monkeypatch.setattr(named, "kind", lambda _: None)
    assert discover(tmp_path, {}).root == tmp_path


@pytest.mark.parametrize(
    ("variables", "option", "name"),
    [
        ({}, "missing", "--root"),
        ({ROOT: "missing"}, None, ROOT),
        ({ROOT: "."}, "codex.orchestrator.json", "--root"),
    ],
)
def test_a_root_that_is_no_folder_is_refused_by_name(repo, variables, option, name):
    with pytest.raises(UsageError, match="is not a folder") as refused:
        discover(repo / "packages/web", variables, option)
    assert refused.value.message.startswith(f'{name} "')


@pytest.mark.parametrize("option", [None, "../repo"])
def test_a_root_that_may_not_be_entered_is_refused(repo, monkeypatch, option):
    # root enters everything; so the question is answered for it.
    monkeypatch.setattr(os, "access", lambda path, _mode: path != repo)
    with pytest.raises(UsageError, match="repo may not be entered by this user"):
        discover(repo, {}, option)
    assert discover(repo.parent / "other", {}).root == repo.parent / "other"


@pytest.mark.parametrize(
    ("variables", "runs", "out"),
    [
        ({}, "repo/.runs", "repo/out"),
        ({RUNS: "", OUT: ""}, "repo/.runs", "repo/out"),
        ({RUNS: "var/runs", OUT: "var/out"}, "repo/var/runs", "repo/var/out"),
        ({RUNS: "../shared", OUT: "./x/../y"}, "shared", "repo/y"),
        ({RUNS: "{tmp}/r", OUT: "{tmp}/o"}, "r", "o"),
    ],
)
def test_runs_and_out_are_resolved_against_the_root(repo, variables, runs, out):
    tmp = repo.parent
    found = discover(repo / "lib", {name: value.format(tmp=tmp) for name, value in variables.items()})
    assert (found.runs_dir, found.out_dir) == (tmp / runs, tmp / out)


def inherited(tmp: Path, **more: str) -> dict[str, str]:
    """What a stage of a run in ``repo`` finds in its environment."""
    return {ROOT: f"{tmp}/repo", RUNS: f"{tmp}/kept/runs", OUT: f"{tmp}/kept/out", RUN_ID: "r1", **more}


@pytest.mark.parametrize("cwd", ["repo", "repo/lib", "repo/packages"])
def test_what_a_stage_inherits_counts_inside_that_root(repo, cwd):
    tmp = repo.parent
    found = discover(tmp / cwd, inherited(tmp))
    assert (found.root, found.runs_dir, found.out_dir) == (repo, tmp / "kept/runs", tmp / "kept/out")


def test_what_a_stage_inherits_does_not_count_elsewhere(repo):
    tmp = repo.parent
    found = discover(tmp / "other", inherited(tmp))
    assert found.root == tmp / "other"
    assert (found.runs_dir, found.out_dir) == (tmp / "other/.runs", tmp / "other/out")
    assert found.variables[RUN_ID] == "r1", "lineage is kept all the same"


@pytest.mark.parametrize("cwd", ["repo/packages/web", "repo/packages/web/src"])
def test_a_nearer_definition_file_counts_more_than_what_a_stage_inherits(repo, cwd):
    (repo / "codex.orchestrator.json").write_text("{}")
    inner = repo / "packages/web"
    found = discover(repo.parent / cwd, inherited(repo.parent))
    assert (found.root, found.runs_dir, found.out_dir) == (inner, inner / ".runs", inner / "out")
    assert (found.root_named, found.variables[RUN_ID]) == (False, "r1")


@pytest.mark.parametrize(
    ("option", "root", "runs"),
    [("{tmp}/repo", "repo", "kept/runs"), ("packages/web", "repo/packages/web", "repo/packages/web/.runs")],
)
def test_folders_that_a_stage_inherits_count_for_no_other_root_that_is_named(repo, option, root, runs):
    tmp = repo.parent
    found = discover(repo, inherited(tmp), option.format(tmp=tmp))
    assert (found.root, found.runs_dir) == (tmp / root, tmp / runs)


@pytest.mark.parametrize(
    ("variables", "lineage"),
    [
        ({}, []),
        ({"LINEAGE": '[["/a", "/a/r0"]]'}, []),
        ({"RUN_ID": "r1"}, []),
        ({"RUN_ID": "r1", "ROOT": "/b", "RUN_DIR": "/b/r1"}, [("/b", "/b/r1")]),
        (
            {
                "RUN_ID": "r1",
                "ROOT": "/b",
                "RUN_DIR": "/b/r1",
                "LINEAGE": '[["/a", "/a/r0"], ["/b", "/b/r1"]]',
            },
            [("/a", "/a/r0"), ("/b", "/b/r1")],
        ),
        *(
            ({"RUN_ID": "r1", "LINEAGE": forged}, [])
            for forged in ("{", "1", "[1]", '[["/a"]]', "[[1, 2]]", "[" * 100_000, "null")
        ),
    ],
)
def test_the_runs_around_a_process_are_known_by_its_environment(variables, lineage):
    environment = surroundings(
        Path("/r"), **{f"CODEX_ORCHESTRATOR_{name}": value for name, value in variables.items()}
    )
    assert lineage_around(environment) == [(Path(root), Path(folder)) for root, folder in lineage]


def test_the_same_variables_set_by_a_person_count_anywhere(repo):
    tmp = repo.parent
    variables = inherited(tmp, **{RUN_ID: ""})
    found = discover(tmp / "other", variables)
    assert (found.root, found.runs_dir) == (repo, tmp / "kept/runs")


def test_a_link_into_the_inherited_root_lies_in_it(repo):
    tmp = repo.parent
    (tmp / "link").symlink_to(repo / "lib")
    assert discover(tmp / "link", inherited(tmp)).root == repo


def surroundings(root: Path, **variables: str) -> Environment:
    return Environment(root, root / ".runs", root / "out", root, variables)


@pytest.mark.parametrize(
    ("option", "variable", "configured", "task"),
    [
        ("o", "v", "c", "o"),
        (None, "v", "c", "v"),
        (None, "", "c", "c"),
        (None, None, "c", "c"),
    ],
)
def test_the_task_is_option_then_variable_then_configuration(option, variable, configured, task):
    variables = {} if variable is None else {TASK: variable}
    choice = choose_task(surroundings(Path("/x/my-repo"), **variables), option, configured)
    assert (choice.task_id, choice.notice) == (task, None)


@pytest.mark.parametrize(("folder", "task"), [("/x/My Repo", "My-Repo"), ("/", "task"), ("/x/日本", "task")])
def test_a_guessed_task_comes_with_one_line_of_notice(folder, task):
    choice = choose_task(surroundings(Path(folder), **{TASK: ""}))
    assert choice.task_id == task
    assert choice.notice is not None
    assert "\n" not in choice.notice
    assert task in choice.notice
    assert TASK in choice.notice


@pytest.mark.parametrize(
    ("option", "variable", "configured", "message"),
    [
        ("", "v", "c", 'Invalid task ID "": it is empty.'),
        ("../x", "v", "c", "Invalid task ID \"../x\": it starts with '.'."),
        (None, "a/b", "c", "Invalid MCP_RUNNER_TASK_ID \"a/b\": it contains '/'."),
        (None, None, "latest", "Invalid task ID \"latest\": 'latest' is reserved."),
    ],
)
def test_the_id_that_counts_must_be_valid(option, variable, configured, message):
    variables = {} if variable is None else {TASK: variable}
    with pytest.raises(UsageError) as refused:
        choose_task(surroundings(Path("/x/repo"), **variables), option, configured)
    assert refused.value.message == message


def test_a_stage_gets_the_callers_environment_then_the_runs_then_its_own():
    environment = surroundings(Path("/r"), HOME="/home/me", **{TASK: "outer", RUN_ID: "outer", "A": "caller"})
    given = stage_variables(
        environment,
        task_id="t",
        run_id="r1",
        pipeline_id="p",
        stage_id="s",
        run_dir=Path("/r/.runs/t/cli/r1"),
        owner_pid=7,
        own={"A": "stage", "CODEX_ORCHESTRATOR_OUT_DIR": "/mine"},
    )
    assert given == {
        "HOME": "/home/me",
        "A": "stage",
        TASK: "t",
        "CODEX_ORCHESTRATOR_TASK_ID": "t",
        RUN_ID: "r1",
        "CODEX_ORCHESTRATOR_PIPELINE_ID": "p",
        "CODEX_ORCHESTRATOR_STAGE_ID": "s",
        "CODEX_ORCHESTRATOR_OWNER_PID": "7",
        "CODEX_ORCHESTRATOR_MANIFEST_PATH": "/r/.runs/t/cli/r1/manifest.json",
        "CODEX_ORCHESTRATOR_RUN_DIR": "/r/.runs/t/cli/r1",
        RUNS: "/r/.runs",
        OUT: "/mine",
        ROOT: "/r",
        "CODEX_ORCHESTRATOR_LINEAGE": '[["/r", "/r/.runs/t/cli/r1"]]',
    }
    assert environment.variables[RUN_ID] == "outer", "the caller's own environment is left alone"


def test_pytest_s_own_variables_are_not_the_users(tmp_path):
    found = discover(tmp_path, {"PYTEST_CURRENT_TEST": "x", "PYTEST_VERSION": "9", "PYTEST_ADDOPTS": "-q"})
    assert found.variables == {"PYTEST_ADDOPTS": "-q"}


def test_an_empty_setting_is_unset_and_paths_are_named_from_the_root():
    environment = surroundings(Path("/r"), EMPTY="", FULL="x")
    assert (environment.setting("EMPTY"), environment.setting("FULL"), environment.setting("NO")) == (
        None,
        "x",
        None,
    )
    assert environment.relative(Path("/r/.runs/t")) == ".runs/t"
    assert replace(environment, root=Path("/r/a")).relative(Path("/r/b/c")) == "../b/c"
    assert environment.config_path == Path("/r/codex.orchestrator.json")
