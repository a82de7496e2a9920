"""``codex.orchestrator.json``: every bad file is refused in one message, good ones are merged."""

from __future__ import annotations

import json
import sys
import tracemalloc

import jsonschema
import pytest

from codex_orchestrator.cli import main
from codex_orchestrator.definitions.checks import check_configuration
from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.engine.preparation import Asked, prepare
from codex_orchestrator.environment import discover
from codex_orchestrator.errors import ConfigurationError
from codex_orchestrator.model.codec import from_json, to_json
from codex_orchestrator.model.definitions import Configuration
from codex_orchestrator.schemas import schema_text
from tests.support.configurations import (
    BAD,
    FULL,
    GOOD,
    GOOD_FILES,
    NAME,
    PACKAGED,
    SCHEMA_CANNOT,
    child,
    command,
    other,
    pipelines,
    ref,
    text,
)


def refused(root) -> ConfigurationError:
    """The error that the definitions of a folder end in."""
    with pytest.raises(ConfigurationError) as caught:
        load_definitions(discover(root, {}))
    return caught.value


def problems_of(message: str) -> list[str]:
    """The problems in a message, as the table writes them."""
    lines = message.split("\n")
    assert all(line.startswith(f"{NAME}:") for line in lines), message
    return [line.removeprefix(f"{NAME}:") for line in lines]


