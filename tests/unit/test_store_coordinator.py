"""The one writer of a run's manifest and heartbeat: how often, when, and after a failure."""

from __future__ import annotations

import errno
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from codex_orchestrator.clock import FakeClock, SystemClock, timestamp
from codex_orchestrator.engine.manager import TaskManager
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files, lines
from codex_orchestrator.evidence.coordinator import PersistenceCoordinator, mark_recorded
from codex_orchestrator.evidence.manifests import load_manifest
from codex_orchestrator.model.codec import dumps, to_json
from codex_orchestrator.model.definitions import CommandStage, Pipeline
from codex_orchestrator.model.exec_events import CommandStart, ExecBegin, ExecChunk
from codex_orchestrator.rules.layout import TaskLayout
from codex_orchestrator.rules.stage import StageOutcome
from tests.support.builders import opened_manager, opened_run, pipeline_of
from tests.support.processes import until

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


def pipeline(*ids: str) -> Pipeline:
    stages = tuple(CommandStage(kind="command", id=name, title=name, command="true") for name in ids)
    return pipeline_of(*stages)


@pytest.fixture
def environment(tmp_path) -> Environment:
    return Environment(tmp_path, tmp_path / ".runs", tmp_path / "out", tmp_path, {})


@pytest.fixture
def layout(environment):
    made = TaskLayout(environment, "t").run("r")
    made.folder.mkdir(parents=True)
    return made


@pytest.fixture
def manifest(layout):
    return opened_run(pipeline("a", "b"), layout=layout, started_at="2025-11-21T02:44:32.979Z")


@pytest.fixture
def writes(monkeypatch) -> list[str]:
    """The names of the files that are replaced, in order."""
    names: list[str] = []
    real = files.replace

    def note(path: Path, data: bytes, **keywords) -> None:
        real(path, data, **keywords)
        names.append(path.name)

    monkeypatch.setattr(files, "replace", note)
    return names


@pytest.fixture
def broken(monkeypatch):
    """Make the next writes of a file fail: name to how many."""
    failures: dict[str, int] = {}
    real = files.replace

    def fail(path: Path, data: bytes, **keywords) -> None:
        if failures.get(path.name, 0) > 0:
            failures[path.name] -= 1
            raise StorageError(f"Cannot write {path}: broken.")
        real(path, data, **keywords)

    monkeypatch.setattr(files, "replace", fail)
    return failures


def on_disk(layout) -> dict:
    return json.loads(layout.manifest.read_bytes())


def test_save_writes_now_and_note_with_the_next_write(layout, manifest, writes):
    coordinator = PersistenceCoordinator(layout, FakeClock())
    coordinator.save(manifest)
    assert on_disk(layout)["status"] == "queued"
    coordinator.note(replace(manifest, status="in_progress"))
    assert on_disk(layout)["status"] == "queued"
    coordinator.beat()
    assert on_disk(layout)["status"] == "in_progress"
    assert writes == ["manifest.json", ".heartbeat", "manifest.json"]
    assert (coordinator.manifest_writes, coordinator.heartbeat_writes) == (2, 1)


def test_the_heartbeat_is_one_timestamp_and_goes_into_the_manifest(layout, manifest):
    clock = FakeClock()
    coordinator = PersistenceCoordinator(layout, clock)
    coordinator.beat()
    assert layout.heartbeat.read_text() == timestamp(clock.now()) + "\n"
    assert not layout.manifest.exists()
    clock.advance(2)
    coordinator.save(manifest)
    written = on_disk(layout)
    assert written["heartbeat_at"] == timestamp(clock.now() - 2)
    assert written["updated_at"] == max(manifest.updated_at, timestamp(clock.now() - 2))


def test_for_a_heartbeat_alone_the_manifest_waits_thirty_seconds(layout, manifest, writes):
    clock = FakeClock()
    coordinator = PersistenceCoordinator(layout, clock)
    coordinator.save(manifest)
    written_at = []
    for second in range(5, 125, 5):
        clock.advance(5)
        before = coordinator.manifest_writes
        coordinator.beat()
        if coordinator.manifest_writes > before:
            written_at.append(second)
            assert on_disk(layout)["heartbeat_at"] == timestamp(clock.now())
    assert written_at == [30, 60, 90, 120]
    assert writes.count(".heartbeat") == 24


def test_any_other_write_puts_the_next_heartbeat_write_off(layout, manifest):
    clock = FakeClock()
    coordinator = PersistenceCoordinator(layout, clock)
    coordinator.save(manifest)
    clock.advance(25)
    coordinator.save(manifest)
    clock.advance(25)
    coordinator.beat()
    assert coordinator.manifest_writes == 2
    clock.advance(5)
    coordinator.beat()
    assert coordinator.manifest_writes == 3


def test_a_wall_clock_that_is_set_back_does_not_stop_the_beat(layout, manifest):
    clock = FakeClock()
    coordinator = PersistenceCoordinator(layout, clock)
    coordinator.save(manifest)
    clock.jump(-3_600)
    clock.advance(30)
    coordinator.beat()
    assert coordinator.manifest_writes == 2
    assert on_disk(layout)["heartbeat_at"] == timestamp(clock.now())


