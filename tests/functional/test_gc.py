"""``gc``: runs that nobody needs go, whole, and all else stays."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codex_orchestrator.clock import timestamp
from codex_orchestrator.evidence import locks
from codex_orchestrator.model.codec import dumps_line, to_json
from tests.support.builders import records_of

KEYS = [
    *("task_ids", "dry_run", "removed", "kept", "merged_records", "swept", "remains"),
    *("remains_paths", "freed_bytes", "notices", "failures"),
]
REMOVED_KEYS = ["run_id", "task_id", "status", "last_activity_at", "bytes"]
KEPT_KEYS = ["alive", "waiting", "unreadable", "family", "queued", "busy", "failed", "policy"]
WAITING = "stage:gate:awaiting-approval"
DAY = 86_400


@pytest.fixture
def gc(said):
    """``gc`` that succeeds, as the document it answers with."""

    def ask(*words: str) -> dict:
        code, out, err = said("gc", *words, "--format", "json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return ask


def past(project, run_id: str, /, *, task="task-1", days: float = 1, **changes) -> Path:
    """A run that ended so many days ago."""
    moment = timestamp(time.time() - days * DAY)
    manifest = {
        "run_id": run_id,
        "task_id": task,
        "status": "succeeded",
        "started_at": moment,
        "updated_at": moment,
        "completed_at": moment,
        "heartbeat_at": moment,
        "parent_run_id": None,
        "commands": [],
        **changes,
    }
    folder = project.root / ".runs" / task / "cli" / run_id
    (folder / "commands").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "runner.ndjson").write_text("{}\n" * 10)
    return folder


def gone(document: dict) -> list[str]:
    return [one["run_id"] for one in document["removed"]]


def kept(document: dict) -> dict[str, int]:
    """Why runs stayed, and how many."""
    assert list(document["kept"]) == KEPT_KEYS
    return {why: number for why, number in document["kept"].items() if number}


def left(project, task="task-1") -> list[str]:
    return [folder.name for folder in project.runs(task)]


def tree(folder: Path) -> dict[str, tuple]:
    """All that is below a folder, so that any change shows."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_ino, path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


# ------------------------------------------------------------------ what goes


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ""),
        (("--keep", "0"), "abcd"),
        (("--keep", "3"), "a"),
        (("--keep=9",), ""),
        (("--older-than", "2w"), "ab"),
        (("--older-than", "36h"), "abc"),
        (("--older-than=0m",), "abcd"),
        (("--older-than", "100d"), ""),
        (("--keep", "3", "--older-than", "2w"), "a"),
        (("--keep", "1", "--older-than", "2w"), "ab"),
    ],
)
def test_what_is_asked_for_goes_and_no_more(project, gc, words, expected):
    for name, days in (("a", 40), ("b", 20), ("c", 2), ("d", 1)):
        past(project, name, days=days)
    foreseen = gc(*words, "--dry-run")
    document = gc(*words)
    assert list(document) == KEYS
    assert gone(document) == list(expected)
    assert left(project) == [name for name in "abcd" if name not in expected]
    assert kept(document) == ({"policy": 4 - len(expected)} if len(expected) < 4 else {})
    assert foreseen == {**document, "dry_run": True}


def test_the_answer_says_what_went(project, gc):
    folder = past(project, "a", status="failed", completed_at="2026-01-02T03:04:05.678Z")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    document = gc("--keep", "0")
    (one,) = document["removed"]
    assert list(one) == REMOVED_KEYS
    assert one == {
        "run_id": "a",
        "task_id": "task-1",
        "status": "failed",
        "last_activity_at": "2026-01-02T03:04:05.678Z",
        "bytes": size,
    }
    assert (document["task_ids"], document["dry_run"]) == (["task-1"], False)
    assert document["freed_bytes"] == size
    assert document["swept"] == {"temporaries": 0, "folders": 0, "paths": []}
    assert (document["merged_records"], document["remains"], document["failures"]) == (0, 0, [])


@pytest.mark.parametrize(
    ("ended", "written", "began", "expected"),
    [
        (1, 50, 50, []),
        (50, 1, 1, ["a"]),
        (None, 1, 50, []),
        (None, 50, 1, ["a"]),
        (None, None, 50, ["a"]),
        (None, None, 1, []),
        (None, None, None, []),
    ],
)
def test_the_age_is_that_of_the_last_sign_of_life(project, gc, ended, written, began, expected):
    days = {"completed_at": ended, "updated_at": written, "started_at": began}
    moments = {
        key: None if value is None else timestamp(time.time() - value * DAY) for key, value in days.items()
    }
    past(project, "a", **moments)
    assert gone(gc("--older-than", "30d")) == expected


