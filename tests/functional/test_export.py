"""``export``: a run in formats of other tools."""

from __future__ import annotations

import hashlib
import json


def test_the_statement_is_printed_or_written(project):
    project.pipeline("true")
    run = project.start("work")
    done = project.cli("export", "--format", "in-toto")
    assert done.returncode == 0
    statement = json.loads(done.stdout)
    root = json.loads((run.folder / "seal.json").read_text(encoding="utf-8"))["root"]
    assert statement["subject"][0]["digest"] == {"sha256": root}
    assert statement["predicate"]["result"] == "PASSED"
    assert project.cli("export", "--format=in-toto", "-o", "statement.json").stdout == ""
    assert (project.root / "statement.json").read_text(encoding="utf-8") == done.stdout


def test_a_run_that_was_killed_is_spoken_of_by_its_manifest(project):
    project.pipeline("true", "kill -9 $CODEX_ORCHESTRATOR_OWNER_PID; sleep 30")
    project.cli("start", "work")
    (folder,) = project.runs()
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    statement = json.loads(project.cli("export", "--format=in-toto").stdout)
    assert statement["subject"] == [
        {"name": f"codex:task-1/{folder.name} manifest", "digest": {"sha256": digest}}
    ]
    assert statement["predicate"]["result"] == "FAILED"
    assert statement["predicate"]["passedTests"] == ["work::s1"]


def test_what_cannot_be_exported_is_refused(project):
    project.pipeline("true")
    project.start("work")
    for words, said in (
        (["--format", "in-toto", "--run", "other"], 'Unknown run "other"'),
        (["--format", "other"], "invalid choice"),
        ([], "--format"),
        (["--format", "in-toto", "-o", "absent/x.json"], "There is no folder for absent/x.json"),
    ):
        done = project.cli("export", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
