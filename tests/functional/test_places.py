"""Links, forged names and special files: commands say what they met, and touch nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from codex_orchestrator.model.codec import dumps_line, to_json
from tests.support.builders import records_of

TASK = ".runs/task-1"
COMMANDS = (
    *(["status"], ["runs"], ["logs"], ["review"], ["metrics"], ["plan", "work"]),
    *(["status", "--run", "RUN"], ["logs", "--run", "RUN", "--format", "json"], ["validate", ".runs", "out"]),
    *(["cancel", "--run", "RUN"], ["approve", "--run", "RUN", "--stage", "1"], ["resume", "--run", "RUN"]),
    *(["gc", "--dry-run"], ["gc"], ["start", "work"], ["gc", "--keep", "0", "--all-tasks"]),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project with a run that failed, so that it can be resumed."""
    from codex_orchestrator.cli import main

    root = tmp_path_factory.mktemp("made") / "project"
    (root / ".git").mkdir(parents=True)
    stage = {"kind": "command", "id": "1", "title": "1", "command": "false"}
    document = {"taskId": "task-1", "pipelines": [{"id": "work", "title": "Work", "stages": [stage]}]}
    (root / "codex.orchestrator.json").write_text(json.dumps(document))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        assert main(["start", "work", "--quiet"]) == 1
    return root


@pytest.fixture
def trap(made, project, said):
    """A copy of it beside somebody's home, and what all commands say in it; the home stays as it is."""
    shutil.copytree(made, project.root, dirs_exist_ok=True)
    home = project.root.parent / "home"
    (home / "docs").mkdir(parents=True)
    (home / "docs" / "thesis").write_text("thesis\n")
    run = next((project.root / TASK / "cli").iterdir()).name

    def all_commands(*commands) -> dict[str, tuple[int, str]]:
        before = snapshot(home)
        answers = {}
        for words in commands or COMMANDS:
            given = [run if word == "RUN" else word for word in words]
            code, out, err = said(*given)
            answers[" ".join(words)] = code, out + err
            assert snapshot(home) == before, words
            assert code in (0, 1, 2, 3), words
            assert "Traceback" not in out + err, words
            assert "INTERNALERROR" not in out + err, words
        return answers

    all_commands.root, all_commands.home, all_commands.run = project.root, home, run
    return all_commands


def snapshot(folder: Path) -> dict[str, object]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        if path.is_file()
        else path.is_dir()
        for path in sorted(folder.rglob("*"))
    }


def lead_away(path: Path, home: Path) -> None:
    """Put a link in a path's place, to what was there: whoever follows it finds what it wants."""
    target = home / "moved"
    if path.exists():
        path.rename(target)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir()
        (target / "docs").mkdir()
    path.symlink_to(os.path.relpath(target, path.parent))


PLACES = (
    *(f"{TASK}/{name}" for name in ("cli", "mcp", "live", "trash", "metrics.pending", ".metrics.lock")),
    *(f"{TASK}/{name}" for name in ("metrics.json", "metrics-summary.json")),
    *(TASK, ".runs/local-mcp", "out/task-1"),
    *(
        f"{TASK}/cli/RUN{name}"
        for name in ("", "/manifest.json", "/run.lock", "/runner.ndjson", "/plan.json")
    ),
    *(f"{TASK}/cli/RUN/{name}" for name in ("approvals.ndjson", "run-summary.json", "commands", "errors")),
    *(f"{TASK}/cli/RUN/{name}" for name in ("children", ".heartbeat")),
    *(f"out/task-1/{name}" for name in ("runs.ndjson", "runs.pending", "state.json", "runs-index.json")),
    *("out/task-1/control-plane", "out/task-1/control-plane/samples.ndjson"),
)


@pytest.mark.parametrize("place", PLACES)
def test_no_command_follows_a_link_below_the_folders_of_runs(trap, place):
    path = trap.root / place.replace("RUN", trap.run)
    lead_away(path, trap.home)
    answers = trap()
    told = [said for _, said in answers.values() if "is a link" in said]
    assert any(f"{path.name} is a link, which is not followed here" in said for said in told)
    assert answers["validate .runs out"][0] == 1


@pytest.mark.parametrize("folder", [".runs", "out"])
def test_a_folder_of_runs_that_leads_out_has_to_be_named(trap, folder, monkeypatch, said):
    lead_away(trap.root / folder, trap.home)
    code, answer = trap(["status"])["status"]
    variable = {".runs": "CODEX_ORCHESTRATOR_RUNS_DIR", "out": "CODEX_ORCHESTRATOR_OUT_DIR"}[folder]
    assert code == 2
    assert f"{folder} is a link that leads out of" in answer
    assert variable in answer
    monkeypatch.setenv(variable, folder)
    assert said("start", "work", "--quiet")[0] == 1
    assert said("status")[0] == 0


