"""Stages that are pipelines: runs of their own, and items of the same session."""

from __future__ import annotations

import json
import signal
import xml.etree.ElementTree as ET

import pytest

from tests.support.invariants import broken, manifests
from tests.support.projects import command
from tests.support.runs import by_pipeline, statuses_in

UNTIL_OK = "test -e ok"


def sub(pipeline: str, name: str | None = None, **keys) -> dict:
    """A stage that runs a pipeline; its id is the pipeline's where no other is given."""
    return {"kind": "subpipeline", "id": name or pipeline, "pipeline": pipeline, **keys}


def deep(project, last: str = "true") -> None:
    """Four pipelines, each in the next."""
    project.pipelines(
        work=[command("first"), sub("outer", "nested"), command("last")],
        outer=[sub("middle"), command("o")],
        middle=[command("m"), sub("inner")],
        inner=[command("i"), command("j", last)],
    )


def test_each_is_a_run_of_its_own_at_any_depth(project):
    deep(project)
    assert project.start("work").exit_code == 0
    runs = by_pipeline(project)
    for above, below, stage in (
        ("work", "outer", "nested"),
        ("outer", "middle", "middle"),
        ("middle", "inner", "inner"),
    ):
        parent, child = runs[above], runs[below]
        assert child["parent_run_id"] == parent["run_id"]
        assert child["task_id"] == "task-1"
        entry = next(entry for entry in parent["commands"] if entry["id"] == stage)
        assert (entry["kind"], entry["status"], entry["sub_run_id"]) == (
            "subpipeline",
            "succeeded",
            child["run_id"],
        )
        assert parent["child_runs"] == [
            {
                "run_id": child["run_id"],
                "pipeline_id": below,
                "status": "succeeded",
                "manifest": f"{child['artifact_root']}/manifest.json",
            }
        ]
    assert runs["work"]["parent_run_id"] is None
    assert json.loads(project.cli("status", "--format", "json").stdout)["run_id"] == runs["work"]["run_id"]
    assert broken(project.root) == []


def test_their_stages_are_items_of_one_session(project):
    deep(project, "echo why >&2; exit 3")
    listed = project.pytest("--codex-pipeline", "work", "--collect-only", "-q")
    ids = [line for line in listed.stdout.splitlines() if "::" in line]
    assert ids == [
        "work::first",
        "work::nested::middle::m",
        "work::nested::middle::inner::i",
        "work::nested::middle::inner::j",
        "work::nested::o",
        "work::last",
    ]
    done = project.pytest("--codex-pipeline", "work", "-rA", "--junit-xml=junit.xml")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert {"PASSED work::first", "PASSED work::nested::middle::inner::i"} <= set(lines)
    assert any(line.startswith("FAILED work::nested::middle::inner::j") for line in lines)
    cases = ET.parse(project.root / "junit.xml").getroot().iter("testcase")
    skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
    assert sorted(skipped) == ["last", "o"]
    assert broken(project.root) == []


def test_a_failure_comes_up_through_every_parent(project):
    deep(project, UNTIL_OK)
    run = project.start("work")
    assert run.exit_code == 1
    runs = by_pipeline(project)
    assert {name: (run["status"], run["status_detail"]) for name, run in runs.items()} == {
        "work": ("failed", "subpipeline:outer:failed"),
        "outer": ("failed", "subpipeline:middle:failed"),
        "middle": ("failed", "subpipeline:inner:failed"),
        "inner": ("failed", "stage:j:failed"),
    }
    assert runs["work"]["summary"].splitlines()[0] == "Sub-pipeline 'outer' failed."
    assert statuses_in(runs["work"]) == {"first": "succeeded", "nested": "failed", "last": "pending"}
    assert broken(project.root) == []

    (project.root / "ok").touch()
    assert project.resume().exit_code == 0
    assert set(manifests(project.root)) == {run["run_id"] for run in runs.values()}
    after = by_pipeline(project)
    assert {run["status"] for run in after.values()} == {"succeeded"}
    assert len(after["inner"]["resume_events"]) == 1
    assert broken(project.root) == []


def test_what_does_not_depend_on_a_failed_child_still_runs(project):
    project.pipelines(
        work=[sub("inner"), command("after"), command("aside", needs=[]), sub("other", needs=[])],
        inner=[command("i", "false")],
        other=[command("x")],
    )
    assert project.start("work").exit_code == 1
    runs = by_pipeline(project)
    assert statuses_in(runs["work"]) == {
        "inner": "failed",
        "after": "pending",
        "aside": "succeeded",
        "other": "succeeded",
    }
    assert broken(project.root) == []


