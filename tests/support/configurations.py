"""Definition files, good and bad, and what is said of each bad one."""

from __future__ import annotations

import json
from dataclasses import dataclass

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
    in_document("cloud's key", '"cloud": {"cluster": "local"}', f"cloud.cluster: {UNKNOWN}"),
    in_document(
        "a workspace",
        '"cloud": {"workspace": "copy"}',
        "cloud.workspace: should be 'shared', 'snapshot' or 'auto'",
    ),
    in_document("no loss", '"cloud": {"lossSeconds": 0.5}', f"cloud.lossSeconds: {MORE}"),
    in_document("no connection", '"cloud": {"connectSeconds": 0}', f"cloud.connectSeconds: {MORE}"),
    in_document("include's type", '"cloud": {"include": "x"}', "cloud.include: must be a list"),
    in_document(
        "a variable's name", '"cloud": {"environment": [""]}', "cloud.environment[0]: must not be empty"
    ),
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
    in_stage("inputs' type", command(inputs="src"), ".inputs: must be a list"),
    in_stage("an empty output", command(outputs=["dist", ""]), ".outputs[1]: must not be empty"),
    in_stage("outputs of a child", child(outputs=["dist"]), f".outputs: {UNKNOWN}"),
    in_stage("expect's type", command(expect="tests"), ".expect: must be an object"),
    in_stage("expect's key", command(expect={"junt": "r.xml"}), f".expect.junt: {UNKNOWN}"),
    in_stage("no path of a report", command(expect={"junit": ""}), ".expect.junit: must not be empty"),
    in_stage("no tests", command(expect={"junit": "r.xml", "tests": 0}), f".expect.tests: {MORE}"),
    in_stage("an empty pattern", command(expect={"pattern": ""}), ".expect.pattern: must not be empty"),
    in_stage("files' type", command(expect={"files": "dist"}), ".expect.files: must be a list"),
    in_stage("expectations of a child", child(expect={"pattern": "x"}), f".expect: {UNKNOWN}"),
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
        "patterns",
        text(
            command(inputs=["src", "!src/a"], outputs=["a/../b"]),
            document='"cloud": {"include": ["/"], "exclude": ["./x"], "environment": ["A", "B=c"]},',
        ),
        '2: cloud.include[0]: "/" is no pattern of paths in the repository',
        '2: cloud.exclude[0]: "./x" is no pattern of paths',
        '2: cloud.environment[1]: no variable has the name "B=c"',
        '7: pipelines[0].stages[0].inputs[1]: "!src/a" is no pattern of paths',
        '7: pipelines[0].stages[0].outputs[0]: "a/../b" is no pattern of paths',
    ),
    wrong(
        "expectations",
        text(
            command("a", expect={}),
            command("b", expect={"tests": 2, "files": []}),
            command("c", expect={"junit": "../r.xml", "files": ["dist", "!x"]}),
        ),
        "7: pipelines[0].stages[0].expect: expects nothing: give it junit, pattern or files",
        "8: pipelines[0].stages[1].expect: expects nothing",
        "8: pipelines[0].stages[1].expect.tests: tests are counted in a JUnit file: name it as junit",
        '9: pipelines[0].stages[2].expect.junit: "../r.xml" is no pattern of paths',
        '9: pipelines[0].stages[2].expect.files[1]: "!x" is no pattern of paths',
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


SCHEMA_CANNOT = ("repeated key", "NaN", "infinity", "beyond all", "pair")
