"""A stage that removes the folders of its own run, as ``git clean -fdx`` does."""

from __future__ import annotations

import pytest

from tests.support.at_once import command, run


@pytest.mark.parametrize("way", ["", "--jobs 2", "-n 2"])
def test_evidence_that_is_removed_is_not_made_up(project, way):
    project.pipeline(command("clean", "rm -rf .runs"), command("after", "touch ran", needs=["clean"]))
    done = run(project, way)
    assert done.returncode == 1, done.stdout
    assert "manifest.json: it was removed, or its folder." in done.stdout
    assert "git clean -fdx -e .runs -e out" in done.stdout
    assert "Make room" not in done.stdout
    assert not (project.root / "ran").exists()
    manifest = project.manifest()
    assert manifest["status"] == "failed"
    entry = manifest["commands"][1]
    assert (entry["id"], entry["status"], entry["summary"], entry["error_file"]) == (
        "after",
        "pending",
        None,
        None,
    )
    assert "1 of 2 selected stages did not run." in manifest["summary"]
    assert "Evidence could not be written: Cannot write" in manifest["summary"]
    assert "interrupt" not in manifest["summary"]
    assert "None" not in manifest["summary"]


def test_a_stage_that_was_ended_because_of_it_says_so(project):
    project.pipeline(
        command("clean", "until [ -e up ]; do :; done; rm -rf .runs"),
        command("beside", "touch up; sleep 60"),
        command("after", "true", needs=["clean"]),
    )
    done = run(project, "--jobs 2")
    assert done.returncode == 1, done.stdout
    manifest = project.manifest()
    entries = {entry["id"]: entry for entry in manifest["commands"]}
    assert entries["after"]["status"] == "pending"
    assert (entries["beside"]["status"], entries["beside"]["summary"]) == (
        "failed",
        "Cancelled by a loss of evidence",
    )
    assert manifest["summary"].split("\n")[0] == "Stage 'BESIDE' was cancelled by a loss of evidence."
