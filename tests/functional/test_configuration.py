"""``codex.orchestrator.json``: every bad file is refused in one message, good ones are merged."""

from __future__ import annotations

import json
import sys
import tracemalloc
from dataclasses import dataclass

import jsonschema
import pytest

from codex_orchestrator.cli import main
from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.definitions.validation import check_configuration
from codex_orchestrator.engine.preparation import Invocation, prepare
from codex_orchestrator.environment import discover
from codex_orchestrator.errors import ConfigurationError
from codex_orchestrator.model.codec import from_json, to_json
from codex_orchestrator.model.definitions import Configuration
from codex_orchestrator.schemas import schema_text

NAME = "codex.orchestrator.json"
PACKAGED = ("diagnostics", "docs-review", "implementation-gate")
GOOD = '{"kind": "command", "id": "a", "title": "A", "command": "true"}'

# Where `text` puts things.
DOCUMENT, PIPELINE, KEYS, STAGES, FIRST = 2, 4, 5, 6, 7


def text(*stages: str, pipeline: str = "", document: str = "") -> str:
    """A definition file: document keys on line 2, pipeline keys on line 5, a stage on each line from 7 on."""
    lines = ["{", document, '"pipelines": [', '{"id": "work", "title": "Work",', pipeline, '"stages": [']
    return "\n".join([*lines, *(",\n".join(stages or (GOOD,)).split("\n")), "]}]}"]) + "\n"


def command(stage_id: str = "a", **keys) -> str:
    """A command stage on one line."""
    return json.dumps({"kind": "command", "id": stage_id, "title": "A", "command": "true", **keys})


def child(stage_id: str = "c", **keys) -> str:
    """A sub-pipeline stage on one line."""
    return json.dumps(
        {"kind": "subpipeline", "id": stage_id, "title": "C", "pipeline": "diagnostics", **keys}
    )


def manual(stage_id: str = "m", **keys) -> str:
    """A manual stage on one line."""
    return json.dumps({"kind": "manual", "id": stage_id, "title": "M", **keys})


def ref(name: str, **keys) -> str:
    """A reference to a stage set on one line."""
    return json.dumps({"kind": "stage-set", "ref": name, **keys})


def other(pipeline_id: str, *stages: str) -> str:
    """A further pipeline on one line, as the beginning of the document's list."""
    return f'{{"id": "{pipeline_id}", "title": "Other", "stages": [{", ".join(stages or (GOOD,))}]}}'


def pipelines(*written: str) -> str:
    """A file of pipelines, one a line from line 2 on."""
    return '{"pipelines": [\n' + ",\n".join(written) + "\n]}\n"


@dataclass(frozen=True)
class Bad:
    """A bad file, and the problems that the message must name: ``line: path: beginning of the message``."""

    name: str
    text: str
    problems: tuple[str, ...]
    shape: bool = True


def bad(name: str, written: str, *problems: str) -> Bad:
    """A file whose shape is wrong; the JSON Schema must refuse it, too."""
    return Bad(name, written, problems)


def wrong(name: str, written: str, *problems: str) -> Bad:
    """A file of the right shape that says something impossible; a JSON Schema cannot see that."""
    return Bad(name, written, problems, shape=False)


def in_document(name: str, written: str, *problems: str) -> Bad:
    return bad(name, text(document=f"{written},"), *(f"{DOCUMENT}: {problem}" for problem in problems))


def in_pipeline(name: str, written: str, *problems: str) -> Bad:
    return bad(name, text(pipeline=f"{written},"), *(f"{KEYS}: pipelines[0].{what}" for what in problems))


def in_stage(name: str, stage: str, *problems: str) -> Bad:
    return bad(name, text(stage), *(f"{FIRST}: pipelines[0].stages[0]{what}" for what in problems))


KINDS = "kind must be one of: command, subpipeline, manual, stage-set"
LESS = "should be less than or equal to"
MORE = "should be greater than"
UNKNOWN = "unknown key"

