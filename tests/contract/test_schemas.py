"""The shipped JSON Schemas are the shapes', and whatever a run leaves passes them."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from codex_orchestrator.cli import main
from codex_orchestrator.schemas import schema_names, schema_text
from codex_orchestrator.schemas.__main__ import generate
from tests.support.bundles import contents

# Which schema goes with which file, told here once more and apart from the product.
SCHEMAS = (
    (r"bundle\.json", "bundle", False),
    (r"codex\.orchestrator\.json", "config", False),
    (r"\.runs/[^/]+/cli/[^/]+/manifest\.json", "manifest", False),
    (r"\.runs/[^/]+/cli/[^/]+/(runner|commands/\d\d-[^/]+)\.ndjson", "event", True),
    (r"\.runs/[^/]+/cli/[^/]+/errors/\d\d-[^/]+\.json", "error", False),
    (r"\.runs/[^/]+/cli/[^/]+/plan\.json", "plan", False),
    (r"\.runs/[^/]+/cli/[^/]+/resume-token\.json", "resume-token", False),
    (r"\.runs/[^/]+/cli/[^/]+/run-summary\.json", "run-summary", False),
    (r"\.runs/[^/]+/cli/[^/]+/source\.json", "source", False),
    (r"\.runs/[^/]+/cli/[^/]+/seal\.json", "seal", False),
    (r"\.runs/[^/]+/cli/[^/]+/seal\.dsse\.json", "signature", False),
    (r"out/[^/]+/seals\.ndjson", "seal-line", True),
    (r"out/[^/]+/seals\.pending/[^/]+\.json", "seal-draft", False),
    (r"\.runs/[^/]+/cli/[^/]+/run\.lock", "owner", False),
    (r"\.runs/[^/]+/mcp/[^/]+/manifest\.json", "pointer", False),
    (r"\.runs/local-mcp/[^/]+/compat\.json", "pointer", False),
    (r"\.runs/[^/]+/metrics\.json", "metrics", True),
    (r"\.runs/[^/]+/metrics-summary\.json", "metrics-summary", False),
    (r"out/[^/]+/state\.json", "state", False),
    (r"\.runs/[^/]+/cli/[^/]+/approvals\.ndjson", "receipt", True),
    (r"\.runs/[^/]+/cli/[^/]+/privacy-decisions\.ndjson", "privacy-decision", True),
    (r"\.runs/[^/]+/cli/[^/]+/children/[^/]+\.json", "child", False),
    (r"out/[^/]+/runs\.ndjson", "run-summary", True),
    (r"out/[^/]+/runs-index\.json", "runs-index", False),
    (r"out/[^/]+/control-plane/drift\.json", "drift", False),
    (r"out/[^/]+/control-plane/samples\.ndjson", "drift-sample", True),
)
NO_SCHEMA = (
    (r"\.runs/[^/]+/cli/[^/]+/\.heartbeat", "heartbeat"),
    (r"(.*/)?\.gitignore", "none"),
    (r"\.runs/[^/]+/\.metrics\.lock", "none"),
    (r"out/[^/]+/\.runs\.lock", "none"),
    (r"out/[^/]+/\.seals\.lock", "none"),
    (r"out/[^/]+/control-plane/\.samples\.lock", "none"),
)


@pytest.fixture
def said(project, monkeypatch, capsys):
    """Run ``validate --format json`` in this process: exit code and answer."""
    monkeypatch.chdir(project.root)

    def run(*words: str) -> tuple[int, list[dict]]:
        code = main(["validate", *words, "--format", "json"])
        captured = capsys.readouterr()
        assert captured.err == ""
        return code, json.loads(captured.out)["files"]

    return run


@pytest.fixture(scope="module")
def validators() -> dict[str, jsonschema.Draft202012Validator]:
    """A validator for each shipped schema."""
    schemas = {name: json.loads(schema_text(name)) for name in schema_names()}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    return {name: jsonschema.Draft202012Validator(schema) for name, schema in schemas.items()}


def test_the_shipped_schemas_are_those_of_the_shapes():
    # Where this fails: python -m codex_orchestrator.schemas
    assert {name: schema_text(name) for name in schema_names()} == generate()


def test_every_schema_is_strict():
    for name in schema_names():
        schema = json.loads(schema_text(name))
        objects = [part for part in (schema, *schema.get("$defs", {}).values()) if "properties" in part]
        assert objects
        assert all(part["additionalProperties"] is False for part in objects), name


@pytest.mark.parametrize(("name", "key"), [("event", "type"), ("config", "kind")])
def test_what_tells_variants_apart_is_required(name, key):
    """A line without it is refused by us, and so other tools have to refuse it too."""
    variants = [
        part for part in json.loads(schema_text(name))["$defs"].values() if key in part.get("properties", {})
    ]
    assert len(variants) > 1
    assert all(key in part["required"] for part in variants)


def leave_every_kind_of_run(project) -> None:
    """One run each that succeeds, fails, is cancelled, waits and goes on, and is partial."""
    (project.root / "AGENTS.md").write_text("Be careful.\n")
    everything = {
        "id": "spec-guard",
        "command": "echo '→ €'; echo token=abcdef >&2",
        "cwd": ".",
        "env": {"A": "b"},
        "timeoutSeconds": 60,
        "session": {"id": "s", "persist": True},
        "plan": {"aliases": ["g"], "defaultTarget": True},
        "resources": {"db": 1},
    }
    project.pipeline(everything, "true", description="All of it", tags=["a"])
    assert project.start("work", "--approval-policy", "never").exit_code == 0
    project.pipeline(
        "printf '\\377'; kill -KILL $$",
        {"command": "sleep 60", "needs": [], "timeoutSeconds": 0.05},
        {"command": "true", "needs": [], "cwd": "absent"},
        {"command": "exit 3", "needs": [], "allowFailure": True, "retries": 1},
        {**everything, "command": "head -c 100000 /dev/zero; exit 1"},
        "echo never",
    )
    assert project.start("work", "--parent-run", project.runs()[0].name).exit_code == 1
    # The stage's parent is the orchestrator.
    project.pipeline("true", "kill -TERM $PPID; exec sleep 60", "true")
    assert project.start("work").exit_code == 143
    project.pipeline("true", {"kind": "manual", "id": "gate"})
    assert project.cli("start", "work").returncode == 3
    decided = project.cli("approve", "--run", "latest", "--stage", "gate", "--reason", "fine", "--resume")
    assert decided.returncode == 0, decided.stderr
    project.pipeline("true", "true")
    assert project.start("work", "--only", "s2").exit_code == 0


def kind_of(name: str) -> tuple[str, bool]:
    for pattern, schema, lines in SCHEMAS:
        if re.fullmatch(pattern, name):
            return schema, lines
    for pattern, schema in NO_SCHEMA:
        if re.fullmatch(pattern, name):
            return schema, False
    raise AssertionError(f"an artefact that no rule names: {name}")


def test_every_artefact_of_every_kind_of_run_passes_its_schema(project, said, validators):
    leave_every_kind_of_run(project)
    statuses = [json.loads((run / "manifest.json").read_text())["status"] for run in project.runs()]
    assert statuses == ["succeeded", "failed", "cancelled", "succeeded", "succeeded"]
    leave_a_signature(project)
    leave_a_draft(project)
    assert project.cli("bundle", "--logs", "failed", "-o", "x.zip").returncode == 0
    (project.root / "bundle.json").write_bytes(contents(project.root / "x.zip")["bundle.json"])
    code, findings = said(".runs", "out", "codex.orchestrator.json", "bundle.json")
    assert code == 0
    seen = set()
    for finding in findings:
        name = finding["path"]
        schema, lines = kind_of(name)
        assert (name, finding["valid"], finding["problems"]) == (name, True, [])
        assert (name, finding["schema"]) == (name, schema)
        seen.add(schema)
        if schema not in validators:
            continue
        text = (project.root / name).read_text(encoding="utf-8")
        documents = text.splitlines() if lines else [text]
        assert documents, name
        for document in documents:
            validators[schema].validate(json.loads(document))
    # There is no schema that none of these runs has put to the test.
    assert seen == {*schema_names(), "heartbeat", "none"}


def leave_a_signature(project) -> None:
    """What ``sign`` leaves, where it is installed; `tests/functional/test_signatures.py` has real ones."""
    signature = {"keyid": "0" * 64, "sig": "AAAA"}
    envelope = {"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": [signature]}
    path = project.runs()[0] / "seal.dsse.json"
    path.write_text(json.dumps(envelope), encoding="utf-8")


def leave_a_draft(project) -> None:
    """What somebody leaves who dies while a run is sealed."""
    run = project.runs()[-1]
    seal = json.loads((run / "seal.json").read_text(encoding="utf-8"))
    draft = {key: seal[key] for key in seal if key not in ("previous", "supersedes", "sealed_at", "root")}
    waiting = project.root / "out/task-1/seals.pending" / f"{run.name}.json"
    waiting.write_text(json.dumps(draft), encoding="utf-8")


def test_artefacts_are_written_alike(project):
    """2-space indent, text as it is, one newline at the end; compact lines; milliseconds in timestamps."""
    project.pipeline({"id": "ünï → €", "command": "echo '→ €'; exit 1"})
    run = project.start("work")
    documents = [path for path in project.root.glob("*/**/*.json") if path.name != "metrics.json"]
    assert len(documents) == 13
    for path in documents:
        text = path.read_text(encoding="utf-8")
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n", path
    journals = [*project.root.glob("*/**/*.ndjson"), project.root / ".runs/task-1/metrics.json"]
    assert len(journals) == 6
    moment = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    for path in journals:
        text = path.read_text(encoding="utf-8")
        assert text.endswith("\n")
        for line in text.splitlines():
            event = json.loads(line)
            assert line == json.dumps(event, separators=(",", ":"), ensure_ascii=False)
            assert all(
                moment.fullmatch(value) for key, value in event.items() if key in ("timestamp", "recorded_at")
            )
    assert moment.fullmatch((run.folder / ".heartbeat").read_text().removesuffix("\n"))
    manifest = run.manifest
    for key in ("started_at", "completed_at", "updated_at", "heartbeat_at"):
        assert moment.fullmatch(manifest[key])
    for key in ("artifact_root", "compat_path", "log_path", "run_summary_path"):
        assert (project.root / manifest[key]).exists()


def rewritten(change):
    """A change of a parsed document."""

    def apply(text: str) -> str:
        document = json.loads(text)
        change(document)
        return json.dumps(document)

    return apply


CHANGES = [
    ("manifest.json", rewritten(lambda d: d.update(surprise=1)), "surprise: unknown key"),
    ("manifest.json", rewritten(lambda d: d.pop("task_id")), "task_id: missing"),
    ("manifest.json", rewritten(lambda d: d.update(status="done")), "status: should be 'queued'"),
    ("manifest.json", rewritten(lambda d: d.update(version=2)), "version: should be "),
    (
        "manifest.json",
        rewritten(lambda d: d["commands"][0].update(index=0)),
        "commands[0].index: should be greater",
    ),
    (
        "manifest.json",
        rewritten(lambda d: d["commands"][0].pop("sub_run_id")),
        "commands[0].sub_run_id: missing",
    ),
    ("manifest.json", lambda text: text[:-20], "not JSON: "),
    ("runner.ndjson", lambda text: text + '{"type":"exec:chunk"}\n', "line 8: "),
    ("runner.ndjson", lambda text: text + "not a line\n", "line 8: not JSON: "),
    ("runner.ndjson", lambda text: text.replace('"exec:end"', '"exec:stop"'), "type must be one of: "),
    ("runner.ndjson", lambda text: text[:-1], "no newline at the end"),
    ("plan.json", rewritten(lambda d: d["pipeline"]["stages"][0].update(kind="x")), "kind must be one of: "),
    ("resume-token.json", rewritten(lambda d: d.update(token=7)), "token: must be a string"),
    ("run-summary.json", rewritten(lambda d: d["build"].update(mode="moon")), "build.mode: should be 'mcp'"),
    ("run.lock", rewritten(lambda d: d.update(pid="1")), "pid: must be a whole number"),
    (".heartbeat", lambda text: "soon\n", "not a timestamp"),
]


def test_a_changed_file_does_not_pass(project, said):
    project.pipeline("true")
    folder = project.start("work").folder
    for name, change, problem in CHANGES:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        path.write_text(change(text), encoding="utf-8")
        code, findings = said(str(folder))
        path.write_text(text, encoding="utf-8")
        wrong = [finding for finding in findings if not finding["valid"]]
        assert (name, code, [finding["path"] for finding in wrong]) == (name, 1, [str(path)])
        assert any(problem in found for found in wrong[0]["problems"]), (problem, wrong[0]["problems"])
    assert said(str(folder))[0] == 0


def test_what_readers_tolerate_passes(project, said):
    project.pipeline("true")
    folder = project.start("work").folder
    # The writer died in its last line.
    with (folder / "runner.ndjson").open("a") as log:
        log.write('{"type":"exec:chu')
    assert said(str(folder))[0] == 0


def test_a_file_of_no_known_name_needs_its_schema_named(project, said, capsys):
    (project.root / "mine.json").write_text('{"pipelines": []}')
    code, findings = said("mine.json")
    assert (code, findings[0]["schema"]) == (1, None)
    assert "--schema" in findings[0]["problems"][0]
    assert said("mine.json", "--schema", "config")[0] == 0
    assert said("mine.json", "--schema", "manifest")[0] == 1
    assert main(["validate", "mine.json", "--schema", "config"]) == 0
    assert capsys.readouterr().out == "ok: mine.json (config)\n1 file: 1 valid\n"
    assert main(["validate", "mine.json"]) == 1
    assert (
        capsys.readouterr().out
        == "mine.json: no schema goes with this name; name one with --schema\n1 file: 1 invalid\n"
    )
    assert main(["validate", "-q", "mine.json", "--schema", "config"]) == 0
    assert capsys.readouterr().out == "1 file: 1 valid\n"


def test_a_missing_file_is_a_usage_error(project, said, capsys):
    for words in (["absent.json"], ["absent.json", "--schema", "config"]):
        assert main(["validate", *words]) == 2
        assert capsys.readouterr().err == "error: Cannot read absent.json: No such file or directory.\n"


def test_the_helpers_for_other_tools_say_the_same(project):
    from codex_orchestrator import load_manifest, validate_manifest
    from codex_orchestrator.errors import UnknownRun

    project.pipeline("echo out")
    folder = project.start("work").folder
    manifest = load_manifest(folder)
    assert manifest == load_manifest(folder / "manifest.json") == load_manifest(str(folder))
    assert (manifest.status, manifest.commands[0].summary) == ("succeeded", "out")
    assert validate_manifest(folder) == []
    document = json.loads((folder / "manifest.json").read_text())
    assert validate_manifest(document) == []
    document["surprise"] = 1
    assert validate_manifest(document) == ["surprise: unknown key"]
    # Readers look over what they do not know, but not over what they need.
    (folder / "manifest.json").write_text(json.dumps(document))
    assert load_manifest(folder) == manifest
    del document["commands"]
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(UnknownRun, match="commands: missing"):
        load_manifest(folder)
    for path in (folder / "absent.json", folder / "runner.ndjson"):
        with pytest.raises(UnknownRun):
            load_manifest(path)
