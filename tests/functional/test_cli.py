"""The command line: flags, refusals, exit codes, colours, and one JSON document on stdout."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from codex_orchestrator import __version__
from codex_orchestrator.cli import COMMANDS, main
from codex_orchestrator.cli.render import wants_colour
from codex_orchestrator.text import printable

EXIT_CODES = """\
exit codes:
  0            succeeded
  1            the run failed, or a check found something
  2            usage or configuration error, or unknown run
  3            waiting for an approval
  70           an internal error, of a plugin or of this program
  75           the run or a lock is held by a live process
  129/130/143  cancelled by SIGHUP/SIGINT/SIGTERM
"""
START_KEYS = ["run_id", "status", "artifact_root", "manifest", "log_path", "summary"]


@pytest.fixture
def here(project, monkeypatch):
    """The project, for commands that run in this process."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "task-1")
    return project


@pytest.fixture
def said(here, capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def untouched(project) -> bool:
    """Whether nothing was written but the definitions."""
    return {path.name for path in project.root.iterdir()} <= {".git", "codex.orchestrator.json"}


def refusal(answer: tuple[int, str, str], exit_code: int = 2) -> str:
    """The message of a command that was refused in text mode."""
    code, out, err = answer
    assert (code, out) == (exit_code, "")
    assert err.startswith("error: ")
    assert "Traceback" not in err
    return err.removeprefix("error: ").removesuffix("\n")


# Help and usage.


@pytest.mark.parametrize(
    "words", [(), *((name,) for name in COMMANDS)], ids=lambda words: " ".join(words) or "-"
)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_prints_the_exit_codes_and_runs_nothing(here, capsys, words, flag):
    here.pipeline("touch ran")
    with pytest.raises(SystemExit) as ended:
        main([*words, flag])
    assert ended.value.code == 0
    captured = capsys.readouterr()
    assert captured.out.endswith(EXIT_CODES)
    assert captured.err == ""
    assert untouched(here)
    if not words:
        assert all(f"  {name} " in captured.out for name in COMMANDS)


def test_help_wins_wherever_it_stands(here, capsys):
    here.pipeline("touch ran")
    for words in (
        ["start", "work", "--help"],
        ["start", "--task", "x", "-h", "work"],
        ["--help", "start", "work"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        assert "exit codes:" in capsys.readouterr().out
    assert untouched(here)


NO_PIPELINE = """\
Unknown pipeline "nothing".
Pipelines here: work, diagnostics, docs-review, implementation-gate."""

USAGE = [
    ((), "The following arguments are required: COMMAND."),
    (("begin",), "Argument COMMAND: invalid choice: 'begin'"),
    (("--bogus",), "The following arguments are required: COMMAND."),
    (("start", "--bogus"), "Unrecognized arguments: --bogus."),
    (("start", "work", "more"), "Unrecognized arguments: more."),
    (("start", "--approval", "never"), "Unrecognized arguments: --approval."),
    (("start", "--task"), "Argument --task: expected one argument."),
    (("start", "--format=xml"), "Argument --format: invalid choice: 'xml'"),
    (("plan", "--only", "s1"), "Unrecognized arguments: --only."),
    (("status", "--bogus"), "Unrecognized arguments: --bogus."),
    (("status", "--interval", "soon"), "Argument --interval: invalid float value: 'soon'."),
    (("status", "--interval", "0"), "--interval must be more than 0"),
    (("status", "--interval=nan"), "--interval must be more than 0"),
    (("status", "--interval=inf"), "--interval must be more than 0"),
    (("logs", "-x"), "Unrecognized arguments: -x."),
    (("runs", "--limit", "many"), "Argument --limit: invalid int value: 'many'."),
    (("runs", "--limit=0"), "--limit must be at least 1."),
    (("schema", "nothing"), 'No schema "nothing".'),
    (("validate",), "The following arguments are required: FILE."),
    (("validate", "absent.json"), "Cannot read absent.json: No such file or directory."),
    (("validate", "--schema", "nothing", "x"), "Argument --schema: invalid choice: 'nothing'"),
    (("guard",), "The following arguments are required: GUARD."),
    (("guard", "everything"), "Argument GUARD: invalid choice: 'everything'"),
    (("version", "--bogus"), "Unrecognized arguments: --bogus."),
    (("start", "--root", "absent", "work"), '--root "absent" is not a folder.'),
    (("start", "nothing"), NO_PIPELINE),
    (("plan", "nothing"), NO_PIPELINE),
    (
        ("start", "work", "--target", "s9"),
        'Unknown target stage "s9" in pipeline "work".\nStages: s1, s2, s3.',
    ),
    (("plan", "work", "--target-stage", "other:s1"), 'Unknown target stage "other:s1" in pipeline "work".'),
    (("start", "work", "--only", "s9"), 'Unknown stage "s9" in pipeline "work".\nStages: s1, s2, s3.'),
    (("start", "work", "--from", "s9"), 'Unknown stage "s9" in pipeline "work".\nStages: s1, s2, s3.'),
    (("start", "work", "--only=s1", "--from=s2"), "--only and --from together leave no stage to run."),
    (("start", "work", "--execution-mode", "fog"), 'Unknown execution mode "fog".'),
    (("start", "work", "--execution-mode", "cloud"), "No cluster is named."),
    (("start", "work", "--parent-run", "../x"), "Invalid run ID \"../x\": it starts with '.'."),
    (
        ("status", "--run", "2026-11-21T02-44-32-979Z-6f1e3102"),
        'Unknown run "2026-11-21T02-44-32-979Z-6f1e3102"',
    ),
    (("status",), 'Task "task-1" has no runs under '),
    (("logs",), 'Task "task-1" has no runs under '),
    (("logs", "--run", "a/b"), "Invalid run ID \"a/b\": it contains '/'."),
    (("runs", "--task", ".."), "Invalid task ID \"..\": it starts with '.'."),
]


@pytest.mark.parametrize(("words", "message"), USAGE, ids=[" ".join(words) or "-" for words, _ in USAGE])
def test_a_wrong_request_is_refused_in_one_message(here, said, words, message):
    here.pipeline("true", "true", "true")
    assert refusal(said(*words)).startswith(message)

    for form in (("--format", "json"), ("--format=json",)):
        if any(word.startswith("--format") for word in words) or words[-1:] == ("--task",):
            break
        code, out, err = said(*words, *form)
        assert code == 2
        answer = json.loads(out)
        assert list(answer) == ["error"]
        assert list(answer["error"]) == ["code", "message", "hint"]
        assert answer["error"]["code"] in ("usage", "unknown-run")
        assert err.removeprefix("error: ").startswith(answer["error"]["message"])
    assert untouched(here)


BAD_IDS = [
    ("", "it is empty"),
    (".", "it starts with '.'"),
    ("../up", "it starts with '.'"),
    ("a/b", "it contains '/'"),
    ("a\\b", "it contains '\\\\'"),
    ("a\nb", "it contains a control character"),
    ("a?", "it contains '?'"),
    ("x" * 129, "it is longer than 128 bytes"),
    ("é" * 65, "it is longer than 128 bytes"),
    ("local-mcp", "'local-mcp' is reserved"),
    ("latest", "'latest' is reserved"),
]


@pytest.mark.parametrize(("value", "rule"), BAD_IDS, ids=[ascii(value)[:20] for value, _ in BAD_IDS])
def test_a_bad_id_is_refused_wherever_it_comes_from(here, said, monkeypatch, value, rule):
    here.pipeline("true")
    told = printable(value)
    for words in (("start", "work"), ("plan", "work"), ("status",), ("logs",), ("runs",)):
        assert refusal(said(*words, f"--task={value}")) == f'Invalid task ID "{told}": {rule}.'
    if value != "latest":
        assert refusal(said("status", f"--run={value}")) == f'Invalid run ID "{told}": {rule}.'
        assert refusal(said("start", f"--parent-run={value}")) == f'Invalid run ID "{told}": {rule}.'
    if value:
        monkeypatch.setenv("MCP_RUNNER_TASK_ID", value)
        for words in (("start", "work"), ("plan",), ("status",)):
            assert refusal(said(*words)) == f'Invalid MCP_RUNNER_TASK_ID "{told}": {rule}.'
    assert untouched(here)


def test_a_task_id_that_is_no_text_is_refused_in_json_too(project):
    project.pipeline("true")
    done = project.cli("start", "work", "--task", b"\xff", "--format", "json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["message"] == 'Invalid task ID "\udcff": it is not valid Unicode.'
    assert untouched(project)


def test_a_stage_for_a_cluster_is_refused_without_one_and_can_be_planned(here, said):
    here.pipeline("touch ran", {"command": "true", "plan": {"requiresCloud": True}})
    assert refusal(said("start", "work")).startswith("No cluster is named.")
    code, out, err = said("plan", "work", "--format", "json")
    assert (code, err) == (0, "")
    assert [item["id"] for item in json.loads(out)["plan"]["items"]] == ["work:s1", "work:s2"]
    assert untouched(here)


# Flags of `start`.


@pytest.mark.parametrize("glue", ["=", None], ids=["--flag=value", "--flag value"])
def test_every_flag_of_start(project, glue):
    project.pipeline("echo one", "echo two", "echo three")
    flags = {
        "--task": "other-task",
        "--parent-run": "2026-11-21T02-44-32-979Z-6f1e3102",
        "--approval-policy": "never",
        "--target-stage": "S2",
        "--only": "s2",
        "--execution-mode": "MCP",
        "--format": "json",
        "--root": str(project.root),
    }
    words = (
        [f"{name}={value}" for name, value in flags.items()]
        if glue
        else [w for pair in flags.items() for w in pair]
    )
    done = project.cli("start", *words, "--no-interactive", "--ui", "work", cwd=project.root.parent)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert list(answer) == START_KEYS
    assert answer["artifact_root"] == f".runs/other-task/cli/{answer['run_id']}"
    assert answer["manifest"] == f"{answer['artifact_root']}/manifest.json"
    assert answer["log_path"] == f"{answer['artifact_root']}/runner.ndjson"
    manifest = project.manifest("other-task")
    assert (manifest["task_id"], manifest["approval_policy"]) == ("other-task", "never")
    assert manifest["parent_run_id"] == "2026-11-21T02-44-32-979Z-6f1e3102"
    assert manifest["plan_target_id"] == "work:s2"
    assert [entry["status"] for entry in manifest["commands"]] == ["pending", "succeeded", "pending"]


@pytest.mark.parametrize(
    ("words", "stream"),
    [
        (("start", "work"), "stdout"),
        (("start", "work", "-q"), "stderr"),
        (("start", "work", "--format", "json"), "stderr"),
        (("start", "work", "--format", "json", "-q"), "stderr"),
        (("start", "work", "--stream"), "stdout"),
    ],
)
def test_which_run_it_is_is_said_first_of_all(project, words, stream):
    # The stage sees what was said before it began.
    project.pipeline("cat said")
    with (project.root / "said").open("w") as said:
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: said}
        command = [sys.executable, "-m", "codex_orchestrator", *words]
        subprocess.run(command, cwd=project.root, env=project.environment, check=True, **streams)
    (folder,) = project.runs()
    seen = project.cli("logs").stdout
    assert seen.startswith(f"Run: {folder.name}\nManifest: .runs/task-1/cli/{folder.name}/manifest.json\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-m", "codex_orchestrator", "start", "work"], 1),
        (["-m", "codex_orchestrator", "start", "work", "--stream"], 1),
        (["-m", "codex_orchestrator", "start", "work", "--format", "json"], 1),
        *((["-m", "pytest", "--codex-pipeline=work", *more], 1) for more in ([], ["-v"], ["-q"], ["-s"])),
        (["-m", "pytest", "--codex-pipeline=work", "-n1"], 1),
        (["-m", "codex_orchestrator", "validate", "manifest.json"], 1),
        (["-m", "codex_orchestrator", "plan", "work"], 0),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_goes_away_changes_nothing_but_what_is_shown(project, words, code, buffered):
    project.pipeline("seq 3000", {"command": "exit 3", "needs": []}, {"command": "echo last", "needs": []})
    (project.root / "manifest.json").write_text("{")
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, *words],
        check=False,
        cwd=project.root,
        env={**project.environment, "PYTHONUNBUFFERED": "" if buffered else "1"},
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    assert (done.returncode, "roken pipe" in done.stderr) == (code, False), done.stderr
    for run in project.runs():
        manifest = json.loads((run / "manifest.json").read_text())
        assert [entry["status"] for entry in manifest["commands"]] == ["succeeded", "failed", "succeeded"]


def test_text_names_run_status_manifest_and_log(project):
    project.pipeline("echo one")
    done = project.cli("start", "work")
    assert (done.returncode, done.stderr) == (0, "")
    run_id = project.runs()[0].name
    lines = done.stdout.split("\n")
    manifest = f".runs/task-1/cli/{run_id}/manifest.json"
    assert lines[:3] == [f"Run: {run_id}", f"Manifest: {manifest}", "[1/1] s1: started"]
    assert lines[3].startswith("[1/1] s1: passed in ")
    assert lines[-5:] == [
        f"Run started: {run_id}",
        "Status: succeeded",
        f"Manifest: {manifest}",
        f"Log: .runs/task-1/cli/{run_id}/runner.ndjson",
        "",
    ]


@pytest.mark.parametrize(
    ("words", "ran"),
    [
        (("--only", "s2"), ["s2"]),
        (("--only", "s3", "--only=s1"), ["s1", "s3"]),
        (("--from", "s2"), ["s2", "s3"]),
        (("--from=s2", "--only=s1", "--only=s3"), ["s3"]),
    ],
    ids=["one", "two", "from", "both"],
)
def test_a_partial_run_says_so_and_is_no_evidence(here, said, words, ran):
    here.pipeline("echo s1", "echo s2", "echo s3")
    code, out, _ = said("start", "work", *words, "--format", "json")
    answer = json.loads(out)
    assert (code, answer["status"]) == (0, "succeeded")
    manifest = here.manifest()
    assert [entry["id"] for entry in manifest["commands"] if entry["status"] == "succeeded"] == ran
    assert answer["summary"].split("\n")[0] == f"Partial run: {len(ran)} of 3 stages selected."
    review = json.loads((here.root / manifest["run_summary_path"]).read_text())["review"]
    assert review["decision"]["approved"] is False
    assert review["decision"]["feedback"].startswith("Partial run: ")


def test_a_selection_of_everything_is_no_partial_run(project):
    project.pipeline("true", "true")
    run = project.start("work", "--from", "s1")
    assert run.answer["summary"] == "Guardrails: spec-guard command not found."
    assert json.loads((run.folder / "run-summary.json").read_text())["review"]["decision"] == {
        "approved": True,
        "feedback": "No guardrail is among the stages.",
    }


def test_start_ignores_what_steers_the_repos_tests(project):
    (project.root / "pytest.ini").write_text("[pytest]\naddopts = --bogus\ntestpaths = nowhere\n")
    (project.root / "conftest.py").write_text("raise RuntimeError('loaded')\n")
    (project.root / "test_it.py").write_text("raise RuntimeError('collected')\n")
    project.pipeline("echo $PYTEST_ADDOPTS", "true")
    variables = {"PYTEST_ADDOPTS": "-k nothing", "PYTEST_PLUGINS": "no_such_module"}
    run = project.start("work", environment=variables)
    assert run.exit_code == 0, run.stderr
    assert run.entry("s1")["summary"] == "-k nothing"
    assert [entry["status"] for entry in run.manifest["commands"]] == ["succeeded", "succeeded"]


# The task.


def test_the_order_of_task_ids(here, said, monkeypatch):
    """Flag, variable, config, folder: told by the task that has no runs."""

    def task(*words: str) -> str:
        return refusal(said("status", *words)).split('"')[1]

    here.write({"taskId": "configured", "pipelines": []})
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "from-variable")
    assert task("--task", "from-flag") == "from-flag"
    assert task() == "from-variable"
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "")
    assert task() == "configured"
    here.write({})
    assert task() == "project"


