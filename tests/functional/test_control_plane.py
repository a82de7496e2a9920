"""Requests: recorded in every run, and in enforce mode the end of a run whose request is not valid."""

from __future__ import annotations

import json

import pytest

from codex_orchestrator.evidence.artefacts import check_file
from tests.support.environment import needs_xdist
from tests.support.invariants import broken
from tests.support.projects import named
from tests.support.runs import ran

ENFORCE = {"CODEX_CONTROL_PLANE_MODE": "enforce"}
REFUSED = "control-plane-validation-failed"
BLANK = "must be a text that is not blank"
# A blank title is a title, as far as the definition's own validation goes.
POOR = {"title": " "}
LINE = f"Control plane validation failed: $.pipeline.stages[1].title {BLANK}."


def drift(project) -> dict:
    return json.loads((project.root / "out/task-1/control-plane/drift.json").read_bytes())


def poor_second_stage(project, **keys) -> None:
    project.pipeline("echo a >> ran", {"command": "echo b >> ran", **POOR}, "echo c >> ran", **keys)


def is_refused(run) -> None:
    """A run that has run nothing, and says why."""
    manifest = run.manifest
    assert (manifest["status"], manifest["status_detail"]) == ("failed", REFUSED)
    assert manifest["summary"].splitlines()[0] == LINE
    assert {entry["status"] for entry in manifest["commands"]} == {"pending"}
    assert manifest["metrics_recorded"] is True
    assert not [event for event in run.events() if event["type"].startswith(("command:", "exec:"))]


# ------------------------------------------------------------------ recorded


@pytest.mark.parametrize("setting", [{}, {"CODEX_CONTROL_PLANE_ENFORCE": "on"}])
def test_a_valid_request_is_recorded_and_the_run_goes_on_in_either_mode(project, setting):
    project.pipeline("true", tags=["ci"])
    run = project.start("work", environment=setting)
    assert run.exit_code == 0
    mode = "enforce" if setting else "shadow"
    started = run.manifest["started_at"]
    assert run.manifest["control_plane"] == {
        "schema_id": "codex.control-plane.run-request",
        "schema_version": "2.0.0",
        "request_id": run.answer["run_id"],
        "validation": {"mode": mode, "status": "passed", "timestamp": started, "errors": []},
        "drift": {
            "report_path": "out/task-1/control-plane/drift.json",
            "total_samples": 1,
            "invalid_samples": 0,
            "invalid_rate": 0.0,
            "last_sampled_at": started,
            "mode": mode,
        },
        "enforcement": {"enabled": bool(setting), "activated_at": started if setting else None},
    }
    assert list(run.manifest).index("control_plane") == list(run.manifest).index("guardrails_required") + 1


def test_in_shadow_what_is_wrong_is_recorded_and_the_run_goes_on(project):
    poor_second_stage(project, tags=[""])
    run = project.start("work")
    assert run.exit_code == 0
    assert ran(project) == ["a", "b", "c"]
    assert (run.manifest["status_detail"], "Control plane" in run.manifest["summary"]) == (None, False)
    control_plane = run.manifest["control_plane"]
    assert (control_plane["validation"]["mode"], control_plane["validation"]["status"]) == (
        "shadow",
        "failed",
    )
    assert control_plane["validation"]["errors"] == [
        {"path": path, "message": BLANK}
        for path in (
            "$.task.tags[0]",
            "$.pipeline.capabilities[0]",
            "$.pipeline.stages[1].title",
            "$.schedule.fanOut[0].capability",
        )
    ]
    summary = json.loads((run.folder / "run-summary.json").read_bytes())["controlPlane"]
    assert list(summary) == ["schemaId", "schemaVersion", "requestId", "validation", "drift", "enforcement"]
    assert summary["validation"] == control_plane["validation"]
    assert list(summary["drift"])[:3] == ["reportPath", "totalSamples", "invalidSamples"]
    assert list(summary["drift"].values()) == list(control_plane["drift"].values())
    line = json.loads((project.root / ".runs/task-1/metrics.json").read_bytes())
    assert line["control_plane_status"] == "failed"
    assert broken(project.root) == []


