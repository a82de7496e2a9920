"""Runs that are taken up again: what is kept, what is run again, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codex_orchestrator.errors import StorageError
from tests.support.invariants import broken, manifests
from tests.support.processes import is_alive, until
from tests.support.projects import Run
from tests.support.runs import ran

UNTIL_OK = "test -e ok"
COMMAND = (sys.executable, "-m", "codex_orchestrator")
# Says in a file that it ran, so that it can be counted.
COUNTED = "echo {name} >> ran"


def counted(name: str, command: str = "true", **keys) -> dict:
    """A stage that leaves its name in the file ``ran`` each time."""
    return {"id": name, "command": f"{COUNTED.format(name=name)}; {command}", **keys}


def contents(project) -> dict[str, str]:
    """All evidence, by path."""
    found = {}
    for top in (".runs", "out"):
        for path in sorted((project.root / top).rglob("*")):
            if path.is_file():
                found[str(path.relative_to(project.root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def refused(done: subprocess.CompletedProcess, code: int) -> str:
    """The one message of a command that was refused."""
    assert done.returncode == code, done.stdout + done.stderr
    messages = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return messages[0]


def failed_run(project, *stages) -> Run:
    """A run of these stages that failed."""
    project.pipeline(*stages)
    run = project.start("work")
    assert run.exit_code == 1
    return run


# What is kept, and what is run again.


def test_what_succeeded_is_not_run_again_and_all_else_is(project):
    run = failed_run(
        project,
        counted("a"),
        counted("b", UNTIL_OK, allowFailure=True),
        counted("c", UNTIL_OK),
        counted("d"),
        counted("e", needs=[]),
    )
    before = run.manifest
    assert ran(project) == ["a", "b", "c", "e"]
    (project.root / "ok").touch()
    (project.root / "ran").unlink()

    again = project.resume()

    assert again.exit_code == 0
    assert again.folder == run.folder
    assert ran(project) == ["b", "c", "d"]
    after = again.manifest
    assert (after["task_id"], after["started_at"]) == (before["task_id"], before["started_at"])
    for name in ("a", "e"):
        assert next(e for e in before["commands"] if e["id"] == name) == again.entry(name)
    assert [entry["status"] for entry in after["commands"]] == ["succeeded"] * 5
    assert [
        (event["actor"], event["reason"], event["outcome"], "detail" in event)
        for event in after["resume_events"]
    ] == [("cli", "manual-resume", "accepted", False)]
    assert "failed" not in after["summary"]
    assert broken(project.root) == []


def test_pytest_reports_what_was_done_before_as_passed(project):
    failed_run(project, counted("a"), UNTIL_OK)
    (project.root / "ok").touch()
    done = project.pytest("--codex-resume", "latest", "-rA", "--junit-xml=junit.xml", "--durations=0", "-vv")
    assert done.returncode == 0, done.stdout
    assert ran(project) == ["a"]
    assert {"PASSED work::a", "PASSED work::s2"} <= set(done.stdout.splitlines())
    assert 'tests="2"' in (project.root / "junit.xml").read_text()


def test_attempts_are_told_apart_and_nothing_earlier_is_lost(project):
    run = failed_run(project, "echo first >&2; exit 3")
    log = (run.folder / "runner.ndjson").read_bytes()
    first_error = json.loads((run.folder / "errors/01-s1.json").read_bytes())
    project.pipeline("echo first >&2; exit 3")
    assert project.resume().exit_code == 1
    assert project.resume("--actor", "me", "--reason", "once more").exit_code == 1

    after = (run.folder / "runner.ndjson").read_bytes()
    assert after.startswith(log)
    for name in ("runner.ndjson", "commands/01-s1.ndjson"):
        begun = [event["attempt"] for event in run.events(name) if event["type"] == "exec:begin"]
        assert begun == [1, 2, 3]
    resumed = [event for event in run.events() if event["type"] == "run:resumed"]
    assert [(event["actor"], event["reason"]) for event in resumed] == [
        ("cli", "manual-resume"),
        ("me", "once more"),
    ]
    errors = {path.name for path in (run.folder / "errors").iterdir()}
    assert errors == {"01-s1.json", "01-s1.attempt-1.json", "01-s1.attempt-2.json"}
    assert json.loads((run.folder / "errors/01-s1.attempt-1.json").read_bytes()) == first_error
    assert len(run.manifest["handles"]) == 3
    assert broken(project.root) == []


def test_errors_of_stages_that_are_no_commands_are_kept_as_well(project):
    project.pipelines(
        work=[{"kind": "subpipeline", "id": "sub", "title": "Sub", "pipeline": "inner"}],
        inner=[{"id": "i", "command": UNTIL_OK}],
    )
    assert project.start("work").exit_code == 1
    for _ in range(3):
        run = project.resume()
        assert run.exit_code == 1
    kept = sorted(path.name for path in (run.folder / "errors").iterdir())
    assert kept == ["01-sub.attempt-1.json", "01-sub.attempt-2.json", "01-sub.attempt-3.json", "01-sub.json"]
    assert broken(project.root) == []


def test_a_resumed_run_counts_once(project):
    failed_run(project, "true", UNTIL_OK)
    assert project.resume().exit_code == 1
    (project.root / "ok").touch()
    run = project.resume()
    assert run.exit_code == 0

    task = project.root / ".runs/task-1"
    lines = [json.loads(line) for line in (task / "metrics.json").read_bytes().splitlines()]
    assert [(line["status"], line["resumed"], line["attempts"]) for line in lines] == [
        ("failed", False, 1),
        ("failed", True, 2),
        ("succeeded", True, 3),
    ]
    totals = json.loads((task / "metrics-summary.json").read_bytes())
    assert (totals["entries_total"], totals["entries_succeeded"], totals["entries_failed"]) == (1, 1, 0)
    state = json.loads((project.root / "out/task-1/state.json").read_bytes())
    assert [entry["runId"] for entry in state["runs"]] == [run.folder.name]
    assert state["totalRuns"] == 1
    assert state["runs"][0]["build"]["success"] is True


def test_a_succeeded_run_has_nothing_to_do(project):
    project.pipeline(counted("a"), counted("b", "false", allowFailure=True))
    run = project.start("work")
    assert run.exit_code == 0
    before = contents(project)
    log = run.events()

    again = project.resume("--actor", "me")

    assert again.exit_code == 0
    assert again.answer["status"] == "succeeded"
    assert ran(project) == ["a", "b"]
    assert [event["outcome"] for event in run.manifest["resume_events"]] == ["accepted"]
    assert run.events() == log
    changed = {path for path, digest in contents(project).items() if before.get(path) != digest}
    folder = run.folder.relative_to(project.root)
    anew = {f"{folder}/seal.json", "out/task-1/seals.ndjson"}
    assert changed == {f"{folder}/manifest.json", f"{folder}/run.lock", *anew}
    assert run.entry("b")["status"] == "skipped"
    assert project.pytest("--codex-resume", "latest").returncode == 0
    assert ran(project) == ["a", "b"]
    assert broken(project.root) == []


@pytest.mark.parametrize("way", ["cli", "pytest"])
@pytest.mark.parametrize(
    ("selected", "succeeds"),
    [(("--only", "b"), True), (("--from", "b"), False), (("--only", "c"), False)],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_partial_run_is_resumed_whole_unless_it_succeeded(project, way, selected, succeeds):
    project.pipeline(counted("a"), counted("b"), counted("c", UNTIL_OK))
    run = project.start("work", *selected)
    assert run.exit_code == (0 if succeeds else 1)
    assert "Partial run: " in run.manifest["summary"]
    before = ran(project)
    (project.root / "ok").touch()

    words = ("resume", "--run", "latest") if way == "cli" else ("--codex-resume", "latest")
    done = project.cli(*words) if way == "cli" else project.pytest(*words)

    assert done.returncode == 0, done.stdout
    if succeeds:
        assert ran(project) == before
        assert "Partial run: " in run.manifest["summary"]
    else:
        assert sorted({*before, *ran(project)}) == ["a", "b", "c"]
        assert [entry["status"] for entry in run.manifest["commands"]] == ["succeeded"] * 3
        assert "Partial run: " not in run.manifest["summary"]
    assert broken(project.root) == []


def test_a_run_is_found_by_its_id_under_any_task_and_latest_is_the_tasks_own(project):
    run = failed_run(project, UNTIL_OK)
    (project.root / "ok").touch()
    elsewhere = {"MCP_RUNNER_TASK_ID": "task-2"}
    message = refused(project.cli("resume", "--run", "latest", environment=elsewhere), 2)
    assert "task-2" in message
    again = project.resume(run=run.folder.name, environment=elsewhere)
    assert again.exit_code == 0
    assert again.folder == run.folder
    assert again.manifest["task_id"] == "task-1"
    assert not (project.root / ".runs/task-2").exists()


def test_the_target_is_the_runs_own_unless_another_is_asked_for(project):
    project.pipeline("true", "true", UNTIL_OK)
    run = project.start("work", "--target", "s2")
    assert run.manifest["plan_target_id"] == "work:s2"
    elsewhere = {"CODEX_ORCHESTRATOR_TARGET_STAGE": "s1"}
    assert project.resume(environment=elsewhere).manifest["plan_target_id"] == "work:s2"
    assert project.resume("--target", "s3").manifest["plan_target_id"] == "work:s3"
    assert project.resume(environment=elsewhere).manifest["plan_target_id"] == "work:s3"


def test_a_resume_in_the_environment_of_the_run_does_not_end_itself(project):
    run = failed_run(project, UNTIL_OK)
    (project.root / "ok").touch()
    # Both the command and the shell that it was called from.
    done = subprocess.run(
        ["sh", "-c", '"$@"; echo code $?', "sh", *COMMAND, "resume", "--run", run.folder.name],
        cwd=project.root,
        env={**project.environment, "CODEX_ORCHESTRATOR_RUN_ID": run.folder.name},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("code 0\n"), done.stdout + done.stderr


# Owners that died.


def test_a_stage_whose_end_only_the_log_knows_is_not_run_again(project):
    keep = 'cp "$CODEX_ORCHESTRATOR_MANIFEST_PATH" kept'
    run = failed_run(project, counted("a"), counted("b", keep), counted("c", UNTIL_OK), counted("d"))
    log = (run.folder / "runner.ndjson").read_bytes()
    lines = log.splitlines(keepends=True)
    ended = next(
        place
        for place, line in enumerate(lines)
        if json.loads(line)["type"] == "stage:completed" and json.loads(line)["stage_id"] == "b"
    )
    # As if the owner had been killed right after that line, in the middle of the next.
    torn = b"".join(lines[: ended + 1]) + lines[ended + 1][:20]
    (run.folder / "runner.ndjson").write_bytes(torn)
    (project.root / "kept").rename(run.folder / "manifest.json")
    assert run.entry("b")["status"] != "succeeded"
    assert run.manifest["status"] == "in_progress"
    (project.root / "ran").unlink()
    (project.root / "ok").touch()

    assert project.resume().exit_code == 0
    assert ran(project) == ["c", "d"]
    assert run.entry("b")["summary"]
    assert broken(project.root) == []


def test_a_run_that_died_in_its_last_moment_is_ended_by_a_resume(project):
    project.pipeline(counted("a"), counted("b", 'cp "$CODEX_ORCHESTRATOR_MANIFEST_PATH" kept'))
    run = project.start("work")
    assert run.exit_code == 0
    assert run.events()[-1]["type"] == "run:completed"
    # As if the owner had been killed after that line, before anything was recorded.
    (project.root / "kept").rename(run.folder / "manifest.json")
    for path in (".runs/task-1/metrics.json", ".runs/task-1/metrics-summary.json"):
        (project.root / path).unlink()
    shutil.rmtree(project.root / "out/task-1")
    (run.folder / "run-summary.json").unlink()

    again = project.resume()
    assert again.exit_code == 0
    assert ran(project) == ["a", "b"]
    after = again.manifest
    assert (after["status"], after["status_detail"], after["metrics_recorded"]) == ("succeeded", None, True)
    assert after["guardrail_status"]["summary"] in after["summary"]
    assert (run.folder / "run-summary.json").is_file()
    assert broken(project.root) == []


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "guardian-killed-too"])
def test_a_stopped_owner_is_not_taken_over_and_a_killed_one_is(project, live, guarded):
    # One that has ended may still be there as a zombie, where nobody waits for it.
    lives = "grep -Eqs '^State:[[:space:]][RSDT]' /proc/$(cat pid)/status"
    stage = f"test ! -e pid || ! {lives} || echo lives >> ran; echo up; echo $$ > pid; "
    project.pipeline(counted("a"), {"id": "b", "command": f"{stage} test -e ok || exec cat gate"})
    running = live.start("work")
    running.has_printed("up")
    left = running.stage_pid()
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    guardians = [pid for pid in pids if parent_of(pid) == running.process.pid and pid != left]
    assert guardians
    for pid in guardians if not guarded else ():
        os.kill(pid, signal.SIGKILL)
    running.signal(signal.SIGSTOP)
    before = contents(project)

    message = refused(project.cli("resume", "--run", "latest", "--token", "wrong"), 75)
    assert "live process" in message
    assert project.pytest("--codex-resume", "latest").returncode == 4
    assert contents(project) == before
    assert is_alive(left)

    (project.root / "ok").touch()
    running.signal(signal.SIGKILL)
    running.process.wait()
    again = project.resume()
    assert again.exit_code == 0, again.stderr
    assert ran(project) == ["a"]
    assert not is_alive(left)
    if not guarded:
        assert f"(pid {left})" in again.manifest["summary"]
    assert broken(project.root) == []


def parent_of(pid: int) -> int | None:
    """The parent of a process, or None where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def test_of_two_that_resume_at_once_one_goes_on(project):
    failed_run(project, f"{UNTIL_OK} && exec cat gate")
    (project.root / "ok").touch()
    os.mkfifo(project.root / "gate")
    words = [*COMMAND, "resume", "--run", "latest"]
    both = [
        subprocess.Popen(
            words,
            cwd=project.root,
            env=project.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    until(lambda: any(process.poll() is not None for process in both), "one of them to be refused")
    (project.root / "gate").write_text("through\n")
    assert sorted(process.wait(60) for process in both) == [0, 75]
    assert broken(project.root) == []


# Pipelines that have changed.

BASE = [counted("a"), counted("b"), counted("c", UNTIL_OK)]
CHANGED = {
    "a stage is new": ([*BASE[:1], counted("n"), *BASE[1:]], 'stage "n" is new', ["n"]),
    "a stage is gone": ([BASE[0], BASE[2]], 'stage "b" is gone', []),
    "a stage was moved": ([BASE[1], BASE[0], BASE[2]], "another order", []),
    "the failed stage was moved": ([BASE[2], *BASE[:2]], "another order", []),
    "a command is another": (
        [BASE[0], counted("b", "true #"), BASE[2]],
        'stage "b": command is different',
        [],
    ),
    "the failed stage is gone": (BASE[:2], 'stage "c" is gone', []),
    "a kind is another": (
        [{"id": "a", "kind": "subpipeline", "pipeline": "other"}, *BASE[1:]],
        'stage "a": kind is subpipeline, was command',
        ["o"],
    ),
}


@pytest.mark.parametrize("name", CHANGED, ids=lambda name: name.replace(" ", "-"))
def test_a_changed_pipeline_is_refused_until_it_is_accepted(project, name):
    stages, said, more = CHANGED[name]
    project.pipelines(work=BASE, other=[counted("o")])
    run = project.start("work")
    assert run.exit_code == 1
    plan = (run.folder / "plan.json").read_bytes()
    project.pipelines(work=stages, other=[counted("o")])
    before = contents(project)
    (project.root / "ok").touch()
    (project.root / "ran").unlink()

    assert said in refused(project.cli("resume", "--run", "latest"), 2)
    done = project.pytest("--codex-resume", "latest")
    assert done.returncode == 4
    assert said in done.stdout + done.stderr
    assert contents(project) == before

    again = project.resume("--accept-changes")
    assert again.exit_code == 0, again.stderr
    kept = [stage["id"] for stage in stages]
    assert ran(project) == [*more, *(["c"] if "c" in kept else [])]
    commands = again.manifest["commands"]
    assert [(entry["index"], entry["id"]) for entry in commands] == list(enumerate(kept, start=1))
    assert (run.folder / "plan.json").read_bytes() != plan
    for entry in commands:
        if entry["kind"] == "command":
            shown = project.cli("logs", "--run", "latest", "--stage", entry["id"])
            assert shown.returncode == 0, shown.stderr
    assert broken(project.root) == []
    # Nothing has changed since.
    assert project.resume().exit_code == 0


def test_accepting_where_nothing_has_changed_is_fine(project):
    run = failed_run(project, UNTIL_OK)
    plan = (run.folder / "plan.json").read_bytes()
    assert project.resume("--accept-changes").exit_code == 1
    assert (run.folder / "plan.json").read_bytes() == plan


def test_a_pipeline_that_is_gone_is_said(project):
    failed_run(project, UNTIL_OK)
    before = contents(project)
    project.pipeline("true", name="another")
    assert '"work"' in refused(project.cli("resume", "--run", "latest"), 2)
    assert contents(project) == before


# What cannot be resumed.


def break_manifest(change):
    """A way to spoil the manifest of the run."""

    def spoil(run: Run) -> None:
        manifest = run.manifest
        change(manifest)
        (run.folder / "manifest.json").write_text(json.dumps(manifest))

    return spoil


def as_text(text: str):
    return lambda run: (run.folder / "manifest.json").write_text(text)


SPOILED = {
    "not JSON": (as_text("{"), "not JSON"),
    "no object": (as_text("[]"), "not a run manifest"),
    "another document": (as_text('{"name": "x", "version": 1}'), "not a run manifest"),
    "missing": (lambda run: (run.folder / "manifest.json").unlink(), "manifest.json"),
    "no commands": (break_manifest(lambda manifest: manifest.update(commands=None)), "not a run manifest"),
    "no pipeline": (break_manifest(lambda manifest: manifest.pop("pipeline_id")), "not a run manifest"),
    "another run's": (break_manifest(lambda manifest: manifest.update(run_id="x")), "another run"),
    "bad status": (break_manifest(lambda manifest: manifest.update(status="so-so")), "not a run manifest"),
}


@pytest.mark.parametrize("name", SPOILED, ids=lambda name: name.replace(" ", "-"))
def test_a_manifest_that_cannot_be_gone_on_with_is_refused(project, name):
    spoil, said = SPOILED[name]
    run = failed_run(project, counted("a"), UNTIL_OK)
    spoil(run)
    before = contents(project)
    assert said in refused(project.cli("resume", "--run", run.folder.name), 2)
    assert project.pytest("--codex-resume", run.folder.name).returncode == 4
    assert contents(project) == before
    assert ran(project) == ["a"]


@pytest.mark.parametrize("run", ["nobody", "../task-1", "..", "/etc", "a/b", "", ".hidden", "a\nb"], ids=repr)
def test_a_run_that_is_none_is_refused(project, run):
    failed_run(project, counted("a"), UNTIL_OK)
    before = contents(project)
    message = refused(project.cli("resume", "--run", run), 2)
    assert "Unknown run" in message or "Invalid run ID" in message
    if run:
        assert project.pytest(f"--codex-resume={run}").returncode == 4
    assert contents(project) == before
    assert ran(project) == ["a"]


def test_an_unknown_target_is_refused(project):
    failed_run(project, counted("a"), UNTIL_OK)
    before = contents(project)
    assert '"nowhere"' in refused(project.cli("resume", "--run", "latest", "--target", "nowhere"), 2)
    assert contents(project) == before
    assert ran(project) == ["a"]


def test_a_wrong_token_is_refused_and_noted_and_the_right_one_is_taken(project):
    run = failed_run(project, counted("a"), UNTIL_OK)
    before, manifest = contents(project), run.manifest
    message = refused(project.cli("resume", "--run", "latest", "--token", "0" * 64, "--actor", "eve"), 2)
    assert "token" in message
    after = run.manifest
    (event,) = after.pop("resume_events")
    assert (event["actor"], event["outcome"]) == ("eve", "blocked")
    assert "token" in event["detail"]
    for key in ("updated_at", "resume_events"):
        manifest.pop(key)
        after.pop(key, None)
    assert after == manifest
    folder = run.folder.relative_to(project.root)
    changed = {path for path, digest in contents(project).items() if before.get(path) != digest}
    anew = {f"{folder}/seal.json", "out/task-1/seals.ndjson"}
    assert changed <= {f"{folder}/manifest.json", f"{folder}/run.lock", *anew}
    assert ran(project) == ["a"]

    (project.root / "ok").touch()
    token = json.loads((run.folder / "resume-token.json").read_bytes())["token"]
    again = project.resume("--token", token)
    assert again.exit_code == 0
    assert [event["outcome"] for event in again.manifest["resume_events"]] == ["blocked", "accepted"]
    lines = (project.root / ".runs/task-1/metrics.json").read_bytes().splitlines()
    assert json.loads(lines[-1])["attempts"] == 2
    assert token not in json.dumps(list(manifests(project.root).values()))
    assert broken(project.root) == []


def test_a_manifest_never_names_an_error_file_that_is_gone(project, said, monkeypatch):
    """Whenever a resume dies while it makes ready: here, the disk refuses to rename."""
    project.pipeline(UNTIL_OK)
    run = project.start("work")
    error = run.manifest["commands"][0]["error_file"]

    def refuse(*_arguments, **_keywords):
        raise StorageError("no")

    with monkeypatch.context() as patched:
        patched.setattr("codex_orchestrator.evidence.resuming.files.move", refuse)
        code, _, _ = said("resume", "--run", "latest")
    assert code == 1
    assert run.manifest["commands"][0]["error_file"] is None
    assert (project.root / error).exists()
    (project.root / "ok").touch()
    assert said("resume", "--run", "latest")[0] == 0
    assert [path.name for path in (run.folder / "errors").iterdir()] == ["01-s1.attempt-1.json"]


def test_a_summary_that_could_not_be_written_is_not_named(project):
    project.pipeline("mkdir -p $CODEX_ORCHESTRATOR_RUN_DIR/run-summary.json/x")
    run = project.start("work")
    assert run.exit_code == 0
    assert run.manifest["run_summary_path"] is None
    assert "No run summary: " in run.manifest["summary"]


@pytest.mark.parametrize("words", [("resume",), ("resume", "--jobs=2")])
def test_what_to_type_next_is_said_last_and_what_was_kept_is_called_that(project, words):
    project.pipeline("true", UNTIL_OK, {"kind": "manual", "title": "M", "instructions": "look"})
    first = project.cli("start", "work").stdout
    run_id = project.runs()[0].name
    assert first.splitlines()[-1] == f"Go on with: codex-orchestrator resume --run {run_id}"
    (project.root / "ok").touch()
    second = project.cli(*words)
    assert second.returncode == 3
    assert "[1/3] s1: kept, passed before\n" in second.stdout
    assert "[2/3] s2: passed in " in second.stdout
    last = second.stdout.splitlines()[-1]
    assert last == f"Go on with: codex-orchestrator approve --run {run_id} --stage s3"
    assert project.cli("approve", "--stage", "s3").returncode == 0
    third = project.cli(*words).stdout
    assert "Go on with" not in third
    assert "s3: passed in " in third
    assert f"Run {run_id} is not alive" in project.cli("cancel").stderr
