"""``verify``: whatever is tampered with is found and named, and nothing else is."""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path

import pytest

from codex_orchestrator.clock import SystemClock
from codex_orchestrator.evidence.lineage import ParentLink
from codex_orchestrator.evidence.manifests import load_manifest
from codex_orchestrator.evidence.sealing import seal_run
from codex_orchestrator.rules.layout import RunLayout
from tests.support.projects import Project, command
from tests.support.tampering import changed, edited, flaws_of, flipped, make_world, sealed_files

SAMPLE = 60
START = f"{sys.executable} -m codex_orchestrator start"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("world"))
    return project, make_world(project)


@pytest.fixture
def folder(world):
    project, run_id = world
    return project.root / ".runs/task-1/cli" / run_id


def named(project, path: Path) -> str:
    return path.relative_to(project.root).as_posix()


def names_it(project, path: Path) -> bool:
    return named(project, path) in {flaw.path for flaw in flaws_of(project)}


# ------------------------------------------------------------------ honest runs


def test_honest_runs_hold(world):
    project, run_id = world
    assert flaws_of(project) == []
    done = project.cli("verify", "--run", run_id)
    assert (done.returncode, done.stdout) == (0, f"run {run_id}: all holds\n")
    answer = json.loads(project.cli("verify", "--all", "--format=json").stdout)
    assert answer == {"holds": True, "runs": 4, "sealed": 4, "findings": []}


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (["true", "false", "true"], ()),
        (["true", "false", "true"], ("--keep-going",)),
        (["exit 3", "no-such-command"], ("--keep-going",)),
        (["seq 2000", "echo x", "echo y >&2"], ("--only", "s2")),
        ([command(name, f"test {name} != c", needs=[]) for name in "abc"], ("--jobs", "3")),
        ([command("a", "sleep 9", timeoutSeconds=0.1)], ()),
        ([command("a", "false", retries=2), "true"], ()),
        ([command("a", "(sleep 30; echo late) & echo now")], ()),
        (["kill -9 $$", "true"], ()),
        (['cd "$CODEX_ORCHESTRATOR_RUN_DIR"; echo x > extra.txt; ln -s x link; mkfifo pipe'], ()),
        (["kill -TERM $PPID; sleep 5"], ()),
        ([{"kind": "subpipeline", "id": "i", "pipeline": "inner", "optional": True}, "true"], ()),
    ],
)  # fmt: skip
def test_runs_of_all_shapes_hold(project, stages, words):
    project.pipelines(work=stages, inner=["echo inner", "false"])
    project.cli("start", "work", *words)
    assert flaws_of(project) == []
    project.cli("resume")
    assert flaws_of(project) == []
    project.cli("resume", "--token", "wrong")
    assert flaws_of(project) == []


def test_runs_that_stages_start_hold(project):
    project.pipelines(work=[f"{START} inner --task other", "false"], inner=["echo inner"])
    assert len(project.start("work").manifest["child_runs"]) == 1
    assert flaws_of(project) + flaws_of(project, "other") == []


@pytest.fixture
def late_child(project):
    """A child's record that was not there yet, or said that it goes on, when its parent was sealed."""

    def sealed(record: bytes | None) -> Path:
        project.pipelines(work=[f"{START} inner"], inner=["echo inner"])
        parent = project.start("work")
        (path,) = (parent.folder / "children").glob("*.json")
        told = path.read_bytes()
        path.unlink()
        if record is not None:
            path.write_bytes(record.join(told.split(b'"succeeded"')))
        layout = RunLayout.at(parent.folder, project.root)
        seal_run(layout, load_manifest(layout.manifest), SystemClock(), partial=False)
        assert flaws_of(project) == []
        child = RunLayout.at(layout.task.run(path.stem).folder, project.root)
        link = ParentLink(layout, child, SystemClock())
        link.report(load_manifest(child.manifest))
        link.adopt()
        assert path.read_bytes() == told
        return path

    return sealed


@pytest.mark.parametrize("record", [b'"in_progress"', None], ids=["changed", "added"])
def test_a_child_may_leave_word_after_its_parent_was_sealed(project, late_child, record):
    path = late_child(record)
    assert flaws_of(project) == []
    told = path.read_bytes()
    # Its own word, to the byte, and no other.
    for other in (
        told + b" ",
        told.replace(b'"succeeded"', b'"failed"'),
        told.replace(b"inner", b"outer"),
        b"",
    ):
        with changed(path, other):
            assert names_it(project, path), other
    with changed(path.with_name("another.json"), told):
        assert names_it(project, path.with_name("another.json"))
    assert flaws_of(project) == []


