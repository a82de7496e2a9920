"""``bundle``, and what reads one: the same evidence in one file, and whatever is done to it is found."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import zlib

import pytest

from codex_orchestrator.model.bundle import BundleList
from codex_orchestrator.model.codec import dumps, from_json, to_json
from tests.support.bundles import contents, flaws_in, listed, packed
from tests.support.projects import Project, command
from tests.support.tampering import make_world

CLI = f"{shlex.quote(sys.executable)} -m codex_orchestrator"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A project with runs of many kinds, the run that has a child, and a bundle of it."""
    project = Project(tmp_path_factory.mktemp("world"))
    run_id = make_world(project)
    bundle = tmp_path_factory.mktemp("sent") / "run.zip"
    done = project.cli("bundle", "--run", run_id, "-o", bundle)
    assert done.returncode == 0, done.stderr
    return project, run_id, bundle


@pytest.fixture
def elsewhere(tmp_path):
    """A folder that has no runs."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return Project(folder)


def listing(files: dict[str, bytes], **changes) -> bytes:
    """A bundle's list with something else in it, and a root that goes with that."""
    document = {**json.loads(files["bundle.json"]), **changes}
    made = from_json(BundleList, document)
    return dumps({**to_json(made), "root": made.computed_root()}).encode()


# ------------------------------------------------------------------ what is in it


def test_a_bundle_has_the_run_what_it_started_and_their_records_and_no_secret(world):
    project, run_id, bundle = world
    found = contents(bundle)
    child = listed(bundle)["runs"][1]["run_id"]
    for folder in (f".runs/task-1/cli/{run_id}", f".runs/task-1/cli/{child}"):
        on_disk = {
            path.relative_to(project.root).as_posix(): path.read_bytes()
            for path in (project.root / folder).rglob("*")
            if path.is_file() and path.name not in (".heartbeat", "run.lock", "resume-token.json")
        }
        assert on_disk.items() <= found.items()
    for name, key in ((".runs/task-1/metrics.json", "run_id"), ("out/task-1/runs.ndjson", "runId")):
        assert {json.loads(line)[key] for line in found[name].splitlines()} == {child, run_id}
    chain = (project.root / "out/task-1/seals.ndjson").read_bytes()
    assert chain.startswith(found["out/task-1/seals.ndjson"])
    assert run_id.encode() in chain.splitlines()[-2]
    assert not [name for name in found if name.endswith((".lock", "resume-token.json", ".heartbeat"))]
    token = json.loads((project.root / f".runs/task-1/cli/{run_id}/resume-token.json").read_text())["token"]
    assert token.encode() not in b"".join(found.values())


def test_the_same_run_gives_the_same_bytes(world, tmp_path):
    project, run_id, bundle = world
    there = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "99"}
    before = os.umask(0o077)
    try:
        project.cli("bundle", "--run", run_id, "-o", tmp_path / "b.zip", environment=there)
    finally:
        os.umask(before)
    for path in (project.root / ".runs").rglob("*"):
        os.utime(path, (1, 1))
    project.cli("bundle", "--run", run_id, "-o", tmp_path / "c.zip")
    project.start("small")
    project.cli("bundle", "--run", run_id, "-o", tmp_path / "d.zip")
    assert {(tmp_path / name).read_bytes() for name in ("b.zip", "c.zip", "d.zip")} == {bundle.read_bytes()}


