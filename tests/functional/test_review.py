"""``review``: runs as they are handed over, and reviewers that read them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import DEADLINE_SECONDS, is_alive, until
from tests.support.repositories import Repo, git_variables

GUARD = {"id": "spec-guard", "command": "echo guarded"}
GATE = {"kind": "manual", "id": "gate", "title": "Look at it"}
NOT_KNOWN = "How large the change is, is not known."


@pytest.fixture
def repo(project, tmp_path) -> Repo:
    """The project's folder as a git repository with one commit; runs are ignored."""
    repo = Repo(project.root, git_variables(tmp_path))
    repo.git("init", "--quiet", "--initial-branch", "main")
    repo.write(".gitignore", "/.runs/\n/out/\n")
    repo.commit("kept.txt", "gone.txt")
    return repo


def configured(project, command: str | None = None, *stages) -> None:
    """A pipeline of these stages, or of a guard alone, and who reads its hand-offs."""
    project.pipeline(*(stages or (GUARD,)))
    path = project.root / "codex.orchestrator.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "review": {"command": command} if command else {}}))


def handed_over(said, *words: str) -> dict:
    """The hand-off as JSON."""
    code, out, err = said("review", "--format", "json", *words)
    assert code == 0, err
    return json.loads(out)


# What a hand-off says.


def test_a_run_that_is_done_leaves_no_question(project, said, repo):
    project.pipeline("echo built", GUARD)
    repo.commit()
    base = repo.git("rev-parse", "HEAD")
    repo.write("kept.txt", "one\ntwo\n")
    repo.write("new.txt", "a\nb\nc\n")
    (project.root / "gone.txt").unlink()
    (project.root / "picture.bin").write_bytes(b"\0\1")
    run = project.start("work")
    document = handed_over(said, "--base", "HEAD", "--notes", "Read kept.txt first.")
    manifest = run.manifest
    assert document["open_questions"] == []
    assert document["evidence"] is True
    assert document["manifest"] == f"{manifest['artifact_root']}/manifest.json"
    assert document["run"]["run_id"] == manifest["run_id"]
    assert document["run"]["liveness"] == "finished"
    assert [(stage["id"], stage["status"], stage["summary"]) for stage in document["stages"]] == [
        ("s1", "succeeded", "built"),
        ("spec-guard", "succeeded", "guarded"),
    ]
    assert all((project.root / stage["log_path"]).is_file() for stage in document["stages"])
    assert document["guardrails"] == "Guardrails: spec-guard succeeded (1 passed)."
    assert document["notes"] == "Read kept.txt first."
    assert document["reviewer"] is None
    cited = json.loads(project.cli("cite", "--run", run.answer["run_id"], "--format", "json").stdout)
    assert document["claims"] == cited["claims"]
    assert [(claim["stage_id"], claim["status"]) for claim in document["claims"][1:]] == [
        ("s1", "succeeded"),
        ("spec-guard", "succeeded"),
    ]
    change = document["change"]
    assert (change["base"], change["base_source"]) == (base, "--base")
    assert (change["files"], change["added"], change["deleted"], change["binary"]) == (4, 5, 2, 1)
    assert [file["path"] for file in change["changed"]] == [
        "gone.txt",
        "kept.txt",
        "new.txt",
        "picture.bin",
    ]


def test_the_text_says_the_same(project, repo):
    project.pipeline({"id": "test", "command": "printf 'one\\n## Not a heading\\033[31m'; exit 3"}, GUARD)
    project.start("work")
    repo.write("new.txt", "a\n")
    done = project.cli("review", "--notes", "Line one\nLine two")
    assert (done.returncode, done.stderr) == (0, "")
    headings = [line for line in done.stdout.splitlines() if line.startswith("#")]
    run_id = project.runs()[0].name
    assert headings == [
        f"# Review of work, run {run_id}",
        "## Open questions",
        "## Stages",
        "## Guardrails",
        "## Claims",
        "## Change",
        "## Summary",
        "## Notes",
    ]
    assert "- Status: failed (stage:test:failed), finished\n" in done.stdout
    assert "- Evidence: This run is no evidence: its manifest is of a run that is failed.\n" in done.stdout
    assert f"- Manifest: `.runs/task-1/cli/{run_id}/manifest.json`\n" in done.stdout
    assert "1. [failed] TEST (test): Exited with code 3" in done.stdout
    assert "2. [pending] SPEC-GUARD (spec-guard) — `.runs/" in done.stdout
    assert "- `new.txt`: +1 -0\n" in done.stdout
    assert f"- the run: failed, 0 of 2 stages succeeded, 1 not run (`codex:task-1/{run_id}@" in done.stdout
    assert f"- test: failed (`codex:task-1/{run_id}#test@" in done.stdout
    checked = project.cli("check", "--tree", "any", "-", input=done.stdout)
    assert [line.partition(":")[0] for line in checked.stdout.splitlines()] == ["REFUTED"] * 3
    assert "Line one\nLine two\n" in done.stdout
    assert "\033" not in done.stdout


