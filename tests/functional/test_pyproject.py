"""``[tool.codex-orchestrator]`` of ``pyproject.toml``: the same definitions in another place."""

from __future__ import annotations

import json
import os
import re

import pytest

from codex_orchestrator.cli import main
from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.environment import discover
from codex_orchestrator.errors import ConfigurationError
from codex_orchestrator.model.explain import Problem
from tests.support.configurations import BAD, GOOD_FILES, SCHEMA_CANNOT
from tests.support.projects import named
from tests.support.toml_writer import TomlWriter

NAME, OWN = "pyproject.toml", "codex.orchestrator.json"
TABLE = ("tool", "codex-orchestrator")
PROJECT = '[project]\nname = "x"\nversion = "1"\n\n'
BOTH = f"Both {OWN} and [tool.codex-orchestrator] of {NAME} are here.\nKeep one of them."


def without_null(value):
    """A document without the keys that say nothing, as TOML cannot write them; None where that is not all."""
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    return [without_null(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def pyproject(project):
    """Write ``pyproject.toml``: a text as it is, or a document as our table."""

    def write(definitions, *, folder=project.root) -> str:
        if not isinstance(definitions, str):
            definitions = PROJECT + TomlWriter().document(without_null(definitions), under=TABLE)
        (folder / NAME).write_text(definitions, encoding="utf-8")
        return definitions

    return write


def work(*stages, **document) -> dict:
    return {"pipelines": [{"id": "work", "title": "Work", "stages": named(stages)}], **document}


def refused(root) -> str:
    """What is said where definitions are refused."""
    with pytest.raises(ConfigurationError) as caught:
        load_definitions(discover(root, {}))
    return str(caught.value)


# ---------------------------------------------------------------- the same in another place


def test_a_run_is_the_same(project, pyproject):
    stages = (
        {"id": "a", "command": "echo a", "needs": []},
        {"id": "b", "command": "exit 3", "env": {"A": "1"}},
    )
    project.write(work(*stages, taskId="t"))
    own = project.start("work", environment={"MCP_RUNNER_TASK_ID": ""}).manifest
    (project.root / OWN).unlink()
    pyproject(work(*stages, taskId="t"))
    ours = project.start("work", environment={"MCP_RUNNER_TASK_ID": ""}).manifest
    assert (ours["task_id"], ours["status"]) == ("t", "failed")
    kept = ("id", "title", "command", "status", "exit_code", "summary")
    assert [{key: entry[key] for key in kept} for entry in ours["commands"]] == [
        {key: entry[key] for key in kept} for entry in own["commands"]
    ]


def test_it_may_be_resumed_by_the_other_file(project, pyproject):
    project.write(work("test -e ready"))
    assert project.start("work").manifest["status"] == "failed"
    (project.root / OWN).unlink()
    pyproject(work("test -e ready"))
    (project.root / "ready").touch()
    assert project.resume().manifest["status"] == "succeeded"
    pyproject(work("test -e gone"))
    project.start("work")
    pyproject(work("true"))
    done = project.cli("resume")
    assert done.returncode == 2
    assert "has changed since" in done.stderr


def test_pytest_takes_it(project, pyproject):
    pyproject(work("true"))
    assert project.pytest("--codex-pipeline=work").returncode == 0
    pyproject(work({"id": "a", "command": ""}))
    done = project.pytest("--codex-pipeline=work")
    assert done.returncode == 4
    assert "pyproject.toml:12: pipelines[0].stages[0].command: must not be empty." in done.stderr


@pytest.mark.parametrize("document", GOOD_FILES.values(), ids=GOOD_FILES)
def test_a_good_document_is_taken_as_in_a_file_of_its_own(project, pyproject, document):
    project.write(document)
    pyproject(PROJECT)
    own = load_definitions(discover(project.root, {}))
    (project.root / OWN).unlink()
    pyproject(document)
    ours = load_definitions(discover(project.root, {}))
    assert (ours.configuration, ours.pipelines, ours.notices) == (
        own.configuration,
        own.pipelines,
        own.notices,
    )


def in_toml(case) -> bool:
    """Whether a bad file can be written as a table, and is bad in a Python repository too."""
    if any(word in case.name for word in (*SCHEMA_CANNOT, "nothing but a set without stages")):
        return False
    document = json.loads(case.text)
    return isinstance(document, dict) and "null" not in case.text


BAD_TABLES = [case for case in BAD if in_toml(case)]
PROBLEM = re.compile(r"(?P<file>[^:\n]+):(?P<line>\d+): (?P<where>[^ ]+|\(document\)): (?P<message>.+)")


def place_of(where: str, lines: dict) -> int:
    """The line that a path was written on, or what is nearest around it."""
    written = {
        Problem(path[len(TABLE) :], "").where(): line for path, line in lines.items() if path[:2] == TABLE
    }
    while where not in written:
        where = re.sub(r"(\[\d+\]|\.?[^.\[\]]+)$", "", where) or "(document)"
    return written[where]


@pytest.mark.parametrize("style", range(3))
@pytest.mark.parametrize("case", BAD_TABLES, ids=lambda case: case.name)
def test_a_bad_document_is_refused_as_in_a_file_of_its_own_by_the_lines_of_this_one(
    project, pyproject, case, style
):
    project.write(case.text)
    pyproject(PROJECT)
    own = [PROBLEM.fullmatch(line) for line in refused(project.root).split("\n")]
    (project.root / OWN).unlink()
    turns = iter(range(1_000_000))
    writer = TomlWriter(lambda options: options[next(turns) * style % len(options)])
    pyproject(writer.document(json.loads(case.text), under=TABLE))
    ours = [PROBLEM.fullmatch(line) for line in refused(project.root).split("\n")]
    assert sorted((each["where"], each["message"]) for each in ours) == sorted(
        (each["where"].replace("(document)", "[tool.codex-orchestrator]"), each["message"]) for each in own
    )
    for each in ours:
        where = each["where"].replace("[tool.codex-orchestrator]", "(document)")
        assert (each["file"], int(each["line"])) == (NAME, place_of(where, writer.lines)), each[0]


# ---------------------------------------------------------------- what only TOML has


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tool.codex-orchestrator]\nx = \n", ":2: not valid TOML at column 5: Invalid value."),
        (
            "[tool.codex-orchestrator]\nx = 1\nx = 2\n",
            ":3: not valid TOML at column 6: Cannot overwrite a value.",
        ),
        ('\n[tool.codex-orchestrator]\nx = "a', ":3: not valid TOML at the end: "),
        ('[tool.codex-orchestrator]\nx = """\n', ":2: not valid TOML at the end: "),
        ("[tool.codex-orchestrator]\n\nx = '\x01'", ":3: not valid TOML at column "),
        (
            "[tool.codex-orchestrator]\nplugins = 2026-01-01",
            ":2: plugins: a date or time is no value here; where a text is meant, put it in quotes.",
        ),
        (
            "[tool.codex-orchestrator]\ntasks.a = 07:00:00",
            ":2: tasks.a: a date or time is no value here; where a text is meant, put it in quotes.",
        ),
        (
            "[tool.codex-orchestrator]\nlimits.logBytes = nan",
            ":2: limits.logBytes: nan is no number of JSON.",
        ),
        (
            "[tool.codex-orchestrator]\nlimits.logBytes = -inf",
            ":2: limits.logBytes: -inf is no number of JSON.",
        ),
        (
            "[tool.codex-orchestrator]\nlimits.logBytes = 70000.0",
            ":2: limits.logBytes: must be a whole number.",
        ),
        ("[[tool.codex-orchestrator]]\ntaskId = 'x'", ":1: [tool.codex-orchestrator]: must be an object."),
        ("tool.codex-orchestrator = 7", ":1: [tool.codex-orchestrator]: must be an object."),
        (
            "[tool.codex-orchestrator]\nx = " + "[" * 5_000 + "]" * 5_000,
            ": nested more than 100 levels deep.",
        ),
        ("[tool.codex-orchestrator]\nx = " + "[" * 120 + "]" * 120, ": nested more than 100 levels deep."),
        (
            "[tool.codex-orchestrator]\nx = " + "9" * 10_000,
            ": not valid TOML: a number has too many digits.",
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_line(project, pyproject, said, text, told):
    pyproject(text)
    code, out, err = said("start", "work")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {NAME}{told}")
    assert len(err.splitlines()) == 1
    assert not (project.root / ".runs").exists()


def test_text_that_is_not_unicode_is_refused_by_its_line(project):
    (project.root / NAME).write_bytes(b"[tool.codex-orchestrator]\n# \xff\n")
    assert refused(project.root) == "pyproject.toml:2: not valid UTF-8: invalid start byte."


def test_a_byte_order_mark_is_taken(project):
    (project.root / NAME).write_bytes(b"\xef\xbb\xbf[tool.codex-orchestrator]\r\ntaskId = 'marked'\r\n")
    assert load_definitions(discover(project.root, {})).configuration.task_id == "marked"


def test_names_in_a_message_forge_no_line(project, pyproject):
    pyproject('[tool.codex-orchestrator]\n"a\\nerror: forged\\u001b[31m" = 1\n')
    assert refused(project.root) == ("pyproject.toml:2: a\\nerror: forged\\x1b[31m: unknown key.")


# ---------------------------------------------------------------- one of the two


@pytest.mark.parametrize("words", [("start",), ("plan",), ("guard", "spec"), ("review",)], ids=" ".join)
def test_both_files_are_refused(project, pyproject, said, words):
    project.write(work("true"))
    pyproject(work("true"))
    assert said(*words) == (2, "", f"error: {BOTH}\n")


def test_doctor_says_so_too_and_status_goes_on(project, pyproject, said):
    project.write(work("true"))
    assert project.cli("start", "work").returncode == 0
    pyproject(work("true"))
    code, out, _ = said("doctor", "--format", "json")
    check = next(each for each in json.loads(out)["checks"] if each["name"] == "configuration")
    assert (code, check["status"]) == (1, "failed")
    assert BOTH.partition("\n")[0] in check["detail"]
    assert said("status", "--task", "task-1")[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        PROJECT,
        "[tool.ruff]\n",
        "",
        '[project]\ndependencies = ["codex-orchestrator"]\n',
        "[tool.poetry.dependencies]\ncodex-orchestrator = '*'\n",
        "# [tool.codex-orchestrator]\n",
        "[tool.codex-orchestrator-x]\n",
        "no TOML, and nothing about us",
        "\xff\x00",
    ],
)
def test_a_project_file_that_says_nothing_of_us_is_not_ours(project, pyproject, text, said):
    (project.root / NAME).write_text(text, encoding="latin-1")
    assert discover(project.root, {}).config_name == OWN
    assert load_definitions(discover(project.root, {})).sources.keys() >= {"diagnostics"}
    project.write(work("true"))
    assert said("plan", "work")[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        "[tool.codex-orchestrator]",
        " [ tool . codex-orchestrator ] # ours\n",
        '[tool."codex-orchestrator"]\n',
        "['tool'.'codex-orchestrator']\r\n",
        "[tool.codex-orchestrator.limits]\n",
        "[[tool.codex-orchestrator.pipelines]]\nid='a'\ntitle='A'\nstages=[{kind='stage-set',ref='spec-guard'}]\n",
        "tool.codex-orchestrator = {}\n",
        'tool.codex-orchestrator.taskId = "x"\n',
    ],
)
def test_the_table_is_seen_however_it_is_written(project, pyproject, text):
    pyproject(text)
    assert discover(project.root, {}).config_name == NAME
    assert load_definitions(discover(project.root, {})).configuration is not None


