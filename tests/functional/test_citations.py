"""``cite`` and ``check``: what a text claims, and what became of it."""

from __future__ import annotations

import json

import pytest

from tests.support.projects import command
from tests.support.repositories import repository_of


@pytest.fixture
def repo(project, tmp_path):
    project.pipelines(work=[command("build"), command("test", "grep -q a src/a.txt"), command("late")])
    return repository_of(project.root, project.environment, tmp_path)


def cited(project, *words: str) -> dict[str | None, str]:
    """The tokens of the newest run by stage."""
    claims = json.loads(project.cli("cite", "--format=json", *words).stdout)["claims"]
    return {claim["stage_id"]: claim["token"] for claim in claims}


def verdicts(project, text: str, *words: str) -> list[str]:
    path = project.root.parent / "text.md"
    path.write_text(text, encoding="utf-8")
    done = project.cli("check", str(path), *words, "--format=json")
    answer = json.loads(done.stdout)
    found = [each["verdict"] for each in answer["citations"]]
    assert (done.returncode == 0) == answer["supported"] == (set(found) == {"SUPPORTED"})
    return found


def test_a_run_is_cited_as_a_whole_and_by_its_stages(project, repo):
    run = project.start("work")
    root = json.loads((run.folder / "seal.json").read_text())["root"]
    name = f"codex:task-1/{run.answer['run_id']}"
    assert project.cli("cite").stdout == (
        f"- work: succeeded, 3 of 3 stages succeeded (`{name}@{root[:16]}`)\n"
        f"- build: succeeded (`{name}#build@{root[:16]}`)\n"
        f"- test: succeeded (`{name}#test@{root[:16]}`)\n"
        f"- late: succeeded (`{name}#late@{root[:16]}`)\n"
    )
    assert list(cited(project, "--stage", "test")) == ["test"]
    done = project.cli("check", "-", input=project.cli("cite").stdout)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1] == (
        f"SUPPORTED: -:2: {name}#build@{root[:16]}: "
        f"stage build of pipeline work succeeded, run {run.answer['run_id']}"
    )


def test_what_became_of_it(project, repo):
    repo.write("src/a.txt", "x\n")
    project.start("work")
    failed = cited(project)
    assert verdicts(project, "\n".join(failed.values())) == ["REFUTED", "SUPPORTED", "REFUTED", "REFUTED"]

    repo.write("src/a.txt", "a\n")
    run = project.start("work")
    tokens = cited(project)
    assert verdicts(project, " ".join(tokens.values())) == ["SUPPORTED"] * 4
    assert verdicts(project, failed["build"]) == ["STALE"]
    assert verdicts(project, failed["build"], "--tree", "any") == ["SUPPORTED"]

    # Another tree, and the same again.
    repo.write("src/b.txt", "other\n")
    assert verdicts(project, tokens[None]) == ["STALE"]
    assert verdicts(project, tokens[None], "--tree", "HEAD") == ["SUPPORTED"]
    repo.git("checkout", "--quiet", "src/b.txt")
    assert verdicts(project, tokens[None]) == ["SUPPORTED"]

    # Wrong tokens.
    whole = tokens[None]
    flipped = whole[:-1] + ("0" if whole[-1] != "0" else "1")
    assert verdicts(project, flipped) == ["TAMPERED"]
    assert verdicts(project, whole[:-1]) == ["UNKNOWN"]
    assert verdicts(project, whole.upper()) == ["UNKNOWN"]
    assert verdicts(project, whole.replace("task-1", "task-2")) == ["UNKNOWN"]
    assert verdicts(project, tokens["test"].replace("#test", "#tests")) == ["UNKNOWN"]
    assert verdicts(project, failed["test"].replace("#test", "")) == ["REFUTED"]
    mixed = tokens["test"].replace(tokens["test"].rpartition("@")[2], failed["test"].rpartition("@")[2])
    assert verdicts(project, mixed) == ["TAMPERED"]

    # Evidence that is not what it was.
    log = run.folder / "commands/01-build.ndjson"
    log.write_bytes(log.read_bytes() + b"\n")
    assert verdicts(project, tokens["test"]) == ["TAMPERED"]
    (run.folder / "seal.json").unlink()
    assert verdicts(project, tokens["test"]) == ["TAMPERED"]


def test_a_run_that_has_gone_on_has_another_seal(project, repo):
    repo.write("src/a.txt", "x\n")
    project.start("work")
    before = cited(project)["build"]
    repo.write("src/a.txt", "a\n")
    project.resume()
    assert verdicts(project, before, "--tree", "any") == ["STALE"]
    assert verdicts(project, cited(project)["build"], "--tree", "any") == ["SUPPORTED"]


def test_a_part_is_no_whole(project, repo):
    project.start("work", "--only", "build")
    tokens = cited(project)
    assert verdicts(project, "\n".join(tokens.values())) == ["REFUTED", "SUPPORTED", "REFUTED", "REFUTED"]


def test_a_text_that_cites_nothing_is_not_supported(project, repo):
    assert verdicts(project, "All tests pass!") == []
    done = project.cli("check", "-", input="All tests pass!")
    assert (done.returncode, done.stdout) == (1, "No token was found: nothing is cited.\n")


def test_where_there_is_no_tree_nothing_is_compared_unless_it_is_said(project):
    project.pipeline("true")
    project.start("work")
    token = cited(project)[None]
    assert verdicts(project, token) == ["STALE"]
    assert verdicts(project, token, "--tree", "any") == ["SUPPORTED"]


def test_what_cannot_be_cited_or_checked_is_refused(project, repo):
    project.pipeline("true", {"kind": "manual", "id": "ask"})
    project.start("work")
    for words, said in (
        (("cite",), "is not sealed, so that there is nothing to cite"),
        (("check", "nowhere.md"), "Cannot read nowhere.md"),
        (("check", "-", "--tree", "gone"), 'git knows no commit or tree "gone" here'),
    ):
        done = project.cli(*words)
        assert done.returncode == 2
        assert said in done.stderr
    project.cli("approve", "--stage", "ask", "--resume")
    assert 'Unknown stage "x"' in project.cli("cite", "--stage", "x").stderr


def test_the_evidence_guard_takes_tokens(project, repo):
    repo.write("src/a.txt", "x\n")
    project.start("work")
    failed = cited(project)
    repo.write("src/a.txt", "a\n")
    run = project.start("work")
    tokens = cited(project)
    cases = [
        (tokens[None], None),
        (tokens["test"], None),
        (failed["build"], None),
        (failed["test"], "evidence-not-succeeded"),
        (failed[None], "evidence-not-succeeded"),
        (tokens[None][:-1], "evidence-not-found"),
        (tokens[None].replace("task-1", "task-2"), "evidence-not-found"),
        (tokens["test"].replace("#test", "#tests"), "evidence-not-succeeded"),
        (tokens[None].partition("@")[0] + "@" + "0" * 16, "evidence-invalid"),
    ]
    repo.write("tasks/tasks-x.md", "".join(f"- [x] {token}\n" for token, _ in cases))
    done = project.cli("guard", "evidence", "--format=json")
    found = {each["line"]: each["rule"] for each in json.loads(done.stdout)["findings"]}
    assert found == {line: rule for line, (_, rule) in enumerate(cases, start=1) if rule}
    log = run.folder / "commands/01-build.ndjson"
    log.write_bytes(log.read_bytes() + b"\n")
    done = project.cli("guard", "evidence", "--format=json")
    found = {each["line"]: each["rule"] for each in json.loads(done.stdout)["findings"]}
    assert (found[1], found[2]) == ("evidence-invalid", "evidence-invalid")