def test_for_people(project, said):
    past(project, "a", days=40)
    past(project, "b", days=1 / 24, status="failed")
    past(project, "c", status="in_progress", status_detail=WAITING)
    size = "Would remove 2 runs; kept 1 (1 waiting for an approval); would free "
    code, out, err = said("gc", "--keep", "0", "--dry-run")
    assert (code, err) == (0, "")
    assert out.startswith(
        "Would remove a of task-1: succeeded, 40d old\nWould remove b of task-1: failed, 1h old\n" + size
    )
    code, out, err = said("gc", "--keep", "0")
    assert (code, err) == (0, "")
    assert out.startswith("Removed a of task-1: succeeded, 40d old\nRemoved b of task-1: failed, 1h old\n")
    assert "Removed 2 runs; kept 1 (1 waiting for an approval); freed " in out
    code, out, _ = said("gc")
    assert out == (
        "No run is removed without --keep or --older-than.\n"
        "Removed 0 runs; kept 1 (1 waiting for an approval); freed 0 B.\n"
    )


# ------------------------------------------------------------------ which tasks


def test_one_task_is_cleaned_unless_all_are_asked_for(project, gc):
    for task in ("task-1", "task-2", "task-3"):
        past(project, "a", task=task)
        past(project, "b", task=task)
    assert gc("--keep", "1", "--task", "task-2")["task_ids"] == ["task-2"]
    assert [left(project, task) for task in ("task-1", "task-2")] == [["a", "b"], ["b"]]
    assert gc("--keep", "1")["task_ids"] == ["task-1"]
    assert [left(project, task) for task in ("task-1", "task-3")] == [["b"], ["a", "b"]]
    document = gc("--keep", "1", "--all-tasks")
    assert document["task_ids"] == ["task-1", "task-2", "task-3"]
    assert [(one["task_id"], one["run_id"]) for one in document["removed"]] == [("task-3", "a")]
    assert kept(document) == {"policy": 3}


@pytest.mark.parametrize("words", [(), ("--keep", "0"), ("--all-tasks", "--keep", "0")])
def test_where_there_is_nothing_nothing_is_made(project, gc, words):
    assert gone(gc(*words)) == []
    assert [path.name for path in project.root.iterdir()] == [".git"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--keep", "-1"), "--keep must not be negative."),
        (("--keep", "many"), "invalid int value"),
        (("--older-than", "30"), '--older-than "30" is not an age.'),
        (("--older-than", "30 days"), "is not an age."),
        (("--older-than=-1d",), "is not an age."),
        (("--task", "a", "--all-tasks"), "exclude each other"),
        (("--task", "a/b"), "Invalid task ID"),
        (("--force",), "--force"),
    ],
)
def test_what_cannot_be_meant_is_refused(project, said, words, message):
    past(project, "a")
    code, out, err = said("gc", "--keep", "0", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert left(project) == ["a"]


# ------------------------------------------------------------------ what is never touched


def test_a_live_run_is_not_hurt(project, live, gc):
    project.pipeline(live.GATE, "echo after")
    run = live.start("work")
    run.has_printed("up")
    past(project, "1-finished")
    past(project, "2-child", parent_run_id=run.run_id)
    past(project, "3-grandchild", parent_run_id="2-child")
    past(project, "4-elsewhere", task="task-2", parent_run_id=run.run_id)
    past(project, "5-far", task="task-3", parent_run_id="4-elsewhere")
    document = gc("--keep", "0", "--older-than", "0m", "--all-tasks")
    assert gone(document) == ["1-finished"]
    assert kept(document) == {"alive": 1, "family": 4}
    assert run.manifest["status"] == "in_progress"
    run.open_gate()
    assert run.finish()[0] == 0
    assert run.manifest["metrics_recorded"] is True
    # Now that it is over, they may all go.
    assert len(gone(gc("--keep", "0", "--all-tasks"))) == 5


def test_a_dead_run_goes_and_is_swept(project, live, gc):
    project.pipeline(live.GATE)
    run = live.start("work")
    run.has_printed("up")
    run.process.kill()
    run.finish()
    torn = run.folder / ".manifest.json.1-0123abcd.tmp"
    torn.write_text("{")
    document = gc()
    assert (gone(document), kept(document)) == ([], {"policy": 1})
    assert document["swept"]["temporaries"] >= 1
    assert not torn.exists()
    assert gone(gc("--keep", "0")) == [run.run_id]
    named = [path for path in (project.root / ".runs").rglob("*") if run.run_id in path.name]
    assert named == []


def fresh() -> str:
    return timestamp(time.time())


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("waiting", {"status": "in_progress", "status_detail": WAITING}),
        # Nothing names the owner: the heartbeat says that there is one.
        ("alive", {"status": "in_progress", "heartbeat_at": "now"}),
        ("alive", {"status": "queued", "heartbeat_at": "now"}),
        ("unreadable", {"commands": None}),
        ("unreadable", {"run_id": 5}),
        (None, {"status": "in_progress"}),
        (None, {"status": "what"}),
        (None, {"status": ["what"], "parent_run_id": 5, "started_at": 7}),
        (None, {"parent_run_id": "missing"}),
        (None, {"parent_run_id": "../../../etc"}),
        (None, {"parent_run_id": "a"}),
    ],
)
def test_what_a_manifest_says_decides(project, gc, why, changes):
    now = {key: fresh() for key, value in changes.items() if value == "now"}
    past(project, "a", **{**changes, **now})
    document = gc("--keep", "0")
    assert (gone(document), kept(document)) == ((["a"], {}) if why is None else ([], {why: 1}))


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"run_id": "a"', "[" * 100_000, None])
def test_a_folder_that_cannot_be_read_is_not_touched(project, gc, text):
    folder = past(project, "a")
    (folder / "manifest.json").unlink()
    if text is not None:
        (folder / "manifest.json").write_text(text)
    before = tree(folder)
    document = gc("--keep", "0", "--older-than", "0m")
    assert kept(document) == {"unreadable": 1}
    assert tree(folder) == before