@pytest.mark.parametrize("words", [(), ("--format", "json")], ids=["text", "json"])
def test_a_guessed_task_is_used_with_a_notice(project, tmp_path, words):
    root = tmp_path / "My  Project!"
    (root / ".git").mkdir(parents=True)
    other = type(project)(root)
    other.pipeline("true")
    done = other.cli("start", "work", *words, environment={"MCP_RUNNER_TASK_ID": ""})
    assert done.returncode == 0
    notice = 'No task id given; using "My-Project". Set MCP_RUNNER_TASK_ID'
    assert done.stderr.count(notice) == 1
    assert notice not in done.stdout
    assert len(other.runs("My-Project")) == 1


def test_the_root_is_found_from_below_and_by_name(here, said, monkeypatch, tmp_path):
    here.pipeline("true")
    deep = here.root / "a" / "b"
    deep.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(deep)
    assert json.loads(said("plan", "work", "--format", "json")[1])["pipeline"]["id"] == "work"
    monkeypatch.chdir(elsewhere)
    assert "Unknown pipeline" in refusal(said("plan", "work"))
    assert said("plan", "work", "--root", str(here.root))[0] == 0
    assert said("plan", "work", "--root=../project")[0] == 0
    monkeypatch.setenv("CODEX_ORCHESTRATOR_ROOT", str(here.root))
    assert said("plan", "work")[0] == 0