def test_what_the_command_answers(project):
    project.pipeline("echo one")
    run = project.start("work")
    run_id = run.answer["run_id"]
    done = project.cli("bundle")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{run_id}.zip: run {run_id}\n", "")
    assert flaws_in(project.root / f"{run_id}.zip") == []
    answer = json.loads(project.cli("bundle", "--logs=none", "-o", "x.zip", "--format=json").stdout)
    seal = json.loads((run.folder / "seal.json").read_text())
    folder = f".runs/task-1/cli/{run_id}"
    assert answer == {
        "file": "x.zip",
        "run_id": run_id,
        "root": seal["root"],
        "runs": [run_id],
        "left_out": [
            {"path": f"{folder}/commands/01-s1.ndjson", "reason": "logs"},
            {"path": f"{folder}/runner.ndjson", "reason": "logs"},
        ],
    }
    assert project.cli("bundle", "-o", "x.zip").returncode == 0
    assert (project.root / "x.zip").read_bytes() == (project.root / f"{run_id}.zip").read_bytes()
    assert not [path for path in project.root.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--run", "2026-01-01T00-00-00-000Z-00000000"), 2, "Unknown run"),
        (("-o", "no/such.zip"), 2, "There is no folder"),
        (("-o", "."), 2, "is no file"),
        (("-o", "pipe"), 2, "is no file"),
        (("-o", "inside/x.zip"), 2, "would be a part of the run that it is made of"),
        (("--logs", "some"), 2, "invalid choice"),
    ],
)
def test_what_is_refused(project, words, code, message):
    project.pipeline("true")
    run = project.start("work")
    os.mkfifo(project.root / "pipe")
    (project.root / "inside").symlink_to(run.folder / "commands")
    done = project.cli("bundle", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert flaws_in_place(project) == ""


def flaws_in_place(project) -> str:
    return "".join(line for line in project.cli("verify").stdout.splitlines() if "all holds" not in line)


def test_a_run_that_still_runs_is_refused(project):
    project.pipeline(f"{CLI} bundle --run $CODEX_ORCHESTRATOR_RUN_ID; echo $? > code")
    project.start("work")
    assert (project.root / "code").read_text() == "75\n"


def test_a_run_that_was_killed_is_bundled_with_a_notice(project):
    project.pipeline("true", "kill -9 $CODEX_ORCHESTRATOR_OWNER_PID; sleep 30")
    project.cli("start", "work")
    done = project.cli("bundle", "-o", "x.zip")
    (folder,) = project.runs()
    assert (done.returncode, done.stderr) == (0, f"notice: Run {folder.name} is not sealed.\n")
    assert [flaw.kind for flaw in flaws_in(project.root / "x.zip")] == ["not-sealed"]
    status = json.loads(project.cli("status", "--run", "x.zip", "--format=json").stdout)
    assert (status["status"], status["liveness"]) == ("in_progress", "dead")


def test_a_run_that_waits_can_be_looked_at(project):
    project.pipeline("true", {"kind": "manual", "id": "ask"})
    project.cli("start", "work")
    project.cli("bundle", "-o", "x.zip")
    assert [flaw.kind for flaw in flaws_in(project.root / "x.zip")] == ["not-sealed"]
    assert "waiting" in project.cli("status", "--run", "x.zip").stdout
    assert project.cli("status", "--run", "x.zip", "--watch").stdout.startswith("in_progress, waiting")


def test_what_stages_put_into_the_folder(project):
    """Links are not carried, and neither are names that not every system takes."""
    project.pipeline(
        'cd "$CODEX_ORCHESTRATOR_RUN_DIR"; echo x > report.xml; ln -s /etc/passwd link; mkfifo pipe;'
        " mkdir more; echo y > more/é; printf z > 'a\\b'; printf 1 > Same; printf 2 > same;"
        " : > \"$(printf 'a\\nb')\""
    )
    run = project.start("work")
    project.cli("bundle", "-o", "x.zip")
    folder = run.folder.relative_to(project.root).as_posix()
    found = contents(project.root / "x.zip")
    assert found[f"{folder}/report.xml"] == b"x\n"
    assert found[f"{folder}/more/é"] == b"y\n"
    reasons = {
        one["path"].removeprefix(f"{folder}/"): one["reason"]
        for one in listed(project.root / "x.zip")["left_out"]
    }
    assert reasons == {"link": "link", "a\\b": "name", "same": "name", "a\nb": "name"}
    assert flaws_in(project.root / "x.zip") == []
    assert b"root:" not in b"".join(found.values())


def test_runs_folders_that_lie_elsewhere(project, tmp_path):
    project.environment |= {
        "CODEX_ORCHESTRATOR_RUNS_DIR": str(tmp_path / "kept/runs"),
        "CODEX_ORCHESTRATOR_OUT_DIR": str(tmp_path / "kept/out"),
    }
    project.pipelines(
        work=["true", {"kind": "subpipeline", "id": "i", "pipeline": "inner"}, "exit 4"], inner=["true"]
    )
    project.cli("start", "work")
    project.cli("bundle", "-o", "x.zip")
    assert flaws_in(project.root / "x.zip") == []
    assert len(listed(project.root / "x.zip")["runs"]) == 2


def test_runs_of_other_tasks_come_along_and_those_of_other_repositories_are_named(project, tmp_path):
    other = Project(tmp_path / "other")
    other.root.mkdir()
    other.pipeline("true", name="theirs")
    project.pipelines(
        work=[
            f"{CLI} start inner --task two",
            f"cd {other.root} && {CLI} start theirs",
        ],
        inner=["true"],
    )
    project.cli("start", "work")
    project.cli("bundle", "-o", "x.zip")
    bundle = listed(project.root / "x.zip")
    assert [run["task_id"] for run in bundle["runs"]] == ["task-1", "two"]
    (away,) = bundle["left_out"]
    assert (away["reason"], away["path"].startswith("../")) == ("elsewhere", True)
    shutil.rmtree(other.root)
    assert flaws_in(project.root / "x.zip") == []


# ------------------------------------------------------------------ reading it


def test_a_bundle_is_all_that_is_needed(world, elsewhere):
    project, run_id, bundle = world
    done = elsewhere.cli("verify", "--run", bundle)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"run {run_id} and 1 that it has started: all holds\n",
        "",
    )
    answer = json.loads(elsewhere.cli("verify", "--run", bundle, "--format=json").stdout)
    assert answer == {"holds": True, "runs": 2, "sealed": 2, "findings": []}
    for words in (("status",), ("logs",), ("logs", "--stage", "one"), ("logs", "--format=json")):
        there = elsewhere.cli(*words, "--run", bundle)
        assert (there.returncode, there.stderr) == (0, "")
        assert there.stdout == project.cli(*words, "--run", run_id).stdout
    assert list(elsewhere.root.iterdir()) == []