def test_a_child_that_nothing_can_reach_is_never_opened(project):
    project.pipelines(work=[command("a", UNTIL_OK), sub("inner")], inner=[command("i"), command("j")])
    run = project.start("work")
    assert run.exit_code == 1
    assert list(by_pipeline(project)) == ["work"]
    assert run.manifest["child_runs"] == []
    assert run.entry("inner")["sub_run_id"] is None
    skipped = [event["stage_id"] for event in run.events() if event["type"] == "stage:skipped"]
    assert skipped == ["inner"]
    (project.root / "ok").touch()
    assert project.resume().exit_code == 0
    assert broken(project.root) == []


def test_one_pipeline_may_run_twice_in_another(project):
    project.pipelines(
        work=[sub("inner", "one"), sub("inner", "two")],
        inner=[command("i", "echo $CODEX_ORCHESTRATOR_RUN_ID >> ids")],
    )
    run = project.start("work")
    assert run.exit_code == 0
    ids = [run.entry(name)["sub_run_id"] for name in ("one", "two")]
    assert (
        (project.root / "ids").read_text().split() == ids == [c["run_id"] for c in run.manifest["child_runs"]]
    )
    assert broken(project.root) == []


@pytest.mark.parametrize("way", ["cli", "pytest"])
def test_an_optional_child_fails_alone_at_any_depth(project, way):
    project.pipelines(
        work=[sub("middle", optional=True), command("last")],
        middle=[sub("inner"), command("m")],
        inner=[command("i", "false"), command("j")],
    )
    words = ("start", "work") if way == "cli" else ("--codex-pipeline", "work", "-rs")
    done = project.cli(*words) if way == "cli" else project.pytest(*words)
    assert done.returncode == 0, done.stdout
    runs = by_pipeline(project)
    assert statuses_in(runs["work"]) == {"middle": "skipped", "last": "succeeded"}
    assert (runs["middle"]["status"], runs["inner"]["status"]) == ("failed", "failed")
    assert "optional" in done.stdout
    assert broken(project.root) == []


def test_the_parent_knows_its_child_while_that_runs(project, live):
    project.pipelines(work=[sub("inner")], inner=[command("i", live.GATE)])
    running = live.start("work")
    live.until((project.root / "pid").exists, "the stage of the child")
    runs = by_pipeline(project)
    parent, child = runs["work"], runs["inner"]
    (entry,) = parent["commands"]
    assert (entry["status"], entry["sub_run_id"]) == ("running", child["run_id"])
    assert [known["status"] for known in parent["child_runs"]] == ["in_progress"]
    for run in (parent, child):
        answer = project.cli("status", "--run", run["run_id"], "--format", "json")
        assert json.loads(answer.stdout)["liveness"] == "alive"
    # Nobody else takes it up while it lives.
    assert project.cli("resume", "--run", child["run_id"]).returncode == 75
    running.open_gate()
    assert running.finish()[0] == 0
    assert broken(project.root) == []


@pytest.mark.parametrize("last", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_whatever_ends_the_session_the_lineage_is_whole_and_a_resume_goes_on(project, live, last):
    project.pipelines(
        work=[command("a", "echo a >> ran"), sub("inner"), command("z", "echo z >> ran")],
        inner=[
            command("i", "echo i >> ran"),
            command("j", f"test -e ok || {{ {live.GATE}; }}; echo j >> ran"),
        ],
    )
    running = live.start("work")
    left = running.stage_pid()
    running.signal(last)
    assert running.finish()[0] == (-last if last == signal.SIGKILL else 128 + last)
    live.until(lambda: not live.is_alive(left), "the end of the stage")
    runs = by_pipeline(project)
    assert runs["inner"]["parent_run_id"] == runs["work"]["run_id"]
    (child,) = runs["work"]["child_runs"]
    assert (child["run_id"], child["status"]) == (runs["inner"]["run_id"], runs["inner"]["status"])
    if last == signal.SIGTERM:
        assert (runs["work"]["status"], runs["inner"]["status"]) == ("cancelled", "cancelled")
        assert broken(project.root) == []

    (project.root / "ok").touch()
    assert project.resume().exit_code == 0
    assert (project.root / "ran").read_text().split() == ["a", "i", "j", "z"]
    assert by_pipeline(project).keys() == runs.keys()
    assert broken(project.root) == []


def test_a_child_whose_end_the_parent_did_not_see_is_not_run_again(project):
    """The owner was killed between the end of the child and that of the parent's stage."""
    project.pipelines(
        work=[sub("inner"), command("z", UNTIL_OK)],
        inner=[
            command("i", "echo i >> ran"),
            command(
                "j", f'cp "{project.root}/.runs/task-1/cli/"*/manifest.json kept; false', allowFailure=True
            ),
            command(
                "k",
                'cd "$CODEX_ORCHESTRATOR_RUNS_DIR/task-1/cli"; cp "$(ls | head -1)/manifest.json" ../kept',
            ),
        ],
    )
    run = project.start("work")
    assert run.exit_code == 1
    lines = (run.folder / "runner.ndjson").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["type"] in ("run:started", "child:changed")][:3]
    (run.folder / "runner.ndjson").write_bytes(b"".join(kept))
    (project.root / ".runs/task-1/kept").rename(run.folder / "manifest.json")
    assert run.entry("inner")["status"] == "running"
    (project.root / "ok").touch()
    again = project.resume()
    assert again.exit_code == 0, again.stderr
    assert (project.root / "ran").read_text().split() == ["i"]
    assert again.entry("inner")["status"] == "succeeded"
    assert broken(project.root) == []