# The other commands.


def test_plan_as_json_has_every_key(here, said):
    here.pipeline(
        {
            "id": "build",
            "command": "make",
            "env": {"A": "1"},
            "plan": {"aliases": ["b"], "defaultTarget": True},
        },
        {"id": "spec-guard", "command": "guard", "needs": []},
        {"kind": "manual", "id": "ok", "title": "OK"},
        description="What there is",
    )
    code, out, err = said("plan", "work", "--format", "json")
    assert (code, err) == (0, "")
    plan = json.loads(out)
    assert list(plan) == [
        *("pipeline", "stages", "guardrails", "plan", "targetId"),
        *("subpipelines", "definitions", "plugins", "review"),
    ]
    assert plan["stages"][0]["env"] == {"A": "[REDACTED]"}
    assert plan["pipeline"] == {
        "id": "work",
        "title": "Work",
        "description": "What there is",
        "source": "user",
    }
    assert plan["guardrails"] == {"required": True, "stages": ["spec-guard"]}
    assert list(plan["plan"]) == ["items", "notes", "targetId"]
    assert plan["targetId"] == plan["plan"]["targetId"] == "work:build"
    assert [stage["index"] for stage in plan["stages"]] == [1, 2, 3]
    assert set(plan["stages"][0]) == {
        *("index", "kind", "id", "title", "command", "cwd", "env", "allowFailure", "summaryHint"),
        *("timeoutSeconds", "retries", "session", "needs", "executionMode", "requiresCloud", "resources"),
        "plan",
    }
    first = plan["plan"]["items"][0]
    assert {
        key: first[key] for key in ("id", "description", "requires_cloud", "requiresCloud", "runnable")
    } == {
        "id": "work:build",
        "description": "BUILD",
        "requires_cloud": False,
        "requiresCloud": False,
        "runnable": True,
    }
    assert [item["selected"] for item in plan["plan"]["items"]] == [True, False, False]
    assert [item["metadata"]["stageKind"] for item in plan["plan"]["items"]] == [
        "command",
        "command",
        "manual",
    ]
    for target in ("spec-guard", "SPEC-GUARD", "work:spec-guard"):
        answer = json.loads(said("plan", "work", "--target", target, "--format=json")[1])
        assert answer["targetId"] == "work:spec-guard"
    assert json.loads(said("plan", "work", "--target=B", "--format=json")[1])["targetId"] == "work:build"
    assert untouched(here)