def test_the_report_counts_all_runs_of_the_task(project):
    project.pipeline("true")
    project.start("work")
    poor_second_stage(project)
    poor = project.start("work")
    refused = project.start("work", environment=ENFORCE)
    project.pipeline("false")
    last = project.start("work")
    report = drift(project)
    assert (report["total_samples"], report["invalid_samples"], report["invalid_rate"]) == (4, 2, 0.5)
    assert (report["mode"], report["last_sampled_at"]) == ("shadow", last.manifest["started_at"])
    assert [(entry["request_id"], entry["mode"]) for entry in report["entries"]] == [
        (poor.answer["run_id"], "shadow"),
        (refused.answer["run_id"], "enforce"),
    ]
    seen = last.manifest["control_plane"]["drift"]
    assert seen == {key: report.get(key, seen["report_path"]) for key in seen}
    assert broken(project.root) == []


# ------------------------------------------------------------------ refused


def test_in_enforce_mode_nothing_of_a_run_is_run_whose_request_is_not_valid(project):
    poor_second_stage(project)
    run = project.start("work", environment=ENFORCE)
    assert run.exit_code == 1
    is_refused(run)
    assert ran(project) == []
    assert run.manifest["control_plane"]["validation"]["errors"] == [
        {"path": "$.pipeline.stages[1].title", "message": BLANK}
    ]
    assert run.manifest["control_plane"]["enforcement"] == {
        "enabled": True,
        "activated_at": run.manifest["started_at"],
    }
    skipped = [event for event in run.events() if event["type"] == "stage:skipped"]
    assert {event["reason"] for event in skipped} == {"blocked by the control plane"}
    assert "skipped, blocked: work was refused by the control plane" in run.stderr
    assert (drift(project)["total_samples"], drift(project)["invalid_samples"]) == (1, 1)
    for path in sorted((project.root / "out").rglob("*")):
        assert not path.is_file() or check_file(path).problems == ()
    assert broken(project.root) == []


@pytest.mark.parametrize(
    "words", [["--codex-jobs", "3"], pytest.param(["-n", "2"], marks=needs_xdist), ["-x"]], ids=" ".join
)
def test_under_pytest_too_and_with_stages_at_once(project, words):
    project.pipeline(
        {"command": "echo a >> ran", "needs": []}, {"command": "echo b >> ran", "needs": [], **POOR}
    )
    done = project.pytest("--codex-pipeline=work", "--junitxml=j.xml", *words, environment=ENFORCE)
    assert done.returncode == 1, done.stdout
    assert ("1 failed in" if words == ["-x"] else "1 failed, 1 skipped in") in done.stdout
    why = f"Control plane validation failed: $.pipeline.stages[1].title {BLANK}"
    assert why in done.stdout
    junit = (project.root / "j.xml").read_text()
    assert 'failures="1"' in junit
    assert why in junit
    assert (project.manifest()["status_detail"], ran(project)) == (REFUSED, [])
    assert broken(project.root) == []


def test_what_a_plugin_makes_of_a_pipeline_is_held_to_it(project):
    (project.root / "shaper.py").write_text(
        "from dataclasses import replace\n"
        "def pytest_codex_modify_pipeline(pipeline):\n"
        "    first, *others = pipeline.stages\n"
        "    return replace(pipeline, stages=(first, *(replace(each, title=' ') for each in others)))\n"
    )
    project.write(
        {
            "plugins": ["shaper"],
            "pipelines": [
                {"id": "work", "title": "Work", "stages": named(["echo a >> ran", "echo b >> ran"])}
            ],
        }
    )
    assert project.start("work").exit_code == 0
    assert ran(project) == ["a", "b"]
    run = project.start("work", environment=ENFORCE)
    assert run.exit_code == 1
    is_refused(run)
    assert ran(project) == ["a", "b"]


def test_nobody_is_asked_for_an_approval_in_a_run_that_is_refused(project):
    project.pipeline({"kind": "manual", "id": "gate"}, {"command": "true", **POOR})
    assert project.cli("start", "work").returncode == 3
    run = project.start("work", environment=ENFORCE)
    assert run.exit_code == 1
    is_refused(run)


# ------------------------------------------------------------------ nested