def test_a_write_is_tried_three_times(layout, manifest, broken):
    coordinator = PersistenceCoordinator(layout, FakeClock())
    broken["manifest.json"] = 2
    coordinator.save(manifest)
    assert on_disk(layout)["status"] == "queued"
    assert coordinator.manifest_writes == 1


def test_what_could_not_be_saved_comes_with_the_next_beat(layout, manifest, broken):
    coordinator = PersistenceCoordinator(layout, FakeClock())
    coordinator.save(manifest)
    broken["manifest.json"] = 3
    with pytest.raises(StorageError):
        coordinator.save(replace(manifest, status="in_progress"))
    assert on_disk(layout)["status"] == "queued"
    coordinator.beat()
    assert on_disk(layout)["status"] == "in_progress"
    assert coordinator.heartbeat_failures == 0


@pytest.mark.parametrize("name", [".heartbeat", "manifest.json"])
def test_a_beat_that_fails_is_counted_and_tried_again(layout, manifest, broken, name):
    coordinator = PersistenceCoordinator(layout, FakeClock())
    coordinator.save(manifest)
    coordinator.note(replace(manifest, status="in_progress"))
    broken[name] = 1
    coordinator.beat()
    assert coordinator.heartbeat_failures == 1
    assert on_disk(layout)["status"] == "queued"
    coordinator.beat()
    assert coordinator.heartbeat_failures == 1
    assert on_disk(layout)["status"] == "in_progress"


@pytest.mark.parametrize(
    "text", [None, "", "not JSON", "[]", '{"status": "succeeded"}', '{"metrics_recorded": true}']
)
def test_only_a_manifest_that_says_no_is_marked(layout, text):
    if text is not None:
        layout.manifest.write_text(text)
    assert mark_recorded(layout)
    assert (layout.manifest.read_text() if layout.manifest.exists() else None) == text


def test_marking_a_run_changes_nothing_else(layout, manifest):
    layout.manifest.write_text(dumps({**to_json(manifest), "of_another_tool": 1}))
    assert mark_recorded(layout)
    expected = {**to_json(replace(manifest, metrics_recorded=True)), "of_another_tool": 1}
    assert layout.manifest.read_text() == dumps(expected)


def open_run(environment: Environment, *ids: str, clock: FakeClock | None = None) -> TaskManager:
    return opened_manager(environment, pipeline(*ids), clock=clock or FakeClock(), notify=pytest.fail)


def run_stage(manager: TaskManager, index: int, name: str, *, chunks: int = 3, exit_code: int = 0) -> None:
    now = timestamp(0)
    attempt = {"correlation_id": f"c{index}", "attempt": 1, "timestamp": now, "index": index}
    manager.record(CommandStart(command="true", timestamp=now, index=index))
    manager.record(ExecBegin(command="true", cwd="/", session_id="s", **attempt))
    for sequence in range(1, chunks + 1):
        manager.record(ExecChunk(stream="stdout", sequence=sequence, bytes=1, data="x", **attempt))
    manager.complete(
        name,
        StageOutcome(
            status="failed" if exit_code else "succeeded",
            exit_code=exit_code,
            correlation_id=f"c{index}",
            frames=chunks + 2,
        ),
    )


@pytest.mark.parametrize("count", [1, 2, 5, 20])
@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_quiet_run_writes_its_manifest_at_most_twice_a_stage_and_twice(
    environment, writes, count, exit_code
):
    ids = [f"s{place}" for place in range(1, count + 1)]
    manager = open_run(environment, *ids)
    for index, name in enumerate(ids, start=1):
        run_stage(manager, index, name, exit_code=exit_code, chunks=50)
    manager.close()
    assert writes.count("manifest.json") - 1 <= 2 + 2 * count, "one of them is the pointer of the MCP days"
    written = on_disk(manager.layout)
    assert written["heartbeat_at"] == manager.layout.heartbeat.read_text().strip()
    assert {**written, "heartbeat_at": None} == to_json(manager.manifest)
    assert written["metrics_recorded"] is True


@pytest.mark.parametrize("set_by", [-10_800, 10_800])
def test_how_long_a_run_took_is_measured_however_the_wall_clock_is_set(environment, set_by):
    clock = FakeClock()
    manager = open_run(environment, "a", clock=clock)
    clock.sleep(2.5)
    clock.jump(set_by)
    run_stage(manager, 1, "a")
    manager.close()
    [line] = manager.layout.task.metrics.read_text().splitlines()
    assert json.loads(line)["duration_seconds"] == 2.5


def test_what_a_stage_did_is_on_disk_before_the_next_begins(environment, monkeypatch):
    manager = open_run(environment, "a", "b")
    run_stage(manager, 1, "a")
    durable: list[bytes] = []
    monkeypatch.setattr(lines, "_fdatasync", lambda descriptor: durable.append(content(descriptor)))
    manager.record(CommandStart(command="true", timestamp=timestamp(0), index=2))
    types = [json.loads(line)["type"] for line in durable[-1].splitlines()]
    assert (types.count("command:start"), types.count("stage:completed")) == (2, 1)
    # Whoever reads the run goes by manifest and log together.
    assert [entry.status for entry in load_manifest(manager.layout.folder).commands] == [
        "succeeded",
        "running",
    ]
    until(lambda: statuses_on_disk(manager) == ["succeeded", "running"], "the manifest")
    manager.close()