def test_plan_as_text_says_the_same(here, said):
    here.pipeline("echo one", {"id": "two", "command": "true", "needs": []}, description="All of it")
    code, out, err = said("plan", "work")
    assert (code, err) == (0, "")
    for part in ("work", "Work", "user", "All of it", "1. [command] S1 (s1)", "echo one", "needs: nothing"):
        assert part in out
    assert "Target: work:s1" in out
    assert "Guardrails: not required; none" in out


def test_the_target_may_come_from_the_environment(here, said, monkeypatch):
    here.pipeline("true", "true")
    monkeypatch.setenv("CODEX_ORCHESTRATOR_TARGET_STAGE", "s2")
    assert json.loads(said("plan", "work", "--format=json")[1])["targetId"] == "work:s2"
    assert json.loads(said("plan", "work", "--target=s1", "--format=json")[1])["targetId"] == "work:s1"
    monkeypatch.setenv("CODEX_ORCHESTRATOR_TARGET_STAGE", "s7")
    assert 'Unknown target stage "s7"' in refusal(said("start", "work"))


def test_version_schema_and_guard_answer(said):
    assert said("version") == (0, f"codex-orchestrator {__version__}\n", "")
    assert json.loads(said("version", "--format=json")[1]) == {
        "name": "codex-orchestrator",
        "version": __version__,
    }
    code, out, _ = said("schema")
    assert code == 0
    for name in out.split():
        code, text, _ = said("schema", name)
        assert code == 0
        assert json.loads(text)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"config", "manifest", "event", "error", "state", "metrics", "run-summary"} <= set(out.split())