def test_a_childs_word_is_worth_what_its_own_evidence_is(project, late_child):
    path = late_child(b'"in_progress"')
    manifest = project.root / json.loads(path.read_text())["manifest"]
    with changed(manifest, manifest.read_bytes().replace(b'"status": "succeeded"', b'"status": "failed"')):
        assert {named(project, manifest), named(project, path)} <= {flaw.path for flaw in flaws_of(project)}
    manifest.unlink()
    assert names_it(project, path)


def test_a_run_that_was_killed_is_told_of(project):
    project.pipeline("true", "kill -9 $CODEX_ORCHESTRATOR_OWNER_PID; sleep 30")
    project.cli("start", "work")
    (flaw,) = flaws_of(project)
    assert (flaw.kind, flaw.message) == (
        "not-sealed",
        "The run has died before its end: it is sealed at its end.",
    )
    project.pipeline("true", "true")
    project.cli("resume", "--accept-changes")
    assert flaws_of(project) == []


def test_a_run_that_waits_is_told_of_and_then_holds(project):
    project.pipeline("true", {"kind": "manual", "id": "ask"})
    project.cli("start", "work")
    (flaw,) = flaws_of(project)
    assert (flaw.kind, flaw.message) == (
        "not-sealed",
        "The run waits for a decision: it is sealed at its end.",
    )
    project.cli("approve", "--stage", "ask")
    project.cli("resume")
    assert flaws_of(project) == []


# ------------------------------------------------------------------ bits


def test_any_bit_of_a_sealed_file_counts(world):
    """Some places of all; the fault suite tries them by the ten thousand."""
    project, _ = world
    chance = random.Random(16)
    files = sealed_files(project)
    for _ in range(SAMPLE):
        path = chance.choice(files)
        content = path.read_bytes()
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        with changed(path, flipped(content, place, bit)):
            assert names_it(project, path), (path, place, bit)
    assert flaws_of(project) == []


# ------------------------------------------------------------------ lines and files


def test_lines_that_are_cut_off_dropped_doubled_or_swapped(world, folder):
    project, _ = world
    for path in (
        folder / "runner.ndjson",
        folder / "commands/01-one.ndjson",
        project.root / "out/task-1/seals.ndjson",
    ):
        lines = path.read_bytes().splitlines(keepends=True)
        kinds = [
            *(lines[:count] for count in range(len(lines))),
            *(lines[:one] + lines[one + 1 :] for one in range(len(lines))),
            *(lines[: one + 1] + lines[one:] for one in range(len(lines))),
            *([*lines[:one], lines[one + 1], lines[one], *lines[one + 2 :]] for one in range(len(lines) - 1)),
            [*lines, b'{"type":"x"}\n'],
            [*lines, b"\n"],
        ]
        # Some of all: each takes a look at the whole task.
        for tampered in [*kinds[::4], *kinds[-2:]]:
            with changed(path, b"".join(tampered)):
                assert names_it(project, path)


def test_files_that_are_gone_or_another_runs(world, folder):
    project, _ = world
    others = [each for each in project.runs() if each != folder]
    for path in sealed_files(project):
        if path.is_relative_to(folder):
            with changed(path, None):
                assert names_it(project, path)
            for other in others:
                twin = other / path.relative_to(folder)
                if twin.exists() and twin.read_bytes() != path.read_bytes():
                    with changed(path, twin.read_bytes()):
                        assert names_it(project, path)


def test_files_that_are_added(world, folder):
    project, _ = world
    for name in ("new.txt", "commands/99-new.ndjson", "errors/01-one.json"):
        with changed(folder / name, b"x\n"):
            assert names_it(project, folder / name)


def test_a_run_in_the_place_of_another(world, folder, tmp_path):
    project, _ = world
    other = project.runs()[-1]
    shutil.move(folder, tmp_path / "kept")
    try:
        shutil.copytree(other, folder)
        told = {(flaw.kind, flaw.path) for flaw in flaws_of(project)}
        assert ("changed", named(project, folder / "manifest.json")) in told
        assert ("changed", named(project, folder / "seal.json")) in told
    finally:
        shutil.rmtree(folder)
        shutil.move(tmp_path / "kept", folder)


def test_a_run_whose_seal_was_made_anew_by_hand(world, folder):
    """Consistent in itself, but not what the chain has."""
    from codex_orchestrator.model.codec import dumps, from_json, to_json
    from codex_orchestrator.model.seal import Seal

    project, _ = world
    path = folder / "seal.json"
    seal = from_json(Seal, json.loads(path.read_text()))
    forged = {**to_json(seal), "status": "succeeded", "partial": True}
    made = from_json(Seal, {**forged, "root": ""})
    body = dumps({**forged, "root": made.computed_root()}).encode()
    with changed(path, body):
        assert {flaw.kind for flaw in flaws_of(project)} == {"chain-broken"}


