"""What of stages on a cluster is decided without one: who may make an attempt, what a worker must be like."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from io import BytesIO
from pathlib import Path

import pytest

from codex_orchestrator.clock import FakeClock, SystemClock
from codex_orchestrator.engine.cloud import facts, frames, package
from codex_orchestrator.engine.cloud.facts import WorkerFacts, unmet
from codex_orchestrator.engine.cloud.frames import Frame
from codex_orchestrator.engine.cloud.remote import RemoteAttempt
from codex_orchestrator.engine.cloud.runner import RawCapture
from codex_orchestrator.engine.cloud.settings import cluster_settings
from codex_orchestrator.environment import Environment, discover, stage_names, stage_variables
from codex_orchestrator.errors import UsageError
from codex_orchestrator.execution.executing import ExecutionLost
from codex_orchestrator.execution.reading import StreamCapture
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.model.definitions import CloudSettings
from codex_orchestrator.rules.stage import StageRequest

REQUEST = StageRequest(1, "s", "true", "/", {}, None, 100)


@pytest.fixture(autouse=True)
def _dask_is_installed(monkeypatch):
    monkeypatch.setattr("codex_orchestrator.engine.cloud.settings.find_spec", lambda name: name)


@pytest.fixture
def environment(tmp_path) -> Environment:
    return discover(tmp_path, {})


# Which cluster.

ADDRESSES = {
    "tcp://host:8786": ("tcp://host:8786", 0),
    "tls://host:8786": ("tls://host:8786", 0),
    "host:8786": ("host:8786", 0),
    "local:3": ("", 3),
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_cluster_is_named_by_flag_settings_or_variable_in_this_order(tmp_path, address):
    other = "tcp://other:1"
    for asked, settings, variable in (
        (address, other, other),
        (None, address, other),
        (None, None, address),
    ):
        found = cluster_settings(
            discover(tmp_path, {"DASK_SCHEDULER_ADDRESS": variable}), CloudSettings(address=settings), asked
        )
        assert (found.address, found.local_workers) == ADDRESSES[address]


def test_local_alone_has_a_worker_for_each_processor(environment):
    assert cluster_settings(environment, CloudSettings(), "local").local_workers >= 1


@pytest.mark.parametrize("address", ["moon", "host:", "local:", "local:0", "local:x", "local:999"])
def test_what_is_no_address_is_refused(environment, address):
    with pytest.raises(UsageError) as refusal:
        cluster_settings(environment, CloudSettings(), address)
    assert f'"{address}"' in refusal.value.message


def test_without_dask_what_to_install_is_said(environment, monkeypatch):
    monkeypatch.setattr("codex_orchestrator.engine.cloud.settings.find_spec", lambda _name: None)
    with pytest.raises(UsageError) as refusal:
        cluster_settings(environment, CloudSettings(), "local")
    assert refusal.value.hint is not None
    assert "codex-orchestrator[cloud]" in refusal.value.hint


# What workers are like.


def worker(name: str = "w", threads: int = 1, **resources: float) -> WorkerFacts:
    return WorkerFacts(f"tcp://{name}", name, threads, resources)


@pytest.mark.parametrize(
    ("needs", "workers", "why"),
    [
        ({}, [], "The cluster has no workers"),
        ({}, [worker()], None),
        ({}, [worker(threads=0)], "No worker of the cluster runs anything"),
        ({"gpu": 1}, [worker()], "No worker of the cluster has gpu: 1"),
        ({"gpu": 1, "tb": 2}, [worker(gpu=1), worker(tb=2)], "No worker of the cluster has gpu: 1, tb: 2"),
        ({"gpu": 1}, [worker(), worker(gpu=2)], None),
    ],
)
def test_a_stage_that_no_worker_can_run_is_said(needs, workers, why):
    assert unmet(needs, workers) == why


def test_a_worker_has_to_have_our_python():
    own = tuple(sys.version_info[:3])
    assert facts.incompatible((own, "2026.1", "posix", "host")) is None
    assert facts.incompatible(((*own[:2], 99), "2026.1", "posix", "host")) is None
    said = facts.incompatible(((3, 8, 1), "2026.1", "posix", "host"))
    assert said == f"it has Python 3.8.1, and this is Python {'.'.join(map(str, own))}"
    assert (
        facts.incompatible((own, "2026.1", "nt", "host")) == "it runs on nt, and stages need a POSIX system"
    )


def test_names_of_workers_can_be_ids_in_manifests():
    told = {"nthreads": 2, "resources": {}}
    workers = {"a": {**told, "name": 0}, "b": {**told, "name": "left"}, "c": {**told, "name": None}}
    found = facts.workers_of({"workers": {**workers, "d": {**told, "status": "closing"}}})
    assert [each.name for each in found.values()] == ["dask-0", "left", "c"]


def test_the_names_of_a_stages_variables_are_those_that_it_gets(environment, tmp_path):
    given = stage_variables(
        environment,
        task_id="t",
        run_id="r",
        pipeline_id="p",
        stage_id="s",
        run_dir=tmp_path,
        owner_pid=1,
        own={},
    )
    assert stage_names() == given.keys()


# What passes between them.


def test_frames_are_read_as_they_were_written():
    said = [
        frames.output(7, frames.STDOUT, 1.5, b"a\nb"),
        frames.plain(7, frames.END, {"exit_status": 0}),
        frames.encoded(8, frames.ANSWER, frames.packed(["x"], b"\x00\xff")),
    ]
    first, second, third = frames.parsed(b"".join(said))
    assert (first.number, first.output()) == (7, (1.5, b"a\nb"))
    assert second.value() == {"exit_status": 0}
    assert frames.unpacked(third.payload) == (["x"], b"\x00\xff")


def test_a_stream_tells_of_silence_once():
    capture = RawCapture()
    assert [chunk.data for chunk in capture.take(b"x", 1.0)] == [b"x"]
    assert capture.due == pytest.approx(1.11)
    assert [(chunk.seconds, chunk.data) for chunk in capture.expire(1.2)] == [(1.2, b"")]
    assert capture.due is None
    assert [chunk.is_last for chunk in capture.end()] == [True]


# One attempt.


class FakeWorker:
    """Keeps what it is told."""

    name, heard = "w1", 0.0

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def tell(self, line: bytes) -> None:
        self.told.append(line)

    def ask(self, what, value, data=b""):
        raise AssertionError(what)


@pytest.fixture
def attempt():
    cancellation = Cancellation()
    made = RemoteAttempt(1, REQUEST, {}, cancellation, FakeClock())
    made.cancellation = cancellation
    yield made
    made.close()
    cancellation.close()


def test_exactly_one_of_many_that_ask_is_told_yes(attempt):
    answers: list[bool] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        answers.append(attempt.claim())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(True) == 1


def test_one_that_is_cancelled_before_a_worker_has_it_never_begins(attempt):
    attempt.cancellation.request(15)
    with pytest.raises(ExecutionLost) as lost:
        attempt.wait_for_worker()
    assert lost.value.cause == "It was cancelled before a worker was free"
    assert not attempt.claim()


def end(**changed) -> Frame:
    told = {"exit_status": 3, "timed_out": False, "cancelled": False, "duration_ms": 5, "cause": None}
    (frame,) = frames.parsed(frames.plain(1, frames.END, {**told, "is_open": False, **changed}))
    return frame


def begun(attempt) -> FakeWorker:
    somewhere = FakeWorker()
    assert attempt.claim()
    attempt.begin(somewhere)
    assert attempt.wait_for_worker() is somewhere
    return somewhere


def test_frames_become_the_output_and_the_end(attempt):
    begun(attempt)
    for data in (
        frames.output(1, frames.STDERR, 1.0, b"caf\xc3"),
        frames.output(1, frames.STDERR, 1.1, b"\xa9"),
    ):
        attempt.take(*frames.parsed(data))
    attempt.take(end())
    said: list[tuple[str, str]] = []
    captures = {"stdout": StreamCapture(100), "stderr": StreamCapture(100)}
    executed = attempt.run(captures, lambda stream, chunk: said.append((stream, chunk.text)))
    assert (executed.ending.exit_status, executed.duration_ms, executed.left) == (3, 5, None)
    assert said == [("stderr", "caf"), ("stderr", "é")]


def test_one_whose_worker_is_lost_has_no_end(attempt):
    begun(attempt)
    attempt.lose("Worker w1 died")
    with pytest.raises(ExecutionLost, match="Worker w1 died"):
        attempt.run({"stdout": StreamCapture(100)}, lambda *_: None)


def test_one_that_nobody_asks_to_start_leaves_its_worker():
    at_worker = module_from_spec(
        spec_from_file_location("at_worker_here", Path(package.__file__).with_name("at_worker.py"))
    )
    at_worker.__spec__.loader.exec_module(at_worker)
    assert at_worker.attend("run", 1, 0.01) == "unheard"
    at_worker._LOOKS = 1
    assert asyncio.run(at_worker.refuse(None, "run", 2)) == "refused"


# Our own code on workers.


def test_the_package_runs_without_any_other_and_beside_an_installed_one(tmp_path):
    made = package.package()
    with zipfile.ZipFile(BytesIO(made.data)) as archive:
        archive.extractall(tmp_path / "sent")
    other = tmp_path / "other" / "codex_orchestrator"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise RuntimeError('another version')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import codex_orchestrator.engine.cloud.runner;"
        "import codex_orchestrator.workspace.depot as depot; print(depot.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path / "sent")],
        env={"PYTHONPATH": str(other.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(tmp_path / "sent/codex_orchestrator/workspace/depot.py"), done.stderr


def test_the_same_code_is_the_same_package():
    package.package.cache_clear()
    first = package.package()
    package.package.cache_clear()
    assert package.package() == first
    assert len(first.data) < 600_000


def test_a_runner_that_hears_nothing_ends_what_it_has_started(tmp_path):
    code = "import sys; from codex_orchestrator.engine.cloud.runner import main; main()"
    words = [sys.executable, "-c", code, "-", "0.5", str(tmp_path / "depot"), "key"]
    command = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    request = StageRequest(1, "s", command, str(tmp_path), {"PATH": "/usr/bin:/bin"}, None, 100)
    line = RemoteAttempt(1, request, {}, Cancellation(), SystemClock()).line
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as runner:
        runner.stdin.write(line)
        runner.stdin.flush()
        assert runner.wait(30) == 0
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()