def run_program(here, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run some Python with these words, which has to succeed."""
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=here.root,
        env=here.environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )


def test_no_command_imports_what_it_does_not_need(here):
    here.pipeline("true")
    program = (
        "import sys; from codex_orchestrator.cli import main; main(sys.argv[1:]);"
        "heavy = {'pytest', 'pydantic', 'rich', 'filelock', 'asyncio'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for words in (["plan", "work"], ["runs"], ["version"]):
        done = run_program(here, program, *words)
        assert done.stderr.strip() == "[]"


def test_what_others_leave_for_the_end_of_the_process_is_done(here):
    program = (
        "import atexit, sys; from codex_orchestrator.__main__ import run;"
        "atexit.register(print, 'last words');"
        "atexit.register(print, 'and last', end='', file=sys.stderr); run()"
    )
    done = run_program(here, program, "version")
    assert done.stdout == f"codex-orchestrator {__version__}\nlast words\n"
    assert done.stderr == "and last"


# Where evidence cannot be written.


@pytest.mark.parametrize("place", [".runs", "out", ".runs/task-1", ".runs/task-1/cli", "out/task-1"])
def test_a_file_in_the_place_of_a_folder_is_one_clear_message(here, said, place):
    here.pipeline("touch ran")
    path = here.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way\n")
    code, out, err = said("start", "work", "--format", "json")
    assert code == 2
    error = json.loads(out)["error"]
    assert error["code"] == "misplaced"
    assert str(path) in error["message"]
    assert "CODEX_ORCHESTRATOR_RUNS_DIR" in error["hint"]
    assert err == f"error: {error['message']}\n{error['hint']}\n"
    assert path.read_text() == "in the way\n"
    assert not (here.root / "ran").exists()


def test_pytest_says_the_same_when_evidence_cannot_be_written(project):
    project.pipeline("touch ran")
    (project.root / ".runs").write_text("")
    done = project.pytest("-p", "no:randomly", "--codex-pipeline", "work")
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count(f"Cannot make the folder {project.root}/.runs") == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert not (project.root / "ran").exists()


# What reaches the terminal.


@pytest.mark.parametrize(
    ("variables", "on_terminal", "piped"),
    [
        ({}, True, False),
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"CLICOLOR": "0"}, False, False),
        ({"CLICOLOR": "1"}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "1", "CLICOLOR": "0"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "0"}, True, False),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_who_decides_on_colour(variables, on_terminal, piped):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert wants_colour(Terminal(), variables) is on_terminal
    assert wants_colour(io.StringIO(), variables) is piped


def on_a_terminal(project, *words, **variables) -> tuple[int, str]:
    """Run a command with stdout on a terminal: exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "codex_orchestrator", *words],
        cwd=project.root,
        env={**project.environment, "TERM": "xterm", **variables},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    got = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # Linux says that the other side is closed with EIO.
            break
        if not block:
            break
        got += block
    os.close(ours)
    err = process.communicate(timeout=100)[1]
    assert b"Traceback" not in err
    return process.returncode, got.decode().replace("\r\n", "\n")