def test_what_only_looks_like_the_table_defines_nothing(project, pyproject):
    pyproject('x = """\n[tool.codex-orchestrator]\ntaskId = 7\n"""\n')
    definitions = load_definitions(discover(project.root, {}))
    assert set(definitions.sources.values()) == {"default"}


# ---------------------------------------------------------------- what people are told


def test_messages_name_the_place_that_is_there(project, pyproject, said, monkeypatch):
    monkeypatch.delenv("MCP_RUNNER_TASK_ID", raising=False)
    pyproject(work("true"))
    assert "or taskId in [tool.codex-orchestrator] of pyproject.toml." in said("plan", "work")[2]
    pyproject(work("true", tasks={"a": "gone"}))
    err = said("plan", "work", "--task", "b")[2]
    assert 'Unknown task "b": no entry of "tasks" in [tool.codex-orchestrator] of pyproject.toml fits.' in err
    assert (
        'Mend "tasks" in [tool.codex-orchestrator] of pyproject.toml.'
        in said("plan", "work", "--task", "a")[2]
    )
    assert "Set review.command in [tool.codex-orchestrator] of pyproject.toml" in said("review", "--force")[2]


def test_plan_and_doctor_name_the_file(project, pyproject, said):
    pyproject(work("true"))
    assert f"Definitions: {project.root / NAME}\n" in said("plan", "work")[1]
    assert "pyproject.toml; pipelines: work, " in said("doctor")[1]
    pyproject("[tool.codex-orchestrator]\nx = 1\n")
    assert "pyproject.toml:2: x: unknown key." in said("doctor")[1]