def test_a_changed_pipeline_of_a_child_is_refused_before_anything_runs(project):
    def define(line: str) -> None:
        project.pipelines(
            work=[command("a", f"echo a >> ran; {UNTIL_OK}"), sub("inner", needs=[]), sub("done", needs=[])],
            inner=[command("i"), sub("below")],
            below=[command("x", line)],
            done=[command("d", f"true {line}")],
        )

    define("exit 3")
    run = project.start("work")
    assert run.exit_code == 1
    # The child that succeeded may change: nothing of it is run again.
    define("exit 0")
    (project.root / "ok").touch()
    before = (run.folder / "manifest.json").read_bytes()
    for done, code in (
        (project.cli("resume", "--run", "latest"), 2),
        (project.pytest("--codex-resume", "latest"), 4),
    ):
        assert done.returncode == code
        said = done.stdout + done.stderr
        assert 'pipeline "below" of stage "below": stage "x": command is different' in said
        assert "done" not in said
    assert (run.folder / "manifest.json").read_bytes() == before
    assert (project.root / "ran").read_text().split() == ["a"]
    assert project.resume("--accept-changes").exit_code == 0
    assert broken(project.root) == []


def test_a_stage_that_runs_another_pipeline_now_gets_another_run(project):
    project.pipelines(work=[sub("inner", "sub")], inner=[command("i", "false")], other=[command("o")])
    run = project.start("work")
    first = run.entry("sub")["sub_run_id"]
    project.pipelines(work=[sub("other", "sub")], inner=[command("i", "false")], other=[command("o")])
    assert 'stage "sub": pipeline is different' in project.cli("resume", "--run", "latest").stderr
    again = project.resume("--accept-changes")
    assert again.exit_code == 0
    second = again.entry("sub")["sub_run_id"]
    assert second != first
    assert [child["run_id"] for child in again.manifest["child_runs"]] == [first, second]
    assert broken(project.root) == []


@pytest.mark.parametrize("named", ["../../../elsewhere", "", "2026-01-01T00-00-00-000Z-00000000"], ids=repr)
def test_a_child_that_is_not_there_is_made_anew(project, named):
    project.pipelines(work=[sub("inner")], inner=[command("i", UNTIL_OK)])
    run = project.start("work")
    manifest = run.manifest
    gone = manifest["commands"][0]["sub_run_id"]
    manifest["commands"][0]["sub_run_id"] = named
    manifest["child_runs"] = []
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    log = run.folder / "runner.ndjson"
    log.write_bytes(b"".join(line for line in log.read_bytes().splitlines(True) if gone.encode() not in line))
    (project.root / "ok").touch()
    again = project.resume()
    assert again.exit_code == 0, again.stderr
    assert again.entry("inner")["sub_run_id"] not in (named, gone)


def test_a_child_whose_manifest_is_broken_is_said_before_anything_runs(project):
    project.pipelines(
        work=[command("a", f"echo a >> ran; {UNTIL_OK}"), sub("inner", needs=[])], inner=["false"]
    )
    run = project.start("work")
    child = run.folder.parent / run.entry("inner")["sub_run_id"] / "manifest.json"
    child.write_text("{}")
    done = project.cli("resume", "--run", "latest")
    assert done.returncode == 2
    assert str(child) in done.stderr
    assert (project.root / "ran").read_text().split() == ["a"]


def test_a_child_that_somebody_else_has_taken_up_fails_the_stage(project, live):
    project.pipelines(
        work=[sub("inner"), command("z")],
        inner=[command("i", f"{UNTIL_OK} || exit 1; {live.GATE}")],
    )
    run = project.start("work")
    assert run.exit_code == 1
    (project.root / "ok").touch()
    child = run.entry("inner")["sub_run_id"]
    other = live.resume(run.folder.parent / child)
    live.until((project.root / "pid").exists, "the stage of the child")

    again = project.resume()
    assert again.exit_code == 1
    assert again.manifest["status_detail"] == "subpipeline:inner:error"
    assert again.manifest["summary"].startswith("Sub-pipeline error: A live process owns the run")
    assert again.entry("inner")["sub_run_id"] == child

    other.open_gate()
    assert other.finish()[0] == 0
    assert project.resume().exit_code == 0
    assert broken(project.root) == []