GREEN, RED = "\x1b[32m", "\x1b[31m"


def test_colour_is_for_terminals(project):
    project.pipeline("true", "false")
    code, text = on_a_terminal(project, "start", "work")
    assert code == 1
    assert f"{GREEN}[1/2] s1: passed" in text
    assert f"{RED}[2/2] s2: failed" in text
    code, plain = on_a_terminal(project, "start", "work", NO_COLOR="1")
    assert (code, re.search(r"\x1b\[[0-9;]*m", plain)) == (1, None)
    code, plain = on_a_terminal(project, "start", "work", TERM="dumb")
    assert (code, "\x1b" in plain) == (1, False)
    # A line longer than the terminal is wide is left to the terminal to wrap.
    assert max(len(line) for line in text.split("\n")) > 80
    code, table = on_a_terminal(project, "runs")
    assert (code, "\x1b[" in table) == (0, True)
    assert all(run.name in table for run in project.runs())
    forced = project.cli("start", "work", environment={"FORCE_COLOR": "1"})
    assert GREEN in forced.stdout
    piped = project.cli("start", "work", environment={"TERM": "xterm"})
    assert "\x1b" not in piped.stdout + piped.stderr


def test_json_on_stdout_is_one_document_even_in_colour(project):
    project.pipeline("echo out; echo err >&2", "exit 1")
    done = project.cli("start", "work", "--format", "json", environment={"FORCE_COLOR": "1"})
    assert json.loads(done.stdout)["status"] == "failed"
    assert GREEN in done.stderr
    for command in ("plan", "status", "runs", "version"):
        done = project.cli(command, "--format", "json", environment={"FORCE_COLOR": "1"})
        assert done.returncode == 0
        json.loads(done.stdout)
        assert "\x1b" not in done.stdout