# ------------------------------------------------------------------ names


CONTENTS = ("{}", "", "[" * 100_000, '{"pid": 1e400}', '{"pid": ' + "1" * 10_000 + "}")


@pytest.mark.parametrize("marker", ["docs.json", "...json", "..json", "x.json", "\ud800.json"])
def test_a_forged_marker_has_nothing_swept(trap, marker):
    (trap.root / TASK / "cli" / "docs").mkdir()
    (trap.root / TASK / "cli" / "docs" / "mine").write_text("mine")
    name = os.fsencode(marker) if marker.isascii() else b"\xff.json"
    for content in CONTENTS:
        (trap.root / TASK / "live").joinpath(os.fsdecode(name)).write_text(content)
        before = {path for path in snapshot(trap.root) if "/live" not in path}
        trap(["gc", "--dry-run"], ["gc"])
        assert {path for path in snapshot(trap.root) if "/live" not in path} == before
    assert trap(["start", "work"])["start work"][0] == 1


def test_a_name_in_the_trash_that_is_no_id_is_left_alone(trap):
    (trap.root / TASK / "trash" / ".hidden").mkdir(parents=True)
    code, answer = trap(["gc"])["gc"]
    assert code == 0
    assert ".hidden is no run, and is left alone" in answer
    assert (trap.root / TASK / "trash" / ".hidden").exists()


def test_a_dry_run_names_all_that_would_go(trap, said):
    half = "2026-01-01T00-00-00-000Z-00000001"
    for place in (f"cli/{half}", f"mcp/{half}", "trash/old"):
        (trap.root / TASK / place).mkdir(parents=True)
    (trap.root / TASK / "cli" / half / "plan.json").write_text("{}")
    (trap.root / TASK / "live" / f"{half}.json").write_text("")
    (trap.root / TASK / "live" / ".x.json.999999999-0123abcd.tmp").write_text("")
    before = snapshot(trap.root)
    foreseen = json.loads(said("gc", "--dry-run", "--format", "json")[1])
    assert snapshot(trap.root) == before
    assert foreseen["swept"]["paths"] == [
        f"{TASK}/live/.x.json.999999999-0123abcd.tmp",
        f"{TASK}/cli/{half}",
    ]
    assert foreseen["remains_paths"] == [f"{TASK}/trash/old"]
    text = said("gc", "--dry-run")[1]
    for path in (*foreseen["swept"]["paths"], *foreseen["remains_paths"]):
        assert path in text
        assert (trap.root / path).exists()
    done = json.loads(said("gc", "--format", "json")[1])
    assert {**done, "dry_run": True, "freed_bytes": 0} == {**foreseen, "freed_bytes": 0}
    assert not any((trap.root / path).exists() for path in foreseen["swept"]["paths"])


# ------------------------------------------------------------------ records


@pytest.mark.parametrize(
    "content", ["touch /tmp/x\n", "{}\n", "[]", '{"run_id": "R"}', "\xff", '"\\ud800"', "[" * 100_000]
)
def test_what_is_no_record_is_never_merged(trap, content, said):
    pending = trap.root / TASK / "metrics.pending"
    (pending / "R.json").write_text(content, encoding="latin-1")
    lines = (trap.root / TASK / "metrics.json").read_bytes()
    code, _, err = said("gc")
    assert code == 0
    assert "R.json is no record of run R, and is left alone" in err
    assert (trap.root / TASK / "metrics.json").read_bytes() == lines
    assert trap(["start", "work"])["start work"][0] == 1
    assert len((trap.root / TASK / "metrics.json").read_bytes().splitlines()) == 2


def test_a_record_of_another_run_than_its_name_tells_is_not_merged(trap, said):
    line = dumps_line(to_json(records_of("other")[0]))
    (trap.root / TASK / "metrics.pending" / "R.json").write_text(line)
    assert "R.json is no record of run R" in said("gc")[2]


def test_a_record_that_is_counted_is_not_counted_again(trap, said):
    for name, pending in (("metrics.json", "metrics.pending"),):
        shutil.copy(trap.root / TASK / name, trap.root / TASK / pending / f"{trap.run}.json")
    shutil.copy(trap.root / "out/task-1/runs.ndjson", trap.root / f"out/task-1/runs.pending/{trap.run}.json")
    assert said("gc")[0] == 0
    assert json.loads(said("metrics", "--format", "json")[1])["entries_total"] == 1
    assert json.loads((trap.root / TASK / "metrics-summary.json").read_bytes())["entries_total"] == 1
    assert json.loads((trap.root / "out/task-1/state.json").read_bytes())["totalRuns"] == 1
    assert said("start", "work")[0] == 1
    assert json.loads((trap.root / TASK / "metrics-summary.json").read_bytes())["entries_total"] == 2
    assert not list((trap.root / TASK / "metrics.pending").iterdir())


