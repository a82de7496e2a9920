"""Runs that start runs: who knows of whom, whoever ends or dies first."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.support.processes import is_alive, processes_in, until

START = f"{sys.executable} -m codex_orchestrator start"
LEAF = {
    "id": "leaf",
    "title": "Leaf",
    "stages": [{"kind": "command", "id": "l", "title": "L", "command": "true"}],
}


def pipelines(project, **commands):
    """Define a pipeline of one stage for each command line, and `leaf`."""
    project.write(
        {
            "pipelines": [
                LEAF,
                *(
                    {
                        "id": name,
                        "title": name.title(),
                        "stages": [{"kind": "command", "id": "s", "title": "S", "command": command}],
                    }
                    for name, command in commands.items()
                ),
            ]
        }
    )


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def manifest_of(folder):
    return read(folder / "manifest.json")


def by_pipeline(project, task="task-1"):
    """The run folders of a task by pipeline; the tests that use it run each pipeline once."""
    return {manifest_of(folder)["pipeline_id"]: folder for folder in project.runs(task)}


def records_of(folder):
    return [read(path) for path in sorted((folder / "children").glob("*.json"))]


def assert_agree(project, folder):
    """What a run says of its children is what they say, and all of its files are as they should be."""
    manifest = manifest_of(folder)
    for child in manifest["child_runs"]:
        own = read(project.root / child["manifest"])
        assert child == {
            "run_id": own["run_id"],
            "pipeline_id": own["pipeline_id"],
            "status": own["status"],
            "manifest": child["manifest"],
        }
        assert own["parent_run_id"] == manifest["run_id"]
    done = project.cli("validate", str(folder))
    assert done.returncode == 0, done.stdout
    assert not list(folder.rglob("*.tmp*"))


@pytest.mark.parametrize("way", ["start", "pytest"])
def test_a_run_of_a_stage_is_a_child_in_its_own_repo_and_in_others_at_any_depth(project, tmp_path, way):
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=other, check=True)
    (other / "codex.orchestrator.json").write_text(json.dumps({"pipelines": [{**LEAF, "id": "abroad"}]}))
    inner = f"{sys.executable} -m pytest --codex-pipeline mid" if way == "pytest" else f"{START} mid"
    project.write(
        {
            "pipelines": [
                LEAF,
                {
                    "id": "outer",
                    "title": "Outer",
                    "stages": [
                        {"kind": "command", "id": "a", "title": "A", "command": inner},
                        {
                            "kind": "command",
                            "id": "b",
                            "title": "B",
                            "command": f"cd {other} && {START} abroad --task t2",
                        },
                    ],
                },
                {
                    "id": "mid",
                    "title": "Mid",
                    "stages": [
                        {"kind": "subpipeline", "id": "sub", "title": "Sub", "pipeline": "below"},
                        {"kind": "command", "id": "c", "title": "C", "command": f"{START} leaf"},
                    ],
                },
                {**LEAF, "id": "below"},
            ]
        }
    )
    done = project.cli("start", "outer") if way == "start" else project.pytest("--codex-pipeline", "outer")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = by_pipeline(project)
    (abroad,) = (other / ".runs/t2/cli").glob("*")
    ids = {name: folder.name for name, folder in (*runs.items(), ("abroad", abroad))}

    def children(name):
        return [(child["pipeline_id"], child["status"]) for child in manifest_of(runs[name])["child_runs"]]

    assert children("outer") == [("mid", "succeeded"), ("abroad", "succeeded")]
    assert children("mid") == [("below", "succeeded"), ("leaf", "succeeded")]
    assert manifest_of(runs["outer"])["parent_run_id"] is None
    assert manifest_of(abroad)["parent_run_id"] == ids["outer"]
    assert manifest_of(runs["outer"])["child_runs"][1]["manifest"] == (
        f"../other/.runs/t2/cli/{ids['abroad']}/manifest.json"
    )
    for name in ("outer", "mid"):
        assert_agree(project, runs[name])
    assert records_of(runs["outer"]) == manifest_of(runs["outer"])["child_runs"]
    # A sub-pipeline's run is of the same session, which needs no word from it.
    assert [record["pipeline_id"] for record in records_of(runs["mid"])] == ["leaf"]
    assert not (runs["below"] / "children").exists()

    rows = {row["pipeline_id"]: row for row in json.loads(project.cli("runs", "--format=json").stdout)}
    assert {name: row["parent_run_id"] for name, row in rows.items()} == {
        "outer": None,
        "mid": ids["outer"],
        "below": ids["mid"],
        "leaf": ids["mid"],
    }
    document = json.loads(project.cli("status", "--format=json").stdout)
    assert document["child_runs"] == manifest_of(runs["outer"])["child_runs"]
    assert (
        "Child runs:\n"
        f"  [succeeded] {ids['mid']} (mid)\n"
        f"    [succeeded] {ids['below']} (below)\n"
        f"    [succeeded] {ids['leaf']} (leaf)\n"
        f"  [succeeded] {ids['abroad']} (abroad)\n"
    ) in project.cli("status").stdout
    changes = [
        (event["child_run_id"], event["status"])
        for event in map(json.loads, (runs["outer"] / "runner.ndjson").read_text().splitlines())
        if event["type"] == "child:changed"
    ]
    assert changes == [(ids["mid"], "succeeded"), (ids["abroad"], "succeeded")]


def test_a_failed_child_is_one_whatever_its_parent_makes_of_it(project):
    pipelines(project, outer=f"{START} broken || true", broken="exit 3")
    run = project.start("outer")
    assert run.manifest["status"] == "succeeded"
    assert [child["status"] for child in run.manifest["child_runs"]] == ["failed"]
    assert_agree(project, run.folder)


def test_a_parent_that_is_named_counts_more_than_the_one_around(project):
    pipelines(project, outer=f"{START} leaf --parent-run $OTHER")
    other = project.start("leaf")
    run = project.start("outer", environment={"OTHER": other.answer["run_id"]})
    assert run.exit_code == 0
    assert run.manifest["child_runs"] == []
    (child,) = other.manifest["child_runs"]
    assert child["status"] == "succeeded"
    assert_agree(project, other.folder)


def test_a_parent_named_by_hand_is_found_under_any_task_and_keeps_what_it_says(project):
    pipelines(project)
    parent = project.start("leaf", "--task", "their-task")
    before = {**parent.manifest, "issue_provider": None, "runtime": {"of": "another tool"}}
    (parent.folder / "manifest.json").write_text(json.dumps(before))
    child = project.start("leaf", "--parent-run", parent.answer["run_id"])
    assert child.manifest["parent_run_id"] == parent.answer["run_id"]
    after = parent.manifest
    assert after.pop("child_runs") == records_of(parent.folder)
    assert after.pop("updated_at") >= before["updated_at"]
    assert after == {key: value for key, value in before.items() if key not in ("child_runs", "updated_at")}


def test_latest_names_the_latest_run_without_a_parent(project):
    pipelines(project)
    first = project.start("leaf")
    for way in (("start", "leaf", "--parent-run"), ("pytest", "leaf")):
        if way[0] == "start":
            assert project.cli(*way, "latest").returncode == 0
        else:
            assert project.pytest("--codex-pipeline", "leaf", "--codex-parent-run=latest").returncode == 0
        assert project.manifest()["parent_run_id"] == first.answer["run_id"]
    assert len(first.manifest["child_runs"]) == 2
    assert_agree(project, first.folder)


FOREIGN = "2026-01-01T00-00-00-000Z-aaaaaaaa"


@pytest.mark.parametrize("place", ["missing", "another run's", "no run's"])
def test_a_parent_that_is_not_there_is_recorded_and_nothing_is_written(project, tmp_path, place):
    pipelines(project)
    folder = tmp_path / "far" / ".runs" / "t" / "cli" / FOREIGN
    if place != "missing":
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text('{"run_id": "other"}' if place == "another run's" else "torn {")
    found = sorted(tmp_path.rglob("far/**"))
    inherited = {
        "CODEX_ORCHESTRATOR_RUN_ID": FOREIGN,
        "CODEX_ORCHESTRATOR_RUN_DIR": str(folder),
        "CODEX_ORCHESTRATOR_ROOT": str(tmp_path / "far"),
    }
    run = project.start("leaf", environment=inherited)
    assert (run.exit_code, run.manifest["parent_run_id"]) == (0, FOREIGN)
    assert sorted(tmp_path.rglob("far/**")) == found
    named = project.start("leaf", "--parent-run", "nobody")
    assert (named.exit_code, named.manifest["parent_run_id"]) == (0, "nobody")
    assert len(project.runs()) == 2


def test_what_could_be_no_run_id_is_no_parent(project):
    pipelines(project)
    run = project.start("leaf", environment={"CODEX_ORCHESTRATOR_RUN_ID": "../climbs"})
    assert (run.exit_code, run.manifest["parent_run_id"]) == (0, None)
    done = project.cli("start", "leaf", "--parent-run", "../climbs")
    assert (done.returncode, len(project.runs())) == (2, 1)


def test_children_that_run_at_once_are_all_taken_up(project):
    at_once = "".join(f"{START} leaf & " for _ in range(5))
    pipelines(project, outer=f"{at_once} wait")
    run = project.start("outer")
    assert [child["status"] for child in run.manifest["child_runs"]] == ["succeeded"] * 5
    assert len({child["run_id"] for child in run.manifest["child_runs"]}) == 5
    assert_agree(project, run.folder)


def test_children_that_end_at_once_lose_nothing_where_nobody_owns_their_parent(project):
    pipelines(project)
    parent = project.start("leaf")
    command = [sys.executable, "-m", "codex_orchestrator", "start", "leaf", "--parent-run", "latest"]
    children = [
        subprocess.Popen(command, cwd=project.root, env=project.environment, stdout=subprocess.DEVNULL)
        for _ in range(5)
    ]
    assert [child.wait(timeout=100) for child in children] == [0] * 5
    assert [child["status"] for child in parent.manifest["child_runs"]] == ["succeeded"] * 5
    assert_agree(project, parent.folder)


def test_a_child_tells_of_its_end_after_its_parent_was_killed(project, live):
    pipelines(
        project,
        outer=f"test -e again || {{ touch again; {live.GATE}; }}",
        slow="echo up; : > there; cat through",
    )
    through = project.root / "through"
    subprocess.run(["mkfifo", str(through)], check=True)
    parent = live.start("outer")
    parent.has_printed("up")
    child = live.start("slow", "--parent-run", parent.run_id)
    child.has_printed("up")
    # While the parent lives, its manifest is its own.
    assert parent.manifest["child_runs"] == []
    assert [record["status"] for record in records_of(parent.folder)] == ["in_progress"]
    assert f"Child runs:\n  [in_progress, alive] {child.run_id} (slow)\n" in project.cli("status").stdout
    parent.process.kill()
    parent.finish()
    through.write_text("go\n")
    assert child.finish()[0] == 0
    manifest = parent.manifest
    assert (manifest["status"], [run["status"] for run in manifest["child_runs"]]) == (
        "in_progress",
        ["succeeded"],
    )
    assert_agree(project, parent.folder)
    done = project.cli("resume", "--run", parent.run_id)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [run["run_id"] for run in parent.manifest["child_runs"]] == [child.run_id]
    assert_agree(project, parent.folder)


def test_a_killed_child_is_dead_until_it_is_resumed(project):
    pipelines(
        project,
        outer=f"{START} victim; true",
        # The shell's parent is the orchestrator.
        victim="test -e again || { touch again; kill -9 $PPID; exec cat; }",
    )
    run = project.start("outer")
    victim = by_pipeline(project)["victim"]
    assert [child["status"] for child in run.manifest["child_runs"]] == ["in_progress"]
    assert f"Child runs:\n  [in_progress, dead] {victim.name} (victim)\n" in project.cli("status").stdout
    assert_agree(project, run.folder)
    assert project.cli("resume", "--run", victim.name).returncode == 0
    assert [child["status"] for child in run.manifest["child_runs"]] == ["succeeded"]
    assert records_of(run.folder) == run.manifest["child_runs"]
    assert f"  [succeeded] {victim.name} (victim)\n" in project.cli("status").stdout
    # Once more: there is nothing to do, and what the parent knows is still right.
    assert project.cli("resume", "--run", victim.name).returncode == 0
    assert_agree(project, run.folder)


def test_a_resumed_child_keeps_its_parent_wherever_it_is_resumed_from(project):
    pipelines(
        project,
        outer=f"{START} flaky || true",
        flaky="test -e fixed",
        later=f"{sys.executable} -m codex_orchestrator resume --run $CHILD",
    )
    first = project.start("outer")
    child = by_pipeline(project)["flaky"]
    assert [run["status"] for run in first.manifest["child_runs"]] == ["failed"]
    (project.root / "fixed").touch()
    second = project.start("later", environment={"CHILD": child.name})
    assert second.exit_code == 0
    assert second.manifest["child_runs"] == []
    assert manifest_of(child)["parent_run_id"] == first.answer["run_id"]
    assert [run["status"] for run in first.manifest["child_runs"]] == ["succeeded"]
    assert_agree(project, first.folder)


def test_a_child_left_in_the_background_gets_the_time_to_close_itself(project, live):
    # It takes two seconds to end, longer than the grace of processes that are no runs.
    pipelines(
        project,
        outer=f"{START} slow > /dev/null 2>&1 & until test -e there; do sleep 0.05; done",
        slow="trap 'sleep 2; exit 1' TERM; : > there; while :; do sleep 0.05; done",
    )
    run = project.start("outer")
    assert run.manifest["status"] == "succeeded"
    assert "Ended what stages left running: " in run.manifest["summary"]
    child = manifest_of(by_pipeline(project)["slow"])
    assert (child["status"], child["status_detail"]) == ("cancelled", "cancelled:SIGTERM")
    assert [run["status"] for run in run.manifest["child_runs"]] == ["cancelled"]
    assert_agree(project, run.folder)
    until(lambda: not processes_in(project.root), "the end of all processes")


def test_runs_below_a_cancelled_one_are_cancelled_with_it(project, live):
    pipelines(project, outer=f"{START} mid", mid=f"{START} slow", slow=live.GATE)
    outer = live.start("outer")
    until((project.root / "pid").exists, "the innermost stage")
    assert project.cli("cancel", "--run", outer.run_id).returncode == 0
    assert outer.finish()[0] == 143
    runs = by_pipeline(project)
    for name in ("outer", "mid", "slow"):
        assert manifest_of(runs[name])["status"] == "cancelled"
        assert_agree(project, runs[name])
    assert [len(manifest_of(runs[name])["child_runs"]) for name in ("outer", "mid", "slow")] == [1, 1, 0]


def test_the_tree_bears_with_runs_that_are_missing_broken_or_their_own_parents(project):
    pipelines(project, outer=f"{START} leaf")
    run = project.start("outer")
    runs = by_pipeline(project)
    path, leaf = run.folder / "manifest.json", runs["leaf"] / "manifest.json"
    itself = {**run.manifest["child_runs"][0], "run_id": run.folder.name, "manifest": run.answer["manifest"]}
    gone = {**itself, "run_id": "gone", "status": "failed", "manifest": ".runs/task-1/cli/gone/manifest.json"}
    torn = {**itself, "run_id": "torn", "manifest": ".runs/task-1/cli/torn/manifest.json"}
    (project.root / torn["manifest"]).parent.mkdir()
    (project.root / torn["manifest"]).write_text("{")
    odd = ["text", {"run_id": 1}, None]
    path.write_text(
        json.dumps({**run.manifest, "child_runs": [*run.manifest["child_runs"], itself, gone, torn, *odd]})
    )
    leaf.write_text(json.dumps({**read(leaf), "child_runs": [itself, gone]}))
    (run.folder / "children" / "stray.json").write_text("{")
    done = project.cli("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "Child runs:\n"
        f"  [succeeded] {runs['leaf'].name} (leaf)\n"
        "    [failed, missing] gone (leaf)\n"
        "  [succeeded, missing] torn (leaf)\n"
    ) in done.stdout
    assert len(json.loads(project.cli("status", "--format=json").stdout)["child_runs"]) == 7


def test_a_run_whose_stage_ignores_the_signal_closes_itself_all_the_same(project, live):
    # The outer stage is the inner run's process, and gets the same grace as the inner stage.
    pipelines(
        project,
        outer=f"exec {START} stubborn",
        stubborn="trap '' TERM; echo $$ > pid; exec cat gate",
    )
    outer = live.start("outer")
    pid = outer.stage_pid()
    outer.signal(signal.SIGTERM)
    assert outer.finish()[0] == 143
    child = manifest_of(by_pipeline(project)["stubborn"])
    assert (child["status"], child["status_detail"]) == ("cancelled", "cancelled:SIGTERM")
    assert [run["status"] for run in outer.manifest["child_runs"]] == ["cancelled"]
    assert not is_alive(pid)
    assert_agree(project, outer.folder)


def one_stage(name, command):
    return {"pipelines": [{**LEAF, "id": name, "stages": [{**LEAF["stages"][0], "command": command}]}]}


@pytest.mark.parametrize("way", ["start", "pytest"])
def test_a_project_inside_a_project_runs_its_own_pipeline(project, way):
    inner = project.root / "packages" / "foo"
    inner.mkdir(parents=True)
    (inner / "codex.orchestrator.json").write_text(json.dumps(one_stage("work", "echo foo > seen")))
    command = f"{START} work" if way == "start" else f"{sys.executable} -m pytest --codex-pipeline work"
    project.write(one_stage("work", f"cd packages/foo && {command}"))
    run = project.start("work")
    assert run.exit_code == 0, run.output
    assert (inner / "seen").read_text() == "foo\n"
    (child,) = run.manifest["child_runs"]
    assert child["manifest"].startswith("packages/foo/.runs/")
    assert_agree(project, run.folder)


@pytest.mark.parametrize("way", ["start", "pytest", "sub-pipeline"])
def test_a_pipeline_that_would_start_itself_is_refused(project, way):
    again = {"pytest": f"{sys.executable} -m pytest --codex-pipeline outer"}.get(way, f"{START} outer")
    sub = {"kind": "subpipeline", "id": "sub", "title": "Sub", "pipeline": "inner"}
    definitions = one_stage("inner", f"{again} > said 2>&1; echo $? > code")
    outer = {**LEAF, "id": "outer", "stages": [sub]}
    if way != "sub-pipeline":
        outer["stages"] = [{**LEAF["stages"][0], "command": f"{START} inner"}]
    project.write({"pipelines": [*definitions["pipelines"], outer]})
    run = project.start("outer")
    assert run.exit_code == 0
    assert (project.root / "code").read_text().strip() == ("4" if way == "pytest" else "2")
    ids = {name: folder.name for name, folder in by_pipeline(project).items()}
    lineage = f"outer ({ids['outer']}) > inner ({ids['inner']}) > outer"
    assert f'Pipeline "outer" would start itself: {lineage}.' in (project.root / "said").read_text()
    assert len(project.runs()) == 2


def test_a_circle_through_several_projects_ends(project, tmp_path):
    ring = [project.root, tmp_path / "b", tmp_path / "c"]
    for here, there in zip(ring, [*ring[1:], ring[0]], strict=True):
        here.mkdir(exist_ok=True)
        definitions = one_stage("work", f"cd {there} && {START} work --task t")
        (here / "codex.orchestrator.json").write_text(json.dumps(definitions))
    done = project.cli("start", "work", "--task", "t", environment={"CODEX_ORCHESTRATOR_RUNS_DIR": "kept"})
    assert done.returncode == 1
    (last,) = (ring[2] / ".runs/t/cli").glob("*")
    assert "would start itself" in (last / "runner.ndjson").read_text()
    assert [len(list((root / ".runs/t/cli").glob("*"))) for root in ring[1:]] == [1, 1]