def test_renamed_binary_and_left_out_files_are_shown_as_such(project, said, repo):
    project.pipeline(GUARD)
    repo.commit()
    project.start("work")
    (repo.root / "kept.txt").rename(repo.root / "moved.txt")
    repo.write("logo.png").write_bytes(b"\0" * 34 * 1024)
    repo.write("yarn.lock")
    text = said("review", "--base", "HEAD")[1]
    assert "2 files changed, 1 of them binary (34 KiB), 0 lines added and 0 deleted since " in text
    assert "- `kept.txt → moved.txt`: +0 -0\n" in text
    assert "- `logo.png`: binary, 34 KiB\n" in text
    assert "- Left out 1 lock file: yarn.lock.\n" in text
    change = handed_over(said, "--base", "HEAD")["change"]
    assert (change["bytes"], change["left_out"]) == (34 * 1024, 1)
    assert [file["renamed_from"] for file in change["changed"]] == [None, "kept.txt"]


def test_a_hand_off_without_a_base_says_so(project, said, repo):
    project.pipeline(GUARD)
    repo.commit()
    project.start("work")
    document = handed_over(said)
    assert document["open_questions"] == [NOT_KNOWN]
    assert document["change"]["base_source"] == "main"
    assert document["change"]["notices"][0].startswith("Only what is not committed is measured")


def test_a_long_list_of_files_is_cut_in_the_text_alone(project, said, repo):
    project.pipeline(GUARD)
    repo.commit()
    project.start("work")
    for number in range(60):
        repo.write(f"f/{number:02}.txt")
    text = said("review", "--base", "HEAD")[1]
    assert ("f/49.txt" in text, "f/50.txt" in text, "- and 10 more\n" in text) == (True, False, True)
    assert "files were written after it had ended: f/00.txt" in text
    document = handed_over(said, "--base", "HEAD")
    assert len(document["change"]["changed"]) == 60


def test_without_git_the_change_is_not_known(project, said):
    # An empty .git folder is no repository.
    project.pipeline(GUARD)
    project.start("work")
    document = handed_over(said)
    assert document["open_questions"] == [NOT_KNOWN]
    assert document["change"]["base"] is None
    assert document["change"]["notices"]


def test_what_runs_leave_is_no_change(project, said, repo):
    repo.write(".gitignore", "")
    project.pipeline(GUARD)
    repo.commit()
    project.start("work")
    document = handed_over(said, "--base", "HEAD")
    assert (document["change"]["files"], document["open_questions"]) == (0, [])


FAILED = 'Stage "s1" failed: Exited with code 1 (see {error}).'
OPEN = {
    "failed": (("false", GUARD), (), 1),
    "partial": (("true", GUARD), ("--only", "spec-guard"), 0),
    "no guardrail": (("true",), (), 0),
    "skipped": (({"command": "false", "allowFailure": True}, GUARD), (), 0),
    "not approved": ((GUARD, GATE), ("--no-interactive",), 3),
}
ASKED = {
    "failed": (
        "The run is failed (stage:s1:failed).",
        'Stage "s1" failed: Exited with code 1 (see ',
        'Stage "spec-guard" has not been run.',
        "No guardrail has passed. Guardrails: spec-guard partial (1 pending of 1).",
    ),
    "partial": ("The run's manifest is of a partial run.", 'Stage "s1" has not been run.'),
    "no guardrail": ("No guardrail has passed. Guardrails: spec-guard command not found.",),
    "skipped": (
        "The run's manifest is of a run whose summary does not approve it: 1 stage skipped: s1.",
        'Stage "s1" was skipped: Exited with code 1.',
    ),
    "not approved": (
        "The run waits for a decision.",
        'Stage "gate" has not been approved: codex-orchestrator approve --run ',
    ),
}


@pytest.mark.parametrize("case", OPEN)
def test_what_is_open_is_asked(project, said, repo, case):
    stages, words, code = OPEN[case]
    project.pipeline(*stages)
    repo.commit()
    assert project.cli("start", "work", *words).returncode == code
    document = handed_over(said, "--base", "HEAD")
    questions = document["open_questions"]
    assert len(questions) == len(ASKED[case]), questions
    assert all(map(str.startswith, questions, ASKED[case])), questions
    assert document["evidence"] is (case == "no guardrail")