def test_folders_and_strange_characters_among_records_stop_nothing(trap, said):
    (trap.root / TASK / "metrics.pending" / "x.json").mkdir()
    with (trap.root / TASK / "metrics.json").open("a") as lines:
        lines.write('{"run_id": "\\ud800", "commands_passed": ' + "9" * 400 + "}\n")
    assert "x.json is no record of a run" in said("gc")[2]
    assert said("start", "work")[0] == 1
    assert trap(["metrics"], ["status"])["metrics"][0] == 0


# ------------------------------------------------------------------ latest


def forge(trap, name: str, **changes) -> None:
    source = trap.root / TASK / "cli" / trap.run
    target = source.with_name(name)
    shutil.copytree(source, target)
    document = json.loads((source / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps({**document, "run_id": name, **changes}))


@pytest.mark.parametrize("name", ["zzz", "9999", "2999-01-01T00-00-00-000Z-deadbeef"])
def test_latest_cannot_be_taken_over_by_a_name(trap, name, said):
    forge(trap, name, status="succeeded")
    for command in ("status", "review", "logs"):
        code, out, _ = said(command)
        assert code == 0
        assert name not in out
    assert json.loads(said("status", "--format", "json")[1])["run_id"] == trap.run
    assert json.loads(said("status", "--run", name, "--format", "json")[1])["run_id"] == name


@pytest.mark.parametrize(
    ("content", "why"),
    [("{", "is not JSON"), ("[]", "is not a run manifest"), (None, "No such file"), ("[" * 9_000, "deep")],
)
def test_a_newer_run_that_cannot_be_read_is_said_to_be_passed_over(trap, content, why, said):
    newer = f"{trap.run[:-8]}ffffffff"
    folder = trap.root / TASK / "cli" / newer
    folder.mkdir()
    if content is not None:
        (folder / "manifest.json").write_text(content)
    for command in ("status", "review", "runs"):
        code, out, err = said(command)
        assert code == 0
        assert trap.run in out
        assert f"Run {newer} is passed over" in err
        assert why in err


def test_a_manifest_of_another_run_is_not_the_latest(trap, said):
    newer = f"{trap.run[:-8]}ffffffff"
    forge(trap, newer, run_id=trap.run)
    out, err = said("status", "--format", "json")[1:]
    assert json.loads(out)["run_id"] == trap.run
    assert f"Run {newer} is passed over: its manifest is that of another run." in err


# ------------------------------------------------------------------ special files, and the repository's own


@pytest.mark.parametrize(
    "place", ["manifest.json", "run.lock", "runner.ndjson", "approvals.ndjson", "plan.json"]
)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "deep", "huge"])
def test_what_is_no_file_of_ours_is_named_and_hangs_nobody(trap, place, kind):
    path = trap.root / TASK / "cli" / trap.run / place
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "deep":
        path.write_text("[" * 100_000 + "\n")
    else:
        with path.open("wb") as file:
            file.truncate(1 << 30)
    assert trap()["validate .runs out"][0] == 1


@pytest.mark.parametrize(
    "name", ["codex.orchestrator.json", "AGENTS.md", "package.json", ".gitignore", "scripts"]
)
def test_a_file_of_the_repository_that_leads_out_is_not_followed(trap, name):
    path = trap.root / name
    path.unlink(missing_ok=True)
    target = trap.home / "target"
    target.mkdir() if name == "scripts" else target.write_text("{}")
    path.symlink_to(target)
    answers = trap(*COMMANDS, ["init"], ["init", "--force"], ["doctor"])
    assert any("leads out of" in said for _, said in answers.values())


def test_a_link_within_the_repository_is_followed(trap, said):
    (trap.root / "config").mkdir()
    (trap.root / "codex.orchestrator.json").rename(trap.root / "config" / "orchestrator.json")
    (trap.root / "codex.orchestrator.json").symlink_to("config/orchestrator.json")
    (trap.root / "ignored").write_text("*.log\n")
    (trap.root / ".gitignore").symlink_to("ignored")
    assert said("plan", "work")[0] == 0
    assert said("init")[0] == 0
    assert "/.runs/" in (trap.root / "ignored").read_text()
    assert (trap.root / ".gitignore").is_symlink()


def test_validate_names_missing_manifests(trap, said):
    (trap.root / TASK / "cli" / trap.run / "manifest.json").unlink()
    code, out, _ = said("validate", ".runs")
    assert code == 1
    assert f"{TASK}/cli/{trap.run}/manifest.json: it is missing" in out