def piped_to(project, reader: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose reader goes early; the exit code is the command's."""
    line = " ".join([sys.executable, "-m", "codex_orchestrator", *words])
    return subprocess.run(
        ["/bin/sh", "-c", f"{{ {line}; echo $? > code; }} | {reader}"],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_reader_that_goes_early_disturbs_nothing(project):
    # Far more than a pipe holds, so that the writer must notice.
    project.pipeline("yes | head -c 1000000", "true", "exit 3", "true")
    cases = [
        ("head -n 1", ("start", "work"), "1"),
        ("head -n 1", ("logs",), "0"),
        ("head -n 1", ("status",), "0"),
        ("true", ("plan", "--format", "json"), "0"),
        ("true", ("status", "--run", "absent", "--format", "json"), "2"),
        ("true", ("--help",), "0"),
    ]
    for reader, words, code in cases:
        done = piped_to(project, reader, *words)
        assert (words, (project.root / "code").read_text().strip()) == (words, code)
        assert "Traceback" not in done.stderr
        assert "BrokenPipe" not in done.stderr
    # The run went on to its own end.
    manifest = project.manifest()
    assert [entry["status"] for entry in manifest["commands"]] == [
        "succeeded",
        "succeeded",
        "failed",
        "pending",
    ]
    assert manifest["status_detail"] == "stage:s3:failed"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_any_encoding(project, encoding):
    title = "naïve € 𝄞"
    project.pipeline({"id": "s1", "title": title, "command": f"echo '{title}'"})
    spelled = {"PYTHONIOENCODING": encoding}
    assert project.cli("start", "work", "--format", "json").returncode == 0
    for words in (("plan", "work"), ("status",), ("status", "--watch"), ("runs",)):
        done = project.cli(*words, "--format", "json", environment=spelled)
        assert json.loads(done.stdout), done.stderr
    status = json.loads(project.cli("status", "--format", "json", environment=spelled).stdout)
    assert status["commands"][0]["summary"] == title
    events = project.cli("logs", "--format", "json", environment=spelled).stdout.splitlines()
    assert [event["data"] for event in map(json.loads, events) if event["type"] == "exec:chunk"] == [
        f"{title}\n"
    ]


def test_output_that_the_terminal_cannot_spell_and_closed_streams_disturb_nothing(project):
    project.pipeline("echo 'naïve €'; echo '→' >&2; exit 1")
    done = project.cli("start", "work", environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert "na\\xefve" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert project.manifest()["commands"][0]["summary"] == "Exited with code 1 — →"
    for closing in (">&-", ">&- 2>&-", "<&-"):
        line = f"{sys.executable} -m codex_orchestrator start work {closing}"
        closed = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=project.root,
            env=project.environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert closed.returncode == 1
        assert "Traceback" not in closed.stderr
        assert project.manifest()["status"] == "failed"
    assert len(project.runs()) == 4