def test_files_of_others_are_not_touched(project, gc):
    past(project, "a")
    runs = project.root / ".runs"
    foreign = [
        runs / "notes.txt",
        runs / "task-1" / "notes.txt",
        runs / "task-1" / "cli" / "notes.txt",
        runs / "task-1" / "cli" / ".cache" / "x",
        runs / "task-1" / "mcp" / "b" / "manifest.json",
        runs / "local-mcp" / "b" / "compat.json",
        runs / ".hidden" / "cli" / "a" / "manifest.json",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"run_id": "x", "commands": []}')
    document = gc("--keep", "0", "--all-tasks")
    assert gone(document) == ["a"]
    assert all(path.exists() for path in foreign)


def test_a_dry_run_touches_nothing(project, live, gc):
    project.pipeline("true", live.GATE)
    run = live.start("work")
    run.has_printed("up")
    run.process.kill()
    run.finish()
    past(project, "a")
    (project.root / ".runs" / "task-1" / "trash" / "b").mkdir(parents=True)
    (project.root / ".runs" / "task-1" / "trash" / "b" / "rest").write_text("rest")
    queue(project, "a")
    before = tree(project.root)
    document = gc("--keep", "0", "--dry-run", "--all-tasks")
    assert tree(project.root) == before
    assert gone(document) == [run.run_id, "a"]
    assert (document["merged_records"], document["remains"]) == (3, 1)
    assert document["remains_paths"] == [".runs/task-1/trash/b"]
    assert document["freed_bytes"] == sum(one["bytes"] for one in document["removed"]) + len("rest")
    real = gc("--keep", "0", "--all-tasks")
    assert (gone(real), real["merged_records"], real["remains"]) == (gone(document), 3, 1)
    assert document["swept"]["temporaries"] == real["swept"]["temporaries"]
    assert document["swept"]["paths"] == real["swept"]["paths"]


# ------------------------------------------------------------------ records


PENDING = (
    ".runs/task-1/metrics.pending",
    "out/task-1/runs.pending",
    "out/task-1/control-plane/samples.pending",
)


def queue(project, run_id: str) -> None:
    """Leave the records of a run that could not merge them."""
    for folder, record in zip(PENDING, records_of(run_id), strict=True):
        path = project.root / folder / f"{run_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dumps_line(to_json(record)))


def history(project) -> dict[str, bytes]:
    runs, out = project.root / ".runs" / "task-1", project.root / "out" / "task-1"
    paths = (runs / "metrics.json", runs / "metrics-summary.json", out / "state.json", out / "runs.ndjson")
    return {path.name: path.read_bytes() for path in paths}


def test_what_runs_did_stays_known(project, gc, said):
    project.pipeline("echo done")
    first, second = project.start("work"), project.start("work")
    before = history(project)
    assert gone(gc("--keep", "1")) == [first.answer["run_id"]]
    assert history(project) == before
    code, _, err = said("status", "--run", first.answer["run_id"])
    assert code == 2
    assert "Unknown run" in err
    assert said("status", "--run", second.answer["run_id"])[0] == 0
    third = project.start("work")
    assert third.manifest["metrics_recorded"] is True
    assert json.loads(history(project)["state.json"])["totalRuns"] == 3
    assert len(history(project)["metrics.json"].splitlines()) == 3