def test_the_task_of_a_status_is_that_of_the_table(project, pyproject, said, monkeypatch):
    pyproject(work("true", taskId="shop"))
    monkeypatch.delenv("MCP_RUNNER_TASK_ID", raising=False)
    assert main(["start", "work", "--quiet"]) == 0
    assert (project.root / ".runs/shop").is_dir()
    assert said("status")[0] == 0
    pyproject("[tool.codex-orchestrator]\nno toml")
    assert said("status", "--task", "shop")[0] == 0
    assert "has no runs" in said("status")[2]


def test_a_plugin_that_cannot_be_had_is_named_by_its_file(project, pyproject):
    pyproject(work("true", plugins=["not_there"]))
    assert 'error: pyproject.toml: plugins: "not_there"' in project.cli("start", "work").stderr


def test_init_writes_no_second_file(project, pyproject, said):
    text = pyproject(work("true"))
    assert said("init")[0] == 0
    assert (project.root / NAME).read_text() == text
    assert not (project.root / OWN).exists()
    assert said("plan", "work")[0] == 0


# ---------------------------------------------------------------- where the root is


@pytest.mark.parametrize("cwd", ["", "src", "src/deep"])
def test_a_folder_with_the_table_is_a_root(project, pyproject, cwd):
    (project.root / "src/deep").mkdir(parents=True)
    (project.root / "src/.git").mkdir()
    pyproject(work("true"))
    assert discover(project.root / cwd, {}).root == project.root