@pytest.mark.parametrize("refused", ["log", "manifest"])
def test_a_stage_begins_once_log_or_manifest_has_it(environment, monkeypatch, broken, refused):
    manager = open_run(environment, "a", "b")

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    if refused == "log":
        monkeypatch.setattr(lines, "_fdatasync", refuse)
    else:
        broken["manifest.json"] = 3
        run_stage(manager, 1, "a")
        until(lambda: not broken["manifest.json"], "the attempts to write the manifest")
    manager.record(CommandStart(command="true", timestamp=timestamp(0), index=2))
    assert statuses_on_disk(manager)[1] == "running"
    manager.close()


def test_a_stage_that_neither_has_does_not_begin(environment, monkeypatch, broken):
    manager = open_run(environment, "a")

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(lines, "_fdatasync", refuse)
    broken["manifest.json"] = 3
    with pytest.raises(StorageError):
        manager.record(CommandStart(command="true", timestamp=timestamp(0), index=1))
    assert manager.entry("a").status == "pending"
    manager.close()


def content(descriptor: int) -> bytes:
    return Path(f"/proc/self/fd/{descriptor}").read_bytes()


def statuses_on_disk(manager: TaskManager) -> list[str]:
    return [entry["status"] for entry in on_disk(manager.layout)["commands"]]


def test_nothing_temporary_is_left_by_a_run(environment):
    manager = open_run(environment, "a")
    run_stage(manager, 1, "a", exit_code=3)
    manager.close()
    assert [path.name for path in environment.root.rglob("*.tmp")] == []
    assert manager.manifest.status == "failed"


def test_a_folder_whose_name_is_no_text_can_be_run_in(tmp_path, environment):
    folder = tmp_path / "no-text-\udcff"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes text only")
    manager = open_run(
        replace(environment, root=folder, runs_dir=folder / ".runs", out_dir=folder / "out"), "a"
    )
    request = manager.start("a")
    assert request.cwd.endswith("\udcff")
    run_stage(manager, 1, "a")
    assert manager.close().status == "succeeded"


class SlowDisk:
    """A disk that hangs in one write, until it is let go on."""

    def __init__(self, monkeypatch) -> None:
        self.reached, self._gate = threading.Event(), threading.Event()
        self._real = files.replace
        monkeypatch.setattr(files, "replace", self._replace)

    def go_on(self) -> None:
        self._gate.set()

    def _replace(self, path, *arguments, **keywords):
        if path.name == "manifest.json":
            self.reached.set()
            assert self._gate.wait(60)
        return self._real(path, *arguments, **keywords)


def test_a_write_that_hangs_is_reported_while_it_hangs_and_waited_for(layout, manifest, monkeypatch):
    disk, told = SlowDisk(monkeypatch), threading.Event()
    messages: list[str] = []

    def notify(message: str) -> None:
        messages.append(message)
        told.set()

    coordinator = PersistenceCoordinator(layout, SystemClock(), notify=notify, slow_seconds=0.05)
    saving = threading.Thread(target=coordinator.save, args=(manifest,))
    saving.start()
    assert disk.reached.wait(60)
    beating = threading.Thread(target=coordinator.beat)
    beating.start()
    assert told.wait(60), "said by the heartbeat, while the other thread is in the disk's hands"
    assert saving.is_alive()
    disk.go_on()
    saving.join()
    beating.join()
    warning = f"The disk takes longer than 0.05 s to write in {layout.folder}."
    assert messages == list(coordinator.warnings) == [warning]
    assert on_disk(layout)["run_id"] == manifest.run_id
    assert coordinator.heartbeat_failures == 0


@pytest.mark.parametrize(("seconds", "count"), [(9.0, 0), (11.0, 1)])
def test_a_slow_write_that_nobody_waits_for_is_reported_when_it_is_over(
    layout, manifest, monkeypatch, seconds, count
):
    clock, messages = FakeClock(), []
    real = files.replace

    def slow(*arguments, **keywords):
        clock.advance(seconds)
        return real(*arguments, **keywords)

    monkeypatch.setattr(files, "replace", slow)
    coordinator = PersistenceCoordinator(layout, clock, notify=messages.append)
    for _ in range(3):
        coordinator.save(manifest)
    assert len(messages) == len(coordinator.warnings) == count


def test_a_write_that_only_a_later_attempt_brought_is_reported(layout, manifest, broken):
    coordinator = PersistenceCoordinator(layout, FakeClock())
    broken["manifest.json"] = 2
    coordinator.save(manifest)
    assert [warning.partition(":")[0] for warning in coordinator.warnings] == ["Written at a later attempt"]
    assert on_disk(layout)["run_id"] == manifest.run_id