def files_in(root) -> set:
    return set(root.rglob("*"))


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_a_bad_file_is_refused_with_file_line_and_path(project, case, monkeypatch, capsys):
    project.write(case.text)
    before = files_in(project.root)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "task-1")

    assert main(["start", "work"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    message = captured.err.removeprefix("error: ").removesuffix("\n")
    found = problems_of(message)
    assert len(found) == len(case.problems), message
    assert all(line.startswith(wanted) for line, wanted in zip(found, case.problems, strict=True)), message

    assert main(["plan", "--format=json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": {"code": "configuration", "message": message, "hint": None}}
    assert captured.err == f"error: {message}\n"
    assert files_in(project.root) == before


UNREADABLE = (
    ("bad JSON", b'{"pipelines": [],\n "x": }\n', f"{NAME}:2: not valid JSON at column 7: Expecting value."),
    # Python 3.13 names the comma, earlier ones what follows it.
    ("a trailing comma", b'{"x": [\n],}', f"{NAME}:2: not valid JSON at column "),
    ("two documents", b"{}\n{}", f"{NAME}:2: not valid JSON at column 1: Extra data."),
    ("an empty file", b"", f"{NAME}:1: not valid JSON at column 1:"),
    ("blank lines", b"\n\n", f"{NAME}:3: not valid JSON at column 1:"),
    ("a comment", b"// mine\n{}", f"{NAME}:1: not valid JSON at column 1:"),
    ("invalid UTF-8", b'{"pipelines": [],\n\n"taskId": "\xff"}', f"{NAME}:3: not valid UTF-8:"),
    ("half a character", b'{"taskId": "\xe2\x82"}', f"{NAME}:1: not valid UTF-8:"),
    ("UTF-16", "{}".encode("utf-16"), f"{NAME}:1: not valid UTF-8:"),
    ("a number of 5000 digits", b'{"taskId": ' + b"9" * 5000 + b"}", f"{NAME}: not valid JSON:"),
)


@pytest.mark.parametrize(
    ("content", "message"), [case[1:] for case in UNREADABLE], ids=[c[0] for c in UNREADABLE]
)
def test_what_is_no_json_is_refused(project, content, message):
    (project.root / NAME).write_bytes(content)
    error = refused(project.root)
    assert str(error).startswith(message)
    assert "\n" not in str(error)
    assert (error.code, error.exit_code) == ("configuration", 2)


@pytest.mark.parametrize("depth", [150, 250, 450, 480, 495, 600, 900, 985, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
def test_deep_nesting_is_refused_and_overflows_nothing(project, depth, opening, closing):
    project.write('{"pipelines":' + opening * depth + "1" + closing * depth + "}")
    message = str(refused(project.root))
    assert message.startswith(NAME)
    assert message.count("\n") == 0


def test_a_folder_in_place_of_the_file_is_refused(project):
    (project.root / NAME).mkdir()
    message = f"{NAME}: cannot be read: {project.root}/{NAME} is a folder where a file belongs."
    assert str(refused(project.root)).splitlines()[0] == message


def test_a_file_that_cannot_be_read_is_refused(project):
    # Tests may run as root, whom permissions do not stop: a link to itself stops everyone.
    (project.root / NAME).symlink_to(NAME)
    (project.root / ".git").rmdir()
    error = refused(project.root)
    assert str(error).startswith(f"{NAME}: cannot be read: ")


PROCESSES = ("unknown key", "half a surrogate pair", "many impossible things")


@pytest.mark.parametrize("case", [case for case in BAD if case.name in PROCESSES], ids=lambda case: case.name)
def test_pytest_refuses_the_same_file_with_the_same_message(project, case):
    project.write(case.text)
    before = files_in(project.root)
    done = project.cli("start", "work")
    assert (done.returncode, done.stdout) == (2, "")
    under_pytest = project.pytest("-p", "no:randomly", "--codex-pipeline", "work")
    assert under_pytest.returncode == 4
    message = done.stderr.removeprefix("error: ")
    assert under_pytest.stderr.count(message.strip()) == 1
    assert under_pytest.stdout == ""
    assert "Traceback" not in under_pytest.stderr + done.stderr
    assert files_in(project.root) == before


def test_pytest_refuses_what_is_no_json(project):
    project.write("{")
    before = files_in(project.root)
    done = project.pytest("-p", "no:randomly", "--codex-pipeline", "work")
    assert done.returncode == 4
    assert f"{NAME}:1: not valid JSON" in done.stderr
    assert files_in(project.root) == before


def test_many_problems_are_cut_to_twenty(project):
    project.write(text(*(command(f"s{number}", nope=1) for number in range(30))))
    lines = str(refused(project.root)).split("\n")
    assert len(lines) == 21
    assert lines[-1] == "… and 10 more."


def test_a_cycle_through_a_packaged_pipeline_is_found():
    # None of today's packaged pipelines has children, so here is one that would.
    stage = {"kind": "subpipeline", "id": "s", "title": "S", "pipeline": "packaged"}
    configuration = from_json(
        Configuration, {"pipelines": [{"id": "work", "title": "Work", "stages": [stage]}]}
    )
    problems = check_configuration(configuration, {}, {"packaged": frozenset({"work"})})
    assert [problem.message for problem in problems] == [
        "pipelines run each other: packaged → work → packaged"
    ]
    assert check_configuration(configuration, {}, {"packaged": frozenset()}) == []


def schema_errors(document) -> list[str]:
    validator = jsonschema.Draft202012Validator(json.loads(schema_text("config")))
    return [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("document", GOOD_FILES.values(), ids=GOOD_FILES)
def test_a_good_file_is_taken_and_the_schema_agrees(project, document):
    project.write(document)
    definitions = load_definitions(discover(project.root, {}))
    assert definitions.notices == ()
    assert schema_errors(document) == []
    if "pipelines" in document:
        # What is written is what is run: nothing is lost on the way.
        read = json.loads(json.dumps(to_json(definitions.configuration)))
        assert schema_errors(read) == []


@pytest.mark.parametrize(
    "case",
    [case for case in BAD if not any(word in case.name for word in SCHEMA_CANNOT)],
    ids=lambda case: case.name,
)
def test_the_shipped_schema_and_the_loader_agree_on_bad_shapes(case):
    assert bool(schema_errors(json.loads(case.text))) == case.shape


def test_the_schema_knows_its_own_dialect():
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text("config")))


# Merging.


def plan(project, pipeline_id: str):
    return load_definitions(discover(project.root, {})).choose(pipeline_id)


def test_the_packaged_pipelines_are_there_without_a_file(project):
    definitions = load_definitions(discover(project.root, {}))
    assert definitions.sources == dict.fromkeys(PACKAGED, "default")
    assert definitions.choose(None).id == "diagnostics"


def test_a_repos_pipelines_come_first_and_the_packaged_stay(project):
    project.write(text())
    definitions = load_definitions(discover(project.root, {}))
    assert list(definitions.sources.items()) == [
        ("work", "user"),
        *((name, "default") for name in PACKAGED),
    ]


def test_a_repos_diagnostics_replaces_the_packaged_one(project):
    project.write(pipelines(other("diagnostics", command("mine")), other("work")))
    definitions = load_definitions(discover(project.root, {}))
    packaged = dict.fromkeys(PACKAGED, "default")
    assert definitions.sources == {**packaged, "diagnostics": "user", "work": "user"}
    assert [stage.id for stage in definitions.choose("diagnostics").stages] == ["mine"]


def test_stage_sets_are_expanded_in_place_and_again_where_they_are_used_again(project):
    sets = f'{{"stageSets": {{"s": [{command("x")}, {command("y")}]}}, "pipelines": [\n'
    project.write(
        sets + other("one", command("a"), ref("s"), command("b")) + ",\n" + other("two", ref("s")) + "]}"
    )
    assert [stage.id for stage in plan(project, "one").stages] == ["a", "x", "y", "b"]
    assert [stage.id for stage in plan(project, "two").stages] == ["x", "y"]


def test_the_packaged_set_can_be_extended_by_ref(project):
    (project.root / "package.json").write_text("{}")
    project.write(text(command("before"), ref("diagnostics"), command("after", needs=["test"])))
    stages = plan(project, "work").stages
    assert [stage.id for stage in stages] == ["before", "build", "lint", "test", "spec-guard", "after"]
    assert stages[1].command == "npm run build"


def test_a_repos_set_of_the_packaged_name_replaces_it(project):
    project.write(text(ref("diagnostics"), document=f'"stageSets": {{"diagnostics": [{command("mine")}]}},'))
    assert [stage.id for stage in plan(project, "work").stages] == ["mine"]
    assert [stage.id for stage in plan(project, "diagnostics").stages] == ["spec-guard"]


def test_keys_of_the_node_cli_are_taken_as_their_twins_or_ignored_with_a_notice(project):
    stage = command(
        mode="cloud",
        requires_cloud=False,
        metadata={"owner": "x"},
        plan={"default": True, "requires_cloud": True, "cloudEnvId": "e"},
    )
    second = command("b", execution_mode="cloud", plan={"primary": False, "execution_mode": "mcp"})
    project.write(text(stage, second, pipeline='"metadata": {},', document='"runtimeMode": "cli",'))
    definitions = load_definitions(discover(project.root, {}))
    first, other_stage = definitions.choose("work").stages
    assert (first.execution_mode, first.requires_cloud) == ("cloud", False)
    assert (first.plan.default_target, first.plan.requires_cloud) == (True, True)
    assert (other_stage.execution_mode, other_stage.plan.execution_mode) == ("cloud", "mcp")
    assert other_stage.plan.default_target is False
    assert sorted(definitions.notices) == [
        f'The key "{key}" of the Node CLI has no meaning here and is ignored.'
        for key in ("cloudEnvId", "metadata", "runtimeMode")
    ]


def test_an_own_key_wins_over_its_twin(project):
    project.write(text(command(executionMode="mcp", mode="cloud")))
    assert plan(project, "work").stages[0].execution_mode == "mcp"


def test_notices_go_to_stderr_and_leave_stdout_alone(project, monkeypatch, capsys):
    project.write(text(document='"runtimeMode": "cli",'))
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "task-1")
    assert main(["plan", "work", "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["pipeline"]["id"] == "work"
    assert captured.err == 'The key "runtimeMode" of the Node CLI has no meaning here and is ignored.\n'


def test_the_config_names_the_default_pipeline_and_the_task(project, monkeypatch, capsys):
    project.write({**FULL, "plugins": [], "privacy": {"rules": []}})
    monkeypatch.chdir(project.root)
    assert main(["plan", "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["pipeline"]["id"] == "work"
    assert captured.err == ""
    assert not (project.root / ".runs").exists()


def test_a_problem_of_a_set_is_said_once_however_many_pipelines_use_it(project):
    sets = f'{{"stageSets": {{"s": [{command("x::y")}]}},\n"pipelines": [\n'
    project.write(sets + other("one", ref("s")) + ",\n" + other("two", ref("s")) + "]}")
    assert str(refused(project.root)) == f'{NAME}:1: stageSets.s[0].id: a stage id holds no "::".'


def test_a_file_that_is_gone_is_no_error(project):
    (project.root / NAME).symlink_to("absent")
    assert load_definitions(discover(project.root, {})).sources == dict.fromkeys(PACKAGED, "default")


def doubled(levels: int, *, times: int = 2) -> str:
    """A few lines that ask for many stages: each pipeline runs the next one so many times."""
    pipelines = [
        {
            "id": f"p{level}",
            "title": "P",
            "stages": [json.loads(child(f"s{n}", pipeline=f"p{level + 1}")) for n in range(times)],
        }
        for level in range(levels)
    ]
    return json.dumps(
        {"pipelines": [*pipelines, {"id": f"p{levels}", "title": "P", "stages": [json.loads(GOOD)]}]}
    )


def circle(length: int) -> str:
    """Pipelines each of which runs the next, and the last one the first."""
    return json.dumps(
        {
            "pipelines": [
                {
                    "id": f"p{n}",
                    "title": "P",
                    "stages": [json.loads(child(pipeline=f"p{(n + 1) % length}"))],
                }
                for n in range(length)
            ]
        }
    )


def sets(pipelines: int, refs: int) -> str:
    """Pipelines that name a set of a thousand stages so many times."""
    members = [json.loads(command(f"s{n}")) for n in range(1_000)]
    stages = [{"kind": "stage-set", "ref": "many"}] * refs
    defined = [{"id": f"p{n}", "title": "P", "stages": stages} for n in range(pipelines)]
    return json.dumps({"stageSets": {"many": members}, "pipelines": defined})


NUMBER = "9" * 10_000
TOO_MUCH = [
    (
        "exponential",
        doubled(24),
        'pipelines[0]: "p0" comes to 50331646 stages with those of its sub-pipelines, and 10000 is the most.',
    ),
    (
        "more than counts",
        doubled(200),
        'pipelines[0]: "p0" sub-pipelines are nested 201 deep, and 100 is the most.',
    ),
    (
        "nested",
        doubled(1_500, times=1),
        'pipelines[0]: "p0" sub-pipelines are nested 1501 deep, and 100 is the most.',
    ),
    (
        "circle",
        circle(5_000),
        "pipelines[0].stages[0].pipeline: pipelines run each other: "
        + " → ".join(f"p{n}" for n in range(10))
        + " → … 4981 more … → "
        + " → ".join([*(f"p{n}" for n in range(4_991, 5_000)), "p0"])
        + ".",
    ),
    (
        "one large pipeline",
        text(*(command(f"s{n}") for n in range(10_001))),
        'pipelines[0]: "work" has 10001 stages with its stage sets, and 10000 is the most.',
    ),
    ("a set again and again", sets(1, 11), 'pipelines[0]: "p0" has 11000 stages with its stage sets, and'),
    (
        "a set everywhere",
        sets(51, 1),
        "pipelines: there are 51000 stages in all with the stage sets, and 50000",
    ),
    ("deep lists", "[" * 100_000, "nested more than 100 levels deep."),
    ("deep objects", '{"a":' * 100_000, "nested more than 100 levels deep."),
    (
        "deep within",
        text(f'{GOOD[:-1]}, "env": {"[" * 5_000 + "]" * 5_000}}}'),
        "nested more than 100 levels deep.",
    ),
    ("a long number", text(f'{GOOD[:-1]}, "retries": {NUMBER}}}'), "a number has too many digits."),
    (
        "a large number",
        text(f'{GOOD[:-1]}, "retries": {NUMBER[:4_000]}}}'),
        "pipelines[0].stages[0].retries: should be less than or equal to 1000000000.",
    ),
    (
        "a number beyond floats",
        text(f'{GOOD[:-1]}, "timeoutSeconds": {NUMBER[:4_000]}}}'),
        "pipelines[0].stages[0].timeoutSeconds: should be less than or equal to 31536000.",
    ),
]


@pytest.mark.parametrize(
    ("definitions", "message"), [case[1:] for case in TOO_MUCH], ids=[case[0] for case in TOO_MUCH]
)
def test_what_asks_for_too_much_is_refused_without_being_done(project, definitions, message):
    project.write(definitions)
    error = str(refused(project.root))
    assert message in error
    assert len(error) < 1_000


def test_as_much_as_is_allowed_is_planned(project):
    project.write(doubled(99, times=1))
    assert prepare(discover(project.root, {}), Asked(pipeline="p0", task="t")).planned.work().order() == [
        "::".join(["p0", *["s0"] * 99, "a"])
    ]


def test_a_long_text_in_the_wrong_place_is_not_searched_step_by_step(project):
    # Each character of a string would be a place to come back to: a hundred bytes for each.
    project.write(text(f'{GOOD[:-1]}, "nope": "{"x" * 10_000_000}"}}'))
    tracemalloc.start()
    try:
        assert "pipelines[0].stages[0].nope: unknown key" in str(refused(project.root))
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()


def test_patterns_without_their_engine_are_refused(project, monkeypatch, capsys):
    project.write({**FULL, "plugins": []})
    monkeypatch.chdir(project.root)
    monkeypatch.setitem(sys.modules, "re2", None)
    assert main(["plan"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "privacy.rules[0].pattern: the pattern needs google-re2, which is not installed" in captured.err
    assert 'pip install "codex-orchestrator[privacy]"' in captured.err


def test_a_pattern_that_the_engine_does_not_take_is_refused_with_its_place_and_reason(project):
    project.write({**FULL, "privacy": {"rules": [{"name": "n", "pattern": "(?<=a)b"}]}})
    message = str(refused(project.root))
    assert message.startswith(f"{NAME}:")
    assert message.endswith(
        "privacy.rules[0].pattern: the pattern is no regular expression of RE2: invalid perl operator: (?<=."
    )


def test_a_byte_order_mark_is_taken(project):
    (project.root / NAME).write_bytes(b'\xef\xbb\xbf{"taskId": "marked", "pipelines": []}')
    assert load_definitions(discover(project.root, {})).configuration.task_id == "marked"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, None),
        ({"GIT_DIR": "", "GIT_AUTHOR_NAME": "Ada"}, None),
        ({"GIT_DIR": ".git"}, "GIT_DIR is set, as in a git hook, and stages inherit it:"),
        (
            {"GIT_DIR": ".git", "GIT_INDEX_FILE": "index"},
            "GIT_DIR and GIT_INDEX_FILE are set, as in a git hook, and stages inherit them:",
        ),
    ],
)
def test_a_run_from_a_git_hook_says_that_stages_get_its_variables(project, variables, told):
    project.pipeline('echo "<$GIT_DIR>"')
    run = project.start("work", environment=variables)
    assert run.exit_code == 0
    assert run.entry("s1")["summary"] == f"<{variables.get('GIT_DIR', '')}>"
    said = [line for line in run.stderr.splitlines() if "git hook" in line]
    assert [line.startswith(told) and "unset $(git rev-parse --local-env-vars)" in line for line in said] == (
        [] if told is None else [True]
    )