# ------------------------------------------------------------------ contradictions, seal or no seal


def unseal(folder: Path):
    return changed(folder / "seal.json", None)


EDITS = {
    "status": lambda d: d.update(status="failed"),
    "exit code": lambda d: d["commands"][0].update(exit_code=1),
    "stage status": lambda d: d["commands"][1].update(status="succeeded"),
    "stage summary": lambda d: d["commands"][0].update(summary="fine"),
    "a stage less": lambda d: d["commands"].pop(),
    "a stage pending": lambda d: d["commands"][9].update(status="pending", exit_code=None),
    "command": lambda d: d["commands"][0].update(command="true"),
    "approver": lambda d: d["approvals"][0].update(actor="somebody"),
    "no approval": lambda d: d["approvals"].clear(),
    "child's status": lambda d: d["child_runs"][0].update(status="failed"),
    "completed at": lambda d: d["commands"][0].update(completed_at="2026-01-01T00:00:00.000Z"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_manifest_is_held_to_its_logs_without_a_seal(world, folder, edit):
    project, _ = world
    path = folder / "manifest.json"
    with unseal(folder):
        before = {(flaw.kind, flaw.path) for flaw in flaws_of(project)}
        assert {kind for kind, _ in before} == {"missing"}
        with changed(path, edited(path, edit)):
            more = [flaw for flaw in flaws_of(project) if (flaw.kind, flaw.path) not in before]
            assert more
            assert {flaw.kind for flaw in more} == {"contradiction"}


def test_a_manifest_that_is_edited_together_with_its_summary(world, folder):
    project, _ = world
    manifest, summary = folder / "manifest.json", folder / "run-summary.json"
    with (
        changed(manifest, edited(manifest, lambda d: d.update(status="failed"))),
        changed(summary, edited(summary, lambda d: d["build"].update(success=False))),
    ):
        told = {flaw.path for flaw in flaws_of(project)}
    assert {
        named(project, manifest),
        named(project, summary),
        named(project, folder / "runner.ndjson"),
    } <= told


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (".runs/task-1/metrics.json", '"commands_failed":0', '"commands_failed":1'),
        (".runs/task-1/metrics.json", '"status":"succeeded"', '"status":"failed"'),
        (".runs/task-1/metrics.json", '"pipeline_id":"work"', '"pipeline_id":"walk"'),
        ("out/task-1/runs.ndjson", '"success":true', '"success":false'),
        ("out/task-1/state.json", '"success": true', '"success": false'),
        ("out/task-1/state.json", '"approved": true', '"approved": false'),
    ],
)
def test_the_tasks_files_are_held_to_the_runs(world, name, old, new):
    project, _ = world
    path = project.root / name
    text = path.read_text(encoding="utf-8")
    head, found, tail = text.rpartition(old)
    assert found
    with changed(path, f"{head}{new}{tail}".encode()):
        assert {(flaw.kind, flaw.path) for flaw in flaws_of(project)} == {("contradiction", name)}


# ------------------------------------------------------------------ the command


def test_each_finding_is_a_line(world, folder):
    project, run_id = world
    path = folder / "commands/01-one.ndjson"
    with changed(path, path.read_bytes().replace(b"two", b"six")):
        done = project.cli("verify", "--run", run_id)
        answer = json.loads(project.cli("verify", "--run", run_id, "--format=json").stdout)
    assert done.returncode == 1
    first, *_, last = done.stdout.splitlines()
    assert first.startswith(f"changed: {named(project, path)}: Its SHA-256 is ")
    assert last.startswith(f"run {run_id}: ")
    assert answer["holds"] is False
    assert {finding["path"] for finding in answer["findings"]} == {named(project, path)}


def test_a_manifest_that_cannot_be_read_hides_no_run(world):
    project, _ = world
    path = project.runs()[-1] / "manifest.json"
    with changed(path, b"{"):
        done = project.cli("verify")
    assert done.returncode == 1
    assert f"changed: {named(project, path)}: It is not of the shape of Manifest" in done.stdout


def test_there_must_be_a_run(project):
    project.pipeline("true")
    done = project.cli("verify", "--run", "2026-01-01T00-00-00-000Z-00000000")
    assert done.returncode == 2
    assert "Unknown run" in done.stderr
