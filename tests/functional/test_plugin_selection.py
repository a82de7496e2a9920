"""What selects tests selects stages, and what was not run stays ``pending`` in the manifest."""

from __future__ import annotations

import pytest

from tests.support.runs import started, statuses

DONE, BAD, LEFT = "succeeded", "failed", "pending"


def broken_in_the_middle(project) -> None:
    """``build`` passes; ``test`` fails until there is a file ``mended``; ``lint`` stands alone and fails."""
    project.pipeline(
        {"id": "build", "command": "true"},
        {"id": "test", "command": "test -e mended"},
        {"id": "docs", "command": "true"},
        {"id": "lint", "command": "exit 1", "needs": []},
        {"id": "last", "command": "true", "needs": ["build"]},
    )


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["-k", "build or docs"], 0, [DONE, LEFT, DONE, LEFT, LEFT]),
        (["-k", "not test and not lint"], 0, [DONE, LEFT, DONE, LEFT, DONE]),
        (["-k", "work"], 1, [DONE, BAD, LEFT, BAD, DONE]),
        (["-m", "not slow"], 1, [DONE, BAD, LEFT, BAD, DONE]),
        (["--deselect", "work::test", "--deselect", "work::lint"], 0, [DONE, LEFT, DONE, LEFT, DONE]),
        (["-x"], 1, [DONE, BAD, LEFT, LEFT, LEFT]),
        (["--exitfirst", "--deselect=work::test"], 1, [DONE, LEFT, DONE, BAD, LEFT]),
        (["--maxfail=1"], 1, [DONE, BAD, LEFT, LEFT, LEFT]),
        (["--maxfail=2"], 1, [DONE, BAD, LEFT, BAD, LEFT]),
        (["--stepwise"], 2, [DONE, BAD, LEFT, LEFT, LEFT]),
        (["--sw-skip"], 2, [DONE, BAD, LEFT, BAD, LEFT]),
        (["--codex-only=build", "--codex-only=last"], 0, [DONE, LEFT, LEFT, LEFT, DONE]),
        (["--codex-from=docs", "--deselect=work::lint"], 0, [LEFT, LEFT, DONE, LEFT, DONE]),
        (["--codex-from=docs", "-k", "last"], 0, [LEFT, LEFT, LEFT, LEFT, DONE]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0][0] == "-" else "",
)
def test_what_was_not_run_stays_pending(project, run, words, code, expected):
    broken_in_the_middle(project)
    done = run(*words)
    assert done.ret == code
    assert [*statuses(project).values()] == expected
    manifest = project.manifest()
    assert manifest["status"] == ("succeeded" if code == 0 else "failed")
    for entry in manifest["commands"]:
        if entry["status"] == LEFT:
            assert [entry[key] for key in ("started_at", "completed_at", "summary", "error_file")] == [
                None
            ] * 4


def test_what_was_cut_short_is_named_in_the_summary(project, run):
    project.pipeline({"id": "soft", "command": "exit 1", "allowFailure": True}, "true")
    assert run("-k", "soft").ret == 0
    assert project.manifest()["summary"].splitlines()[0] == "Partial run: 1 of 2 stages selected."
    broken_in_the_middle(project)
    assert run("-x").ret == 1
    assert project.manifest()["summary"].splitlines()[0] == "Stage 'TEST' failed with exit code 1."


def test_last_failed_runs_what_failed_and_only_that(project, run):
    broken_in_the_middle(project)
    assert run().ret == 1
    (project.root / "mended").touch()
    done = run("--lf")
    assert done.ret == 1
    assert [*statuses(project).values()] == [LEFT, DONE, LEFT, BAD, LEFT]
    assert run("--lf").ret == 1
    assert [*statuses(project).values()] == [LEFT, LEFT, LEFT, BAD, LEFT]


def test_last_failed_runs_everything_where_nothing_failed(project, run):
    project.pipeline("true", "true")
    assert run().ret == 0
    assert run("--lf").ret == 0
    assert [*statuses(project).values()] == [DONE, DONE]
    assert run("--lf", "--lfnf=none").ret == 5
    assert len(project.runs()) == 2


@pytest.mark.parametrize("option", ["--ff", "--nf"])
def test_options_that_reorder_tests_leave_the_declared_order(project, run, option):
    project.pipeline(
        {"command": "true"}, {"command": "exit 1", "needs": []}, {"command": "true", "needs": []}
    )
    assert run().ret == 1
    done = run(option, "-v")
    assert done.ret == 1
    assert started(project) == [1, 2, 3]
    done.stdout.re_match_lines([r"work::s1 PASSED", r"work::s2 FAILED", r"work::s3 PASSED"])


def test_stepwise_goes_on_where_it_stopped(project, run):
    broken_in_the_middle(project)
    assert run("--sw").ret == 2
    assert [*statuses(project).values()] == [DONE, BAD, LEFT, LEFT, LEFT]
    assert run("--sw").ret == 2
    assert [*statuses(project).values()] == [LEFT, BAD, LEFT, LEFT, LEFT]
    (project.root / "mended").touch()
    assert run("--sw").ret == 2
    assert [*statuses(project).values()] == [LEFT, DONE, DONE, BAD, LEFT]


def test_without_the_cache_everything_runs(project, run):
    project.pipeline("true", "true")
    before = {path.name for path in project.root.iterdir()}
    assert run("-p", "no:cacheprovider").ret == 0
    assert [*statuses(project).values()] == [DONE, DONE]
    assert {path.name for path in project.root.iterdir()} == before | {".runs", "out"}


def test_a_selection_shows_in_collect_only(project, run):
    broken_in_the_middle(project)
    done = run("--collect-only", "-q", "-k", "docs or lint")
    assert done.outlines[:2] == ["work::docs", "work::lint"]
    done.stdout.fnmatch_lines(["2/5 tests collected (3 deselected)*"])
    assert not (project.root / ".runs").exists()
