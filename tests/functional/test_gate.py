"""``gate``: what happens to a work tree and to runs, and whether there is evidence for it afterwards."""

from __future__ import annotations

import json

import pytest

from tests.support.projects import command
from tests.support.repositories import repository_of


@pytest.fixture
def repo(project, tmp_path):
    """The project as a repository; its pipeline passes where ``src/a.txt`` says so."""
    project.pipelines(
        work=["grep -q a src/a.txt", "mkdir -p build && echo out > build/out"],
        other=["true"],
        changing=["echo more >> src/b.txt"],
        asking=["true", {"kind": "manual", "id": "ask"}],
        skipping=[command("maybe", "false", allowFailure=True), "true"],
    )
    (project.root / ".gitignore").write_text("build/\n", encoding="utf-8")
    return repository_of(project.root, project.environment, tmp_path)


@pytest.fixture
def gate(project, repo):
    """Ask; the exit code and what is said of the pipeline."""

    def ask(*words: str) -> tuple[int, list[str]]:
        done = project.cli("gate", *words, "--format=json")
        assert done.stdout, done.stderr
        (answer,) = json.loads(done.stdout)["pipelines"]
        assert answer["passes"] == (done.returncode == 0) == (not answer["reasons"])
        return done.returncode, answer["reasons"]

    return ask


def test_evidence_is_for_the_files_and_not_for_the_commit(project, repo, gate):
    assert gate("work") == (1, ["task task-1 has no run of it"])
    project.start("work")
    assert gate("work") == (0, [])
    assert gate("other") == (1, ["task task-1 has no run of it"])

    # What git ignores does not count.
    repo.write("build/more")
    assert gate("work") == (0, [])

    # Other commits of the same files.
    repo.git("commit", "--quiet", "--allow-empty", "--message", "empty")
    repo.git("commit", "--quiet", "--amend", "--allow-empty", "--message", "amended")
    repo.git("checkout", "--quiet", "-b", "elsewhere")
    assert gate("work") == (0, [])

    # Other files.
    repo.write("src/b.txt", "changed\n")
    assert gate("work") == (1, ["it is of another tree: 1 file differs: src/b.txt (modified)"])
    assert gate("work", "--tree", "HEAD") == (0, [])
    repo.git("add", "--all")
    assert gate("work") == (1, ["it is of another tree: 1 file differs: src/b.txt (modified)"])
    repo.write("new.txt")
    (repo.root / "src/a.txt").chmod(0o755)
    code, reasons = gate("work")
    assert (code, reasons) == (
        1,
        [
            (
                "it is of another tree: 3 files differ: "
                "new.txt (added), src/a.txt (modified), src/b.txt (modified)"
            )
        ],
    )

    # Evidence of these, and then they are committed.
    project.start("work")
    assert gate("work") == (0, [])
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message", "later")
    assert gate("work") == (0, [])
    assert gate("work", "--tree", "HEAD") == (0, [])
    assert gate("work", "--tree", "main") == (0, [])  # By the first run.


def test_a_run_that_is_no_evidence_is_named_with_the_reason(project, repo, gate):
    repo.write("src/a.txt", "x\n")
    project.start("work")
    assert gate("work") == (1, ["it has failed: s1"])
    repo.write("src/a.txt", "a\n")
    code, reasons = gate("work")
    assert code == 1
    assert "it is of another tree: 1 file differs: src/a.txt (modified)" in reasons

    project.start("work", "--only", "s2")
    assert gate("work") == (1, ["stages were left out: s1"])

    project.start("work")
    assert gate("work") == (0, [])
    assert gate("work", "--max-age", "1h") == (0, [])
    # A later run of the same files that fails takes nothing back: both are evidence of what they are.
    project.start("work", "--only", "s2")
    assert gate("work") == (0, [])


def test_a_source_that_changed_while_it_ran_is_told_of(project, repo, gate):
    project.start("changing")
    assert gate("changing") == (
        1,
        ["the source changed while it ran: 1 file differs: src/b.txt (modified)"],
    )


def test_a_run_that_goes_on_with_another_tree_is_no_evidence(project, repo, gate):
    repo.write("src/a.txt", "x\n")
    project.start("work")
    repo.write("src/a.txt", "a\n")
    project.resume()
    assert gate("work") == (1, ["the source changed while it ran: 1 file differs: src/a.txt (modified)"])


def test_a_run_that_waits_is_neither(project, repo, gate):
    project.start("asking")
    assert gate("asking") == (3, ["it waits for an approval"])
    project.cli("approve", "--stage", "ask")
    project.resume()
    assert gate("asking") == (0, [])


def test_a_stage_that_was_allowed_to_fail_is_no_obstacle(project, repo, gate):
    run = project.start("skipping")
    summary = json.loads((run.folder / "run-summary.json").read_text())
    code, reasons = gate("skipping")
    assert (code == 0) == summary["review"]["decision"]["approved"]
    assert bool(reasons) != summary["review"]["decision"]["approved"]


def test_evidence_that_was_tampered_with_is_none(project, repo, gate):
    run = project.start("work")
    log = run.folder / "commands/01-s1.ndjson"
    log.write_bytes(log.read_bytes() + b"\n")
    code, (reason, *_) = gate("work")
    assert code == 1
    assert reason.startswith(f"changed: {log.relative_to(project.root).as_posix()}: It has ")


def test_several_pipelines_all_have_to_pass(project, repo):
    project.start("work")
    done = project.cli("gate", "work", "other")
    assert done.returncode == 1
    first, second, reason = done.stdout.splitlines()
    assert first.startswith("work: passed on this tree (")
    assert second.startswith("other: no evidence for this tree (")
    assert reason == "  task task-1 has no run of it"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), 'Unknown pipeline "nowhere"'),
        (("work", "--tree", "gone"), 'git knows no commit or tree "gone" here'),
        (("work", "--max-age", "soon"), '--max-age "soon" is not an age'),
    ],
)
def test_what_cannot_be_asked_is_refused(project, repo, words, said):
    done = project.cli("gate", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_without_a_work_tree_of_git_there_is_nothing_to_compare(project):
    project.pipeline("true")
    done = project.cli("gate", "work")
    assert done.returncode == 2
    assert "is in no work tree of git" in done.stderr