@pytest.mark.parametrize(
    ("logs", "printed"),
    [("none", ""), ("failed", "[two] no\n[three] never\n"), ("all", "[one] yes\n[two] no\n[three] never\n")],
)
def test_logs_can_be_left_out(project, logs, printed):
    project.pipeline(
        command("one", "echo yes"),
        command("two", "echo no; exit 3", allowFailure=True),
        command("three", "echo never; exit 4"),
    )
    project.cli("start", "work")
    project.cli("bundle", "-o", "x.zip", "--logs", logs)
    done = project.cli("verify", "--run", "x.zip")
    assert (done.returncode, done.stdout.endswith(": all holds\n")) == (0, True)
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: left out: ")]
    assert len(notes) == len(listed(project.root / "x.zip")["left_out"])
    assert (logs == "all") == (notes == [])
    assert project.cli("logs", "--run", "x.zip").stdout == printed
    assert project.cli("status", "--run", "x.zip").returncode == 0


def test_a_hundred_stages(project):
    project.pipeline(*(f"echo {number}" for number in range(100)))
    project.cli("start", "work")
    project.cli("bundle", "-o", "x.zip")
    assert flaws_in(project.root / "x.zip") == []
    assert project.cli("logs", "--run", "x.zip").stdout == project.cli("logs").stdout


def test_a_stage_that_printed_much_is_read_as_a_stream(project):
    project.pipeline("seq 2000000")
    project.cli("start", "work")
    project.cli("bundle", "-o", "x.zip")
    assert flaws_in(project.root / "x.zip") == []
    assert project.cli("logs", "--run", "x.zip").stdout == project.cli("logs").stdout


def test_a_damaged_entry_is_told_in_one_line(world, elsewhere):
    """The checksum of the log, in both of its headers."""
    _, run_id, bundle = world
    name = f".runs/task-1/cli/{run_id}/runner.ndjson"
    files = contents(bundle)
    right = zlib.crc32(files[name]).to_bytes(4, "little")
    content = bundle.read_bytes()
    assert content.count(right) == 2
    (elsewhere.root / "x.zip").write_bytes(content.replace(right, b"\0\1\2\3"))
    for words, code in (("logs", 2), ("status", 0), ("verify", 1)):
        done = elsewhere.cli(words, "--run", "x.zip")
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)
        if words == "verify":
            assert done.stdout.startswith(f"changed: {name}: It is damaged: its checksum")
    assert elsewhere.cli("logs", "--run", "x.zip").stderr.startswith("error: ")


def test_a_damaged_manifest_is_told_in_one_line(world, elsewhere):
    _, run_id, bundle = world
    files = contents(bundle)
    right = zlib.crc32(files[f".runs/task-1/cli/{run_id}/manifest.json"]).to_bytes(4, "little")
    (elsewhere.root / "x.zip").write_bytes(bundle.read_bytes().replace(right, b"\0\1\2\3"))
    for words, code in (("logs", 2), ("status", 2), ("verify", 1)):
        done = elsewhere.cli(words, "--run", "x.zip")
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)


# ------------------------------------------------------------------ tampering