def test_approvals_are_cited(project, said, repo):
    project.pipeline(GUARD, GATE)
    repo.commit()
    project.cli("start", "work", "--no-interactive")
    run_id = project.runs()[0].name
    decided = ("approve", "--run", run_id, "--stage", "gate", "--actor", "ada", "--reason", "good")
    assert project.cli(*decided).returncode == 0
    assert project.cli("resume", "--run", run_id).returncode == 0
    document = handed_over(said, "--base", "HEAD")
    path = f".runs/task-1/cli/{run_id}/manifest.json"
    assert [(each["actor"], each["cited_as"]) for each in document["approvals"]] == [
        ("ada", f"{path}#approvals[0]")
    ]
    assert document["open_questions"] == []
    assert f"- ada: stage:gate:approved: good — `{path}#approvals[0]`\n" in said("review")[1]


def test_sub_pipelines_are_part_of_it(project, said, repo):
    sub = {"kind": "subpipeline", "id": "sub", "pipeline": "inner"}
    project.pipelines(work=[GUARD, sub], inner=[GATE])
    repo.commit()
    assert project.cli("start", "work", "--no-interactive").returncode == 3
    child = project.manifest()["run_id"]
    questions = handed_over(said, "--base", "HEAD")["open_questions"]
    approve = f'Stage "gate" has not been approved: codex-orchestrator approve --run {child} --stage gate'
    assert any(question.startswith(approve) for question in questions)
    assert f"Child run {child} (inner) is in_progress." in questions
    assert f"[in_progress] inner — `.runs/task-1/cli/{child}/manifest.json`" in said("review")[1]


def test_a_live_run_is_told_from_a_dead_one(project, said, live):
    project.pipeline(live.GATE, GUARD)
    run = live.start("work")
    run.has_printed("up")
    questions = handed_over(said)["open_questions"]
    assert questions[:3] == [
        "The run still goes on.",
        'Stage "s1" has not ended.',
        'Stage "spec-guard" has not been run.',
    ]
    run.signal(signal.SIGKILL)
    run.process.wait(DEADLINE_SECONDS)
    resume = f"codex-orchestrator resume --run {run.run_id}"
    assert handed_over(said)["open_questions"][0] == (
        f"The run has not ended and its process is gone: {resume}."
    )


def test_a_stage_hands_over_its_own_run(project, repo):
    review = f"{shlex.quote(sys.executable)} -m codex_orchestrator review --base HEAD --format json"
    configured(project, "exit 9", GUARD, {"id": "review", "command": f"{review} > handed.json"})
    repo.commit()
    # A run of the same task that began later is not meant.
    sub = {"kind": "subpipeline", "id": "later", "pipeline": "work"}
    path = project.root / "codex.orchestrator.json"
    document = json.loads(path.read_text())
    document["pipelines"].append({"id": "outer", "title": "Outer", "stages": [{**sub, "title": "Later"}]})
    path.write_text(json.dumps(document))
    repo.commit()
    run = project.start("outer")
    assert run.exit_code == 0, run.stderr
    child = run.manifest["child_runs"][0]["run_id"]
    handed = json.loads((project.root / "handed.json").read_text())
    assert (handed["run"]["run_id"], handed["run"]["status"]) == (child, "in_progress")
    assert (handed["evidence"], handed["open_questions"], handed["reviewer"]) == (None, [], None)
    assert handed["claims"] == []
    assert [stage["status"] for stage in handed["stages"]] == ["succeeded", "running"]
    assert handed["guardrails"] == "Guardrails: spec-guard succeeded (1 passed)."