def nested(project, *, inner, optional=False, **outer) -> None:
    """``a``, the pipeline ``inner``, ``c``."""
    sub = {"id": "sub", "kind": "subpipeline", "pipeline": "inner", "optional": optional}
    project.pipelines(
        work=[{"command": "echo a >> ran", **outer}, sub, "echo c >> ran"],
        inner=[{"command": "echo i >> ran", **inner}, "echo j >> ran"],
    )


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("optional", [False, True])
def test_a_sub_pipeline_is_refused_by_itself(project, optional, jobs):
    nested(project, inner=POOR, optional=optional)
    run = project.start("work", "--jobs", jobs, environment=ENFORCE)
    assert run.exit_code == (0 if optional else 1), run.stderr
    assert ran(project) == (["a", "c"] if optional else ["a"])
    (child,) = run.manifest["child_runs"]
    below = json.loads((project.root / child["manifest"]).read_bytes())
    assert (below["status"], below["status_detail"]) == ("failed", REFUSED)
    assert "$.pipeline.stages[0].title" in below["summary"].splitlines()[0]
    assert run.entry("sub")["status"] == ("skipped" if optional else "failed")
    assert run.manifest["status_detail"] == (None if optional else "subpipeline:inner:failed")
    assert run.manifest["control_plane"]["validation"]["status"] == "passed"
    assert (drift(project)["total_samples"], drift(project)["invalid_samples"]) == (2, 1)
    assert broken(project.root) == []


def test_a_run_that_is_refused_opens_no_runs(project):
    nested(project, inner={}, **POOR)
    run = project.start("work", environment=ENFORCE)
    assert (run.exit_code, run.manifest["status_detail"]) == (1, REFUSED)
    assert (run.manifest["child_runs"], len(project.runs()), ran(project)) == ([], 1, [])
    assert broken(project.root) == []


# ------------------------------------------------------------------ resumed


def test_a_run_that_was_refused_goes_on_where_it_is_not_enforced(project):
    poor_second_stage(project)
    is_refused(project.start("work", environment=ENFORCE))
    again = project.resume(environment=ENFORCE)
    assert again.exit_code == 1
    is_refused(again)
    assert drift(project)["total_samples"] == 1
    last = project.resume()
    assert last.exit_code == 0, last.stderr
    assert ran(project) == ["a", "b", "c"]
    control_plane = last.manifest["control_plane"]
    assert (control_plane["validation"]["mode"], control_plane["validation"]["status"]) == (
        "shadow",
        "failed",
    )
    assert control_plane["validation"]["timestamp"] == last.manifest["resume_events"][-1]["timestamp"]
    assert control_plane["enforcement"] == {"enabled": False, "activated_at": None}
    assert "Control plane" not in last.manifest["summary"]
    assert (drift(project)["total_samples"], drift(project)["mode"]) == (1, "shadow")
    assert broken(project.root) == []


def test_a_run_that_was_refused_goes_on_once_its_definition_is_mended(project):
    poor_second_stage(project)
    is_refused(project.start("work", environment=ENFORCE))
    project.pipeline("echo a >> ran", "echo b >> ran", "echo c >> ran")
    again = project.resume("--accept-changes", environment=ENFORCE)
    assert again.exit_code == 0, again.stderr
    assert again.manifest["control_plane"]["validation"]["status"] == "passed"
    assert (drift(project)["total_samples"], drift(project)["invalid_samples"]) == (1, 0)


def test_a_run_that_is_refused_when_it_is_resumed_keeps_what_had_succeeded(project):
    project.pipeline("echo a >> ran", {"command": "echo b >> ran; false", **POOR})
    assert project.start("work").exit_code == 1
    again = project.resume(environment=ENFORCE)
    assert again.exit_code == 1
    assert (again.manifest["status"], again.manifest["status_detail"]) == ("failed", REFUSED)
    assert [entry["status"] for entry in again.manifest["commands"]] == ["succeeded", "pending"]
    assert ran(project) == ["a", "b"]
    assert broken(project.root) == []


# ------------------------------------------------------------------ whoever dies


@pytest.mark.parametrize(
    ("pending", "record"),
    [
        ("runs.pending", "runs.ndjson"),
        # Earlier versions left the sample in a file of its own.
        ("control-plane/samples.pending", "control-plane/samples.ndjson"),
    ],
)
def test_what_a_run_could_not_merge_is_merged_by_the_next(project, pending, record):
    poor_second_stage(project)
    dead = project.start("work")
    out = project.root / "out/task-1"
    # As if it had died before it could have the lock.
    pending = out / pending / f"{dead.answer['run_id']}.json"
    pending.parent.mkdir(exist_ok=True)
    pending.write_bytes((out / record).read_bytes())
    for name in ("samples.ndjson", "drift.json"):
        (out / "control-plane" / name).unlink()
    project.pipeline("true")
    assert project.start("work").exit_code == 0
    assert (drift(project)["total_samples"], drift(project)["invalid_samples"]) == (2, 1)
    assert not any(pending.parent.iterdir())
    assert broken(project.root) == []