def test_queued_records_are_merged_before_their_run_goes(project, gc):
    past(project, "a")
    queue(project, "a")
    document = gc("--keep", "0")
    assert (gone(document), document["merged_records"]) == (["a"], 3)
    assert [json.loads(line)["run_id"] for line in history(project)["metrics.json"].splitlines()] == ["a"]
    assert json.loads(history(project)["state.json"])["totalRuns"] == 1


def test_a_run_whose_records_cannot_be_merged_stays(project, gc):
    past(project, "a")
    past(project, "b")
    queue(project, "a")
    with locks.held_lock(project.root / ".runs/task-1/.metrics.lock", below=project.root) as held:
        assert held
        document = gc("--keep", "0")
    assert (gone(document), kept(document)) == (["b"], {"queued": 1})
    assert gone(gc("--keep", "0")) == ["a"]


# ------------------------------------------------------------------ what goes wrong


def test_what_cannot_be_removed_is_named_and_the_rest_is_done(project, said, gc, monkeypatch):
    for name in "abc":
        past(project, name)
    real = os.unlink

    def unlink(path, *arguments, **keywords):
        if Path(path).name == "runner.ndjson" and not (project.root / ".runs/task-1/cli/b").exists():
            monkeypatch.setattr(os, "unlink", real)
            raise PermissionError(errno.EPERM, "Operation not permitted")
        real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "unlink", unlink)
    code, out, err = said("gc", "--keep", "0", "--format", "json")
    document = json.loads(out)
    assert code == 1
    # It is a run no more, but its remains are there.
    assert gone(document) == ["a", "b", "c"]
    (failure,) = document["failures"]
    assert failure == f"Cannot remove {project.root}/.runs/task-1/trash/b: Operation not permitted."
    assert err == f"error: {failure}\n"
    assert left(project) == []
    document = gc()
    assert document["remains"] == 1
    assert document["freed_bytes"] > 0
    assert list((project.root / ".runs/task-1/trash").iterdir()) == []


def test_a_run_that_cannot_be_moved_stays_whole(project, said, monkeypatch):
    folder = past(project, "a")
    past(project, "b")
    real = os.rename

    def rename(path, to, **keywords):
        if Path(path).name == folder.name:
            raise OSError(errno.EROFS, "Read-only file system")
        real(path, to, **keywords)

    monkeypatch.setattr(os, "rename", rename)
    code, out, err = said("gc", "--keep", "0", "--format", "json")
    document = json.loads(out)
    assert (code, gone(document), kept(document)) == (1, ["b"], {"failed": 1})
    assert f"Cannot rename {folder}: Read-only file system." in err
    assert (folder / "runner.ndjson").exists()


def gc_process(project, *words) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "codex_orchestrator", *words, "--format", "json"]
    return subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_several_at_once_remove_each_run_once(project):
    names = [f"r{number:03}" for number in range(60)]
    for name in names:
        past(project, name)
    processes = [gc_process(project, "gc", "--keep", "0") for _ in range(3)]
    answers = [(process.communicate(timeout=100), process.returncode) for process in processes]
    assert [(err, code) for (_, err), code in answers] == [("", 0)] * 3
    removed = [name for (out, _), _ in answers for name in gone(json.loads(out))]
    assert sorted(removed) == names
    assert left(project) == []


def test_runs_that_start_and_end_meanwhile_are_not_hurt(project, gc):
    project.pipeline("echo one", "echo two")
    processes = [gc_process(project, "start", "work") for _ in range(4)]
    removed: list[str] = []
    while any(process.poll() is None for process in processes):
        removed += gone(gc("--keep", "0"))
    answers = [(process.communicate(timeout=100), process.returncode) for process in processes]
    assert [(err.count("error"), code) for (_, err), code in answers] == [(0, 0)] * 4
    removed += gone(gc("--keep", "0"))
    assert sorted(removed) == sorted(json.loads(out)["run_id"] for (out, _), _ in answers)
    assert left(project) == []
    assert len(history(project)["metrics.json"].splitlines()) == 4
    assert json.loads(history(project)["state.json"])["totalRuns"] == 4


# ------------------------------------------------------------------ git


@pytest.mark.parametrize("theirs", [False, True])
def test_git_is_kept_away_from_folders_that_the_tool_made(project, gc, theirs):
    folders = [project.root / ".runs", project.root / "out" / "task-1"]
    if theirs:
        for folder in folders:
            folder.mkdir(parents=True)
    project.pipeline("true")
    assert project.start("work").exit_code == 0
    assert len(gone(gc("--keep", "0"))) == 1
    assert [(folder / ".gitignore").exists() for folder in folders] == [not theirs] * 2
    assert not (project.root / "out" / ".gitignore").exists()