def test_the_nearest_of_either_file_counts(project, pyproject):
    inner, innermost = project.root / "a", project.root / "a/b"
    innermost.mkdir(parents=True)
    project.write(work("true"))
    pyproject(work("true"), folder=inner)
    (innermost / OWN).write_text("{}")
    assert (discover(inner, {}).root, discover(inner, {}).config_name) == (inner, NAME)
    assert (discover(innermost, {}).root, discover(innermost, {}).config_name) == (innermost, OWN)
    pyproject(PROJECT, folder=inner)
    assert discover(inner, {}).root == project.root


def test_a_root_that_is_named_has_its_own_file(project, pyproject, tmp_path):
    pyproject(work("true"))
    (tmp_path / "elsewhere").mkdir()
    assert discover(tmp_path / "elsewhere", {}, str(project.root)).config_name == NAME
    assert discover(project.root, {}, str(tmp_path / "elsewhere")).config_name == OWN


def test_a_package_with_the_table_is_a_project_of_its_own_to_a_stage(project, pyproject):
    inner = project.root / "packages/web"
    inner.mkdir(parents=True)
    pyproject(work("true"), folder=inner)
    project.write(work("true"))
    variables = {"CODEX_ORCHESTRATOR_ROOT": str(project.root), "CODEX_ORCHESTRATOR_RUN_ID": "r1"}
    assert discover(inner, variables).root == inner
    assert discover(project.root / "packages", variables).root == project.root


# ---------------------------------------------------------------- whose it is, and what lies in its place


def test_one_of_another_user_is_refused_without_being_parsed(project, pyproject, said, monkeypatch):
    pyproject("[tool.codex-orchestrator]\nno TOML at all\n")
    (project.root / "mine/.git").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(project.root / NAME, 65534, -1)
    else:
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)
    monkeypatch.chdir(project.root / "mine")
    code, _, err = said("plan")
    assert code == 2
    assert f"error: {project.root / NAME} belongs to " in err
    assert "not valid TOML" in said("plan", "--root", str(project.root))[2]


def test_one_above_the_repository_is_told_of(project, pyproject, said, monkeypatch):
    pyproject(work("true"))
    (project.root / "mine/.git").mkdir(parents=True)
    monkeypatch.chdir(project.root / "mine")
    told = f"Using {project.root / NAME}, which lies above the git repository {project.root / 'mine'}."
    assert said("plan", "work")[2].splitlines()[0] == told


def _huge(path) -> None:
    with path.open("wb") as file:
        file.write(b"[tool.codex-orchestrator]\n")
        file.truncate(1 << 34)


def _leading_out(path) -> None:
    target = path.parent.parent / "outside.toml"
    target.write_text("[tool.codex-orchestrator]\ntaskId = 'outside'\n")
    path.symlink_to(target)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        _huge,
        _leading_out,
        lambda path: path.symlink_to("gone"),
        lambda path: path.symlink_to(NAME),
    ],
    ids=["pipe", "folder", "huge", "leading out", "dangling", "loop"],
)
def test_what_cannot_be_read_holds_no_definitions_and_hangs_nobody(project, said, make):
    make(project.root / NAME)
    environment = discover(project.root, {})
    assert environment.config_name == OWN
    assert set(load_definitions(environment).sources.values()) == {"default"}
    project.write(work("true"))
    assert said("plan", "work")[0] == 0


def test_a_link_within_the_repository_is_followed(project, pyproject):
    (project.root / "config").mkdir()
    pyproject(work("true", taskId="linked"), folder=project.root / "config")
    (project.root / NAME).symlink_to(f"config/{NAME}")
    assert load_definitions(discover(project.root, {})).configuration.task_id == "linked"