def test_any_entry_that_is_changed_dropped_or_exchanged_is_found(world, tmp_path):
    _, _, bundle = world
    files = contents(bundle)
    path = tmp_path / "x.zip"
    names = list(files)
    for place, name in enumerate(names):
        content = files[name]
        for tampered in (
            content[:-1],
            content + b"\n",
            b"",
            bytes([content[0] ^ 1]) + content[1:],
            content[: len(content) // 2]
            + bytes([content[len(content) // 2] ^ 4])
            + content[len(content) // 2 + 1 :],
            files[names[place - 1]],
        ):
            assert is_found(path, {**files, name: tampered}, name), name
        left = {other: text for other, text in files.items() if other != name}
        assert is_found(path, left, name), name


def is_found(path, files, name) -> bool:
    from codex_orchestrator.errors import OrchestratorError

    path.write_bytes(packed(files))
    try:
        return name in {flaw.path for flaw in flaws_in(path)}
    except OrchestratorError as error:
        return name == "bundle.json" and error.exit_code == 2


@pytest.mark.parametrize(
    "name",
    [
        "x",
        ".runs/task-1/cli/{run}/x",
        ".runs/task-1/cli/{run}/resume-token.json",
        "out/task-1/state.json",
        ".runs/t/x",
    ],
)
def test_what_was_put_in_is_found(world, tmp_path, name):
    _, run_id, bundle = world
    name = name.format(run=run_id)
    (tmp_path / "x.zip").write_bytes(packed({**contents(bundle), name: b"{}"}))
    added = {flaw.path for flaw in flaws_in(tmp_path / "x.zip") if flaw.kind == "added"}
    assert added == {name}


@pytest.mark.parametrize(
    "name", ["manifest.json", "errors/02-two.json", "approvals.ndjson", "run-summary.json", "runner.ndjson"]
)
def test_nothing_can_be_called_left_out_that_must_be_there(world, tmp_path, name):
    """With a list that is right in itself: the run's seal has the file, and no such bundle is made."""
    _, run_id, bundle = world
    files = contents(bundle)
    path = f".runs/task-1/cli/{run_id}/{name}"
    sealed = next(
        one
        for one in json.loads(files[f".runs/task-1/cli/{run_id}/seal.json"])["files"]
        if one["path"] == path
    )
    del files[path]
    files["bundle.json"] = listing(files, left_out=[{**sealed, "reason": "logs"}])
    (tmp_path / "x.zip").write_bytes(packed(files))
    assert ("missing", path) in {(flaw.kind, flaw.path) for flaw in flaws_in(tmp_path / "x.zip")}


def test_what_was_left_out_is_what_was_sealed(world, tmp_path):
    project, run_id, _ = world
    project.cli("bundle", "--run", run_id, "--logs=none", "-o", tmp_path / "x.zip")
    assert flaws_in(tmp_path / "x.zip") == []
    files = contents(tmp_path / "x.zip")
    left_out = json.loads(files["bundle.json"])["left_out"]
    for changes in (
        {"size": 1},
        {"sha256": "0" * 64},
        {"path": f".runs/task-1/cli/{run_id}/commands/no.ndjson"},
    ):
        files["bundle.json"] = listing(files, left_out=[{**left_out[0], **changes}, *left_out[1:]])
        (tmp_path / "y.zip").write_bytes(packed(files))
        assert "missing" in {flaw.kind for flaw in flaws_in(tmp_path / "y.zip")}


def test_another_runs_bundle_cannot_be_passed_off(world, tmp_path):
    """The list names another run than the one whose files are there."""
    _, _run_id, bundle = world
    files = contents(bundle)
    runs = json.loads(files["bundle.json"])["runs"]
    files["bundle.json"] = listing(files, runs=runs[::-1])
    (tmp_path / "x.zip").write_bytes(packed(files))
    assert "README.txt" in {flaw.path for flaw in flaws_in(tmp_path / "x.zip")}
    files["bundle.json"] = listing(files, runs=[{**runs[0], "root": runs[1]["root"]}, runs[1]])
    (tmp_path / "x.zip").write_bytes(packed(files))
    assert "bundle.json" in {flaw.path for flaw in flaws_in(tmp_path / "x.zip")}


def test_no_path_in_a_bundle_leads_out_of_it(world, tmp_path, elsewhere):
    """A manifest that names its child's by a path to a file on disk has nothing of that read."""
    project, run_id, bundle = world
    files = contents(bundle)
    name = f".runs/task-1/cli/{run_id}/manifest.json"
    outside = project.root / ".runs/task-1/cli" / listed(bundle)["runs"][1]["run_id"] / "manifest.json"
    manifest = json.loads(files[name])
    manifest["child_runs"][0]["manifest"] = f"../../../../../../../../..{outside}"
    files = {key: value for key, value in files.items() if manifest["child_runs"][0]["run_id"] not in key}
    files[name] = json.dumps(manifest).encode()
    path = elsewhere.root / "x.zip"
    path.write_bytes(packed(files))
    done = elsewhere.cli("status", "--run", "x.zip")
    assert done.returncode == 0
    assert "missing] 20" in done.stdout