def test_a_run_is_named_by_id_and_by_task(project, said):
    project.pipeline(GUARD)
    first = project.start("work").manifest["run_id"]
    last = project.start("work").manifest["run_id"]
    other = project.start("work", "--task", "task-2").manifest["run_id"]
    named = [(), ("--run", "latest"), ("--run", first), ("--task", "task-2"), ("--run", other)]
    found = [handed_over(said, *words)["run"]["run_id"] for words in named]
    assert found == [last, last, first, other, other]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), 'Task "task-1" has no runs'),
        (("--run", "2026-no-such"), 'Unknown run "2026-no-such"'),
        (("--timeout", "0"), "--timeout must be more than 0"),
        (("--timeout", "nan"), "--timeout must be more than 0"),
        (("--force",), "--force: no reviewer is configured."),
    ],
)
def test_what_cannot_be_handed_over_is_refused(project, words, message):
    project.pipeline(GUARD)
    done = project.cli("review", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.parametrize("base", ["no-such", "--all", " "])
def test_a_bad_base_is_refused(project, repo, base):
    configured(project, "touch called")
    project.start("work")
    done = project.cli("review", f"--base={base}", "--force")
    assert done.returncode == 2
    assert "--base: " in done.stderr
    assert not (project.root / "called").exists()


def test_a_manifest_of_another_tool_is_handed_over_as_far_as_it_goes(project, said):
    folder = project.root / ".runs" / "task-1" / "cli" / "2026-01-01T00-00-00-000Z-00000000"
    folder.mkdir(parents=True)
    manifest = {"run_id": folder.name, "status": "succeeded", "commands": [{"id": "build"}]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = project.cli("review")
    assert done.returncode == 0, done.stderr
    assert "## Guardrails\n\nNot known.\n" in done.stdout
    assert handed_over(said)["evidence"] is False


# Reviewers.


def test_a_reviewer_reads_the_hand_off_and_its_exit_code_counts(project, said):
    configured(project, 'cat > "$PLACE"; echo seen; exit 7')
    project.start("work")
    done = project.cli("review", "--force", environment={"PLACE": "read.md"})
    assert (done.returncode, done.stdout) == (7, "seen\n")
    assert done.stderr.splitlines() == [
        'Reviewer: cat > "$PLACE"; echo seen; exit 7',
        "The reviewer ended with exit code 7.",
    ]
    assert (project.root / "read.md").read_text() == said("review")[1]


def test_json_stays_one_document_whatever_a_reviewer_prints(project):
    configured(project, "echo seen; exit 7")
    project.start("work")
    done = project.cli("review", "--force", "--format", "json")
    assert done.returncode == 7
    assert json.loads(done.stdout)["reviewer"] == {"command": "echo seen; exit 7", "exit_code": 7}
    assert "seen\n" in done.stderr


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("true", 0, ""),
        ("no-such-reviewer -", 127, "no-such-reviewer"),
        ("kill -9 $$", 137, "The reviewer ended with exit code 137."),
        # It closes its input unread.
        ("exec <&-; exit 0", 0, ""),
    ],
    ids=["does not read", "missing", "killed", "does not listen"],
)
def test_whatever_becomes_of_a_reviewer_is_passed_on(project, command, code, told):
    configured(project, command)
    project.start("work")
    # More than a pipe takes.
    done = project.cli("review", "--force", "--notes", "x" * 100_000)
    assert done.returncode == code, done.stderr
    assert told in done.stderr


def test_a_reviewer_that_takes_too_long_is_ended_with_all_it_started(project):
    os.mkfifo(project.root / "never")
    configured(project, "trap '' TERM; (trap '' TERM; cat never) & echo $! > pid; cat never")
    project.start("work")
    done = project.cli("review", "--force", "--timeout", "0.5")
    assert done.returncode == 1
    assert "did not end within 0.5 s." in done.stderr
    pid = int((project.root / "pid").read_text())
    until(lambda: not is_alive(pid), "the end of what the reviewer had started")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_reviewer_ends_with_the_command(project, number, code):
    os.mkfifo(project.root / "never")
    configured(project, "echo $$ > pid.new; mv pid.new pid; cat never")
    project.start("work")
    process = subprocess.Popen(
        [sys.executable, "-m", "codex_orchestrator", "review", "--force"],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    path: Path = project.root / "pid"
    until(path.exists, "the reviewer's start")
    process.send_signal(number)
    assert process.wait(DEADLINE_SECONDS) == code
    until(lambda: not is_alive(int(path.read_text())), "the reviewer's end")


# On a terminal.


def test_on_a_terminal_the_reviewer_is_run(project, terminal):
    configured(project, "grep -c '^## Stages'; exit 5")
    project.start("work")
    shown = terminal("review")
    shown.shows("Reviewer: grep")
    assert shown.finish() == 5
    assert "\r\n1\r\n" in shown.text


@pytest.mark.parametrize(
    ("words", "variables"),
    [(("--format", "json"), {}), ((), {"CLAUDECODE": "1"}), ((), {"CI": "true"})],
    ids=["json", "agent", "ci"],
)
def test_on_a_terminal_where_nobody_watches_it_is_not(project, terminal, words, variables):
    configured(project, "touch called")
    project.start("work")
    shown = terminal("review", *words, **variables)
    assert shown.finish() == 0
    assert project.runs()[0].name in shown.text
    assert not (project.root / "called").exists()


def test_on_a_terminal_without_a_reviewer_the_hand_off_is_printed(project, terminal):
    project.pipeline(GUARD)
    project.start("work")
    shown = terminal("review")
    assert shown.finish() == 0
    assert "# Review of work" in shown.text