BAD = (
    # The document.
    bad("a list", "[]", "1: (document): must be an object"),
    bad("null", "null", "1: (document): must be an object"),
    bad("a string", '\n"pipelines"', "2: (document): must be an object"),
    in_document("unknown key", '"pipelins": []', f"pipelins: {UNKNOWN}"),
    in_document("task id's type", '"taskId": 7', "taskId: must be a string"),
    in_document("empty task id", '"taskId": ""', "taskId: must not be empty"),
    in_document("default's type", '"defaultPipeline": ["work"]', "defaultPipeline: must be a string"),
    in_document("schema's type", '"$schema": {}', "$schema: must be a string"),
    in_document("limits' type", '"limits": 65536', "limits: must be an object"),
    in_document("limits' key", '"limits": {"bytes": 1}', f"limits.bytes: {UNKNOWN}"),
    in_document("stream limit", '"limits": {"streamBytes": 65537}', f"limits.streamBytes: {LESS} 65536"),
    in_document("no stream", '"limits": {"streamBytes": 0}', f"limits.streamBytes: {MORE}"),
    in_document(
        "half a byte", '"limits": {"streamBytes": 1.5}', "limits.streamBytes: must be a whole number"
    ),
    in_document("no number", '"limits": {"streamBytes": true}', "limits.streamBytes: must be a whole number"),
    in_document("details", '"limits": {"errorDetailBytes": 8193}', f"limits.errorDetailBytes: {LESS} 8192"),
    in_document("file", '"limits": {"errorFileBytes": 10241}', f"limits.errorFileBytes: {LESS} 10240"),
    in_document("small file", '"limits": {"errorFileBytes": 1023}', f"limits.errorFileBytes: {MORE}"),
    in_document("privacy's key", '"privacy": {"mode": "x"}', f"privacy.mode: {UNKNOWN}"),
    in_document("rules' type", '"privacy": {"rules": {}}', "privacy.rules: must be a list"),
    in_document(
        "a rule",
        '"privacy": {"rules": [{"name": "n", "action": "drop"}]}',
        "privacy.rules[0].pattern: missing",
        "privacy.rules[0].action: should be 'redact' or 'block'",
    ),
    in_document("review's key", '"review": {"cmd": "x"}', f"review.cmd: {UNKNOWN}"),
    in_document("review's type", '"review": "x"', "review: must be an object"),
    in_document("guards' key", '"guards": {"lint": {}}', f"guards.lint: {UNKNOWN}"),
    in_document("guard's key", '"guards": {"spec": {"path": []}}', f"guards.spec.path: {UNKNOWN}"),
    in_document(
        "guard's paths", '"guards": {"spec": {"paths": [1]}}', "guards.spec.paths[0]: must be a string"
    ),
    in_document("docs' key", '"guards": {"docs": {"lines": 1}}', f"guards.docs.lines: {UNKNOWN}"),
    in_document("docs' bound", '"guards": {"docs": {"tasksLines": 0}}', f"guards.docs.tasksLines: {MORE}"),
    in_document("diff's bound", '"guards": {"diff": {"files": 0}}', f"guards.diff.files: {MORE}"),
    in_document(
        "diff's type", '"guards": {"diff": {"lines": "9"}}', "guards.diff.lines: must be a whole number"
    ),
    in_document("resources", '"resources": {"db": 0}', f"resources.db: {MORE}"),
    in_document("resources' type", '"resources": ["db"]', "resources: must be an object"),
    in_document("plugins' type", '"plugins": "x"', "plugins: must be a list"),
    in_document("a plugin's type", '"plugins": ["x", null]', "plugins[1]: must be a string"),
    in_document("tasks' type", '"tasks": {"a": 1}', "tasks.a: must be a string"),
    in_document("sets' type", '"stageSets": []', "stageSets: must be an object"),
    in_document("a set's type", '"stageSets": {"s": {}}', "stageSets.s: must be a list"),
    in_document("a set's kind", '"stageSets": {"s": [{"kind": "x"}]}', f'stageSets.s[0]: {KINDS}, not "x"'),
    in_document(
        "a set's stage", f'"stageSets": {{"s": [{command(cmd="x")}]}}', f"stageSets.s[0].cmd: {UNKNOWN}"
    ),
    bad("pipelines' type", '{\n"pipelines": {}}', "2: pipelines: must be a list"),
    bad("a pipeline's type", '{"pipelines": [\n"work"]}', "2: pipelines[0]: must be an object"),
    # A pipeline.
    in_pipeline("pipeline's key", '"stage": []', f"stage: {UNKNOWN}"),
    in_pipeline("tags' type", '"tags": "ci"', "tags: must be a list"),
    in_pipeline("a tag's type", '"tags": ["ci", 1]', "tags[1]: must be a string"),
    in_pipeline("description's type", '"description": []', "description: must be a string"),
    in_pipeline(
        "guardrails' type", '"guardrailsRequired": "yes"', "guardrailsRequired: must be true or false"
    ),
    in_pipeline("keepGoing's type", '"keepGoing": 1', "keepGoing: must be true or false"),
    in_stage("keepGoing in a stage", command(keepGoing=True), f".keepGoing: {UNKNOWN}"),
    bad(
        "an empty pipeline",
        '{"pipelines": [\n{}]}',
        "2: pipelines[0].id: missing",
        "2: pipelines[0].title: missing",
        "2: pipelines[0].stages: missing",
    ),
    bad(
        "empty names",
        '{"pipelines": [\n{"id": "",\n"title": "", "stages": [' + GOOD + "]}]}",
        "2: pipelines[0].id: must not be empty",
        "3: pipelines[0].title: must not be empty",
    ),
    bad(
        "stages' type",
        '{"pipelines": [\n{"id": "w", "title": "W",\n"stages": {}}]}',
        "3: pipelines[0].stages: must be a list",
    ),
    # A stage.
    in_stage("stage's type", '"npm test"', f": {KINDS}"),
    in_stage("no kind", '{"id": "a", "title": "A", "command": "true"}', f": {KINDS}"),
    in_stage("unknown kind", '{"kind": "script", "id": "a", "title": "A"}', f': {KINDS}, not "script"'),
    in_stage("kind's type", '{"kind": ["command"], "id": "a", "title": "A"}', f': {KINDS}, not ["command"]'),
    in_stage("stage's key", command(comand="x"), f".comand: {UNKNOWN}"),
    in_stage("a bare stage", '{"kind": "command"}', ".id: missing", ".title: missing", ".command: missing"),
    in_stage("empty command", command(command=""), ".command: must not be empty"),
    in_stage("empty id", command(""), ".id: must not be empty"),
    in_stage("command's type", command(command=["npm", "test"]), ".command: must be a string"),
    in_stage("cwd's type", command(cwd=1), ".cwd: must be a string"),
    in_stage("env's type", command(env=["A=1"]), ".env: must be an object"),
    in_stage("a variable's type", command(env={"A": 1}), ".env.A: must be a string"),
    in_stage("allowFailure's type", command(allowFailure="yes"), ".allowFailure: must be true or false"),
    in_stage("no time", command(timeoutSeconds=0), f".timeoutSeconds: {MORE}"),
    in_stage("time's type", command(timeoutSeconds="10"), ".timeoutSeconds: must be a number"),
    in_stage("true time", command(timeoutSeconds=True), ".timeoutSeconds: must be a number"),
    in_stage("a thousand years", command(timeoutSeconds=31536000000), f".timeoutSeconds: {LESS} 31536000"),
    in_stage("a huge number", command(timeoutSeconds=10**400), f".timeoutSeconds: {LESS} 31536000"),
    in_stage("retries' bound", command(retries=-1), f".retries: {MORE}"),
    in_stage("retries' type", command(retries=1.5), ".retries: must be a whole number"),
    in_stage("hint's type", command(summaryHint=False), ".summaryHint: must be a string"),
    in_stage("session's key", command(session={"name": "x"}), f".session.name: {UNKNOWN}"),
    in_stage("session's type", command(session={"persist": 1}), ".session.persist: must be true or false"),
    in_stage("needs' type", command(needs="a"), ".needs: must be a list"),
    in_stage("a need's type", command(needs=[1]), ".needs[0]: must be a string"),
    in_stage("stage's resources", command(resources={"db": 0}), f".resources.db: {MORE}"),
    in_stage("hints' key", command(plan={"target": True}), f".plan.target: {UNKNOWN}"),
    in_stage("aliases' type", command(plan={"aliases": "x"}), ".plan.aliases: must be a list"),
    in_stage("runnable's type", command(plan={"runnable": "no"}), ".plan.runnable: must be true or false"),
    in_stage("cloud's type", command(requiresCloud="yes"), ".requiresCloud: must be true or false"),
    in_stage("no child", '{"kind": "subpipeline", "id": "a", "title": "A"}', ".pipeline: missing"),
    in_stage("child's key", child(command="x"), f".command: {UNKNOWN}"),
    in_stage("optional's type", child(optional=1), ".optional: must be true or false"),
    in_stage("policy", manual(policy="ai"), ".policy: should be 'any' or 'human'"),
    in_stage("expiry", manual(expiresSeconds=-1), f".expiresSeconds: {MORE}"),
    in_stage("manual's key", manual(command="x"), f".command: {UNKNOWN}"),
    in_stage("no ref", '{"kind": "stage-set"}', ".ref: missing"),
    in_stage("ref's key", ref("diagnostics", needs=[]), f".needs: {UNKNOWN}"),
    # Well-shaped, and still impossible.
    wrong(
        "task id", text(document='"taskId": "a/b",'), "2: taskId: Invalid task ID \"a/b\": it contains '/'"
    ),
    wrong("reserved task id", text(document='"taskId": "local-mcp",'), "2: taskId: Invalid task ID"),
    wrong("default", text(document='"defaultPipeline": "x",'), '2: defaultPipeline: unknown pipeline "x"'),
    wrong("empty set", text(document='"stageSets": {"s": []},'), "2: stageSets.s: a stage set needs"),
    wrong(
        "a ref in a set",
        text(document=f'"stageSets": {{"s": [{GOOD}, {ref("t")}], "t": [{GOOD}]}},'),
        "2: stageSets.s[1]: a stage set holds no references",
    ),
    wrong(
        "a set that no pipeline uses",
        text(document=f'"stageSets": {{"s": [{command("x")}, {command("x")}, {child(pipeline="no")}]}},'),
        '2: stageSets.s[1].id: duplicate stage id "x"',
        '2: stageSets.s[2].pipeline: unknown pipeline "no"',
    ),
    wrong(
        "no stages",
        '{"pipelines": [\n{"id": "w", "title": "W",\n"stages": []}]}',
        "3: pipelines[0].stages: a pipeline needs at least one stage",
    ),
    wrong(
        "nothing but a set without stages",
        text(ref("build-lint-test")),
        "6: pipelines[0].stages: a pipeline needs at least one stage",
    ),
    wrong("unknown ref", text(GOOD, ref("x")), '8: pipelines[0].stages[1].ref: unknown stage set "x"'),
    wrong("colons", pipelines(other("a::b")), '2: pipelines[0].id: a pipeline id holds no "::"'),
    wrong("control", pipelines(other("a\\n")), "2: pipelines[0].id: a pipeline id holds no control"),
    wrong("stage's colons", text(command("a::b")), '7: pipelines[0].stages[0].id: a stage id holds no "::"'),
    wrong(
        "stage's control", text(command("a\x7f")), "7: pipelines[0].stages[0].id: a stage id holds no control"
    ),
    wrong(
        "same pipeline", pipelines(other("w"), other("w")), '3: pipelines[1].id: duplicate pipeline id "w"'
    ),
    wrong("same stage", text(GOOD, GOOD), '8: pipelines[0].stages[1].id: duplicate stage id "a"'),
    wrong(
        "same stage in a set",
        text(GOOD, ref("s"), document=f'"stageSets": {{"s": [{GOOD}]}},'),
        '2: stageSets.s[0].id: duplicate stage id "a"',
    ),
    wrong(
        "a set twice",
        text(ref("s"), ref("s"), document=f'"stageSets": {{"s": [{GOOD}]}},'),
        '2: stageSets.s[0].id: duplicate stage id "a"',
    ),
    wrong(
        "a packaged set's stage",
        text(command("spec-guard"), ref("diagnostics")),
        '8: pipelines[0].stages[1].id: duplicate stage id "spec-guard"',
    ),
    wrong(
        "more than the one there is",
        text(GOOD, command("b", resources={"port": 2})),
        '8: pipelines[0].stages[1].resources.port: needs 2 of "port", and there is 1 of it',
    ),
    wrong(
        "more than there is, in a set",
        text(
            GOOD,
            document='"resources": {"cpu": 3},'
            f'"stageSets": {{"s": [{command("b", resources={"cpu": 4})}]}},',
        ),
        '2: stageSets.s[0].resources.cpu: needs 4 of "cpu", and there is 3 of it',
    ),
    wrong(
        "unknown need", text(GOOD, command("b", needs=["x"])), "8: pipelines[0].stages[1].needs[0]: unknown"
    ),
    wrong(
        "own need", text(command(needs=["a"])), "7: pipelines[0].stages[0]: stages wait for each other: a → a"
    ),
    wrong(
        "a cycle of needs",
        text(command("a", needs=["c"]), command("b"), command("c")),
        "7: pipelines[0].stages[0]: stages wait for each other: a → c → b → a",
    ),
    wrong(
        "mode",
        text(command(executionMode="fog")),
        "7: pipelines[0].stages[0].executionMode: unknown execution",
    ),
    wrong(
        "blank command",
        text(command(command=" \t")),
        "7: pipelines[0].stages[0].command: a command must not be blank",
    ),
    wrong(
        "NUL in a command",
        text(command(command="a\0b")),
        "7: pipelines[0].stages[0].command: no command, folder or variable holds a NUL character",
    ),
    wrong(
        "NUL in a folder",
        text(command(cwd="a\0b")),
        "7: pipelines[0].stages[0].cwd: no command, folder or variable holds",
    ),
    wrong(
        "NUL in a value",
        text(command(env={"A": "\0"})),
        "7: pipelines[0].stages[0].env.A: no command, folder or variable",
    ),
    wrong(
        "NUL in a name", text(command(env={"A\0": "b"})), "7: pipelines[0].stages[0].env.A\\x00: no command"
    ),
    wrong(
        "no name of a variable",
        text(command(env={"": "b"})),
        '7: pipelines[0].stages[0].env.: a variable\'s name must not be empty or hold "=": ""',
    ),
    wrong(
        "= in a name",
        text(command(env={"A=B": "c"})),
        "7: pipelines[0].stages[0].env.A=B: a variable's name must not be empty",
    ),
    wrong(
        "hinted mode",
        text(command(plan={"executionMode": "x"})),
        "7: pipelines[0].stages[0].plan.executionMode: unknown execution mode",
    ),
    wrong(
        "unknown child", text(child(pipeline="x")), '7: pipelines[0].stages[0].pipeline: unknown pipeline "x"'
    ),
    wrong(
        "own child",
        text(child(pipeline="work")),
        "7: pipelines[0].stages[0].pipeline: pipelines run each other",
    ),
    wrong(
        "a cycle of pipelines",
        pipelines(
            other("a", child(pipeline="b")), other("b", child(pipeline="c")), other("c", child(pipeline="a"))
        ),
        "2: pipelines[0].stages[0].pipeline: pipelines run each other: a → b → c → a",
    ),
    wrong(
        "a cycle through a replaced packaged pipeline",
        pipelines(other("work", child()), other("diagnostics", child(pipeline="work"))),
        "3: pipelines[1].stages[0].pipeline: pipelines run each other: diagnostics → work → diagnostics",
    ),
    wrong(
        "a cycle through a set",
        text(ref("s"), document=f'"stageSets": {{"s": [{child(pipeline="work")}]}},'),
        "2: stageSets.s[0].pipeline: pipelines run each other: work → work",
    ),
    # No JSON, or none that a file could hold.
    bad("repeated key", '{"pipelines": [],\n"pipelines": []}', "2: pipelines: this key is repeated"),
    bad(
        "a stage's repeated key",
        text('{"kind": "command", "id": "a", "id": "b", "title": "A", "command": "true"}'),
        "7: pipelines[0].stages[0].id: this key is repeated",
    ),
    bad(
        "NaN",
        text(command(timeoutSeconds=float("nan"))),
        "7: pipelines[0].stages[0].timeoutSeconds: nan is no",
    ),
    bad("infinity", text(command(retries=float("-inf"))), "7: pipelines[0].stages[0].retries: -inf is no"),
    bad(
        "a number beyond all",
        text('{"kind": "command", "id": "a", "title": "A", "command": "true", "timeoutSeconds": 1e400}'),
        "7: pipelines[0].stages[0].timeoutSeconds: inf is no",
    ),
    bad(
        "half a surrogate pair",
        text(GOOD, command("b", command="echo \ud83d")),
        "8: pipelines[0].stages[1].command: a string holds half of a surrogate pair",
    ),
    bad(
        "half a pair in a key",
        text(command(env={"\udc00": "x"})),
        "7: pipelines[0].stages[0].env: a string holds half of a surrogate pair",
    ),
    # Everything at once.
    bad(
        "many problems",
        text(command(retries=-1), command("b", nope=1), document='"resources": 3,'),
        "2: resources: must be an object",
        f"7: pipelines[0].stages[0].retries: {MORE}",
        f"8: pipelines[0].stages[1].nope: {UNKNOWN}",
    ),
    wrong(
        "many impossible things",
        text(
            command("a", needs=["x"]),
            command("a::b"),
            ref("y"),
            child("c", pipeline="p"),
            child("d", pipeline="p"),
            document='"taskId": ".", "defaultPipeline": "q",',
        ),
        "2: taskId: Invalid task ID",
        "2: defaultPipeline: unknown pipeline",
        "7: pipelines[0].stages[0].needs[0]: unknown stage",
        "8: pipelines[0].stages[1].id: a stage id holds no",
        "9: pipelines[0].stages[2].ref: unknown stage set",
        "10: pipelines[0].stages[3].pipeline: unknown pipeline",
        "11: pipelines[0].stages[4].pipeline: unknown pipeline",
    ),
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


# Good files.

FULL = {
    "$schema": "https://example.invalid/config.json",
    "taskId": "task-9",
    "defaultPipeline": "work",
    "pipelines": [
        {
            "id": "work",
            "title": "Work",
            "description": "All that may be written.",
            "tags": ["ci"],
            "guardrailsRequired": False,
            "keepGoing": True,
            "stages": [
                {
                    "kind": "command",
                    "id": "a",
                    "title": "A",
                    "command": "true",
                    "cwd": "sub",
                    "env": {"A": "", "B": "€"},
                    "allowFailure": True,
                    "summaryHint": "said",
                    "timeoutSeconds": 31536000,
                    "retries": 0,
                    "session": {"id": "s", "persist": True, "reuse": True},
                    "needs": [],
                    "executionMode": " MCP ",
                    "requiresCloud": False,
                    "resources": {"db": 1},
                    "plan": {
                        "runnable": True,
                        "defaultTarget": True,
                        "aliases": ["first"],
                        "requiresCloud": False,
                        "executionMode": "mcp",
                    },
                },
                {"kind": "stage-set", "ref": "own"},
                {"kind": "subpipeline", "id": "c", "title": "C", "pipeline": "diagnostics", "optional": True},
                {
                    "kind": "manual",
                    "id": "m",
                    "title": "M",
                    "instructions": "Look.",
                    "policy": "human",
                    "expiresSeconds": 0.5,
                    "needs": ["a", "own-1"],
                },
            ],
        }
    ],
    "stageSets": {"own": [{"kind": "command", "id": "own-1", "title": "O", "command": "true"}]},
    "limits": {"streamBytes": 65536, "errorDetailBytes": 8192, "errorFileBytes": 1024},
    "privacy": {"rules": [{"name": "n", "pattern": "x+", "action": "block"}]},
    "review": {"command": "true"},
    "guards": {
        "spec": {"paths": ["lib"]},
        "docs": {"ignore": ["docs/old/*"], "tasksLines": 1},
        "diff": {"files": 1, "lines": 1},
    },
    "resources": {"db": 2},
    "plugins": ["json"],
    "tasks": {"task-?": "."},
}
GOOD_FILES = {
    "everything": FULL,
    "nothing": {},
    "the schema alone": {"$schema": "codex.schema.json"},
    "null where nothing is said": {
        "taskId": None,
        "defaultPipeline": None,
        "resources": None,
        "pipelines": [
            {
                "id": "w",
                "title": "W",
                "tags": None,
                "description": None,
                "stages": [json.loads(command(needs=None))],
            }
        ],
    },
    "a whole number of seconds": json.loads(text(command(timeoutSeconds=5))),
    "ids of any kind": json.loads(text(command("é ü/\\:*?"))),
}


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


SCHEMA_CANNOT = ("repeated key", "NaN", "infinity", "beyond all", "pair")


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
    assert prepare(
        discover(project.root, {}), Invocation(pipeline="p0", task="t")
    ).planned.work().order() == ["::".join(["p0", *["s0"] * 99, "a"])]


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
