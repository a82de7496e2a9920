"""A command from its start to its end, with and without the kernel's process descriptors."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import OrchestratorError, ToolMissing
from codex_orchestrator.execution import process as process_module
from codex_orchestrator.execution.builder import CommandBuilder
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.execution.late import LateOutput
from codex_orchestrator.execution.leftovers import find_left, signal_left
from codex_orchestrator.execution.process import run_tool
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.model.exec_events import ExecChunk
from codex_orchestrator.rules.stage import StageRequest


@pytest.fixture(params=["process descriptors", "polling"])
def kernel(request, monkeypatch):
    """Both ways to learn of a process's end: Linux's, and that of systems without it."""
    if request.param == "polling":
        monkeypatch.setattr(process_module, "_open_pidfd", lambda pid: None)
    return request.param


def run(command, tmp_path, *, sink=None, cancellation=None, late=None, **keywords):
    events = []
    owned = cancellation or Cancellation()
    sink, clock = sink or events.append, SystemClock()
    own_late = late is None
    late = late or LateOutput(sink, clock)
    builder = CommandBuilder(sink, lambda *_: None, clock, owned, Guardian(), late)
    request = StageRequest(
        index=1,
        stage_id="s",
        command=command,
        cwd=str(tmp_path),
        environ={"PATH": os.environ["PATH"], **keywords.pop("environ", {})},
        timeout_seconds=keywords.pop("timeout_seconds", None),
        stream_bytes=keywords.pop("stream_bytes", 65_536),
    )
    try:
        return builder.run(request), events
    finally:
        if own_late:
            late.finish()
        owned.close()


@pytest.mark.parametrize(
    ("command", "status", "exit_code", "signal_name"),
    [
        ("exit 0", "succeeded", 0, None),
        ("exit 3", "failed", 3, None),
        ("kill -9 $$", "failed", 137, "SIGKILL"),
        ("kill -TERM $$", "failed", 143, "SIGTERM"),
        ("exec 1>&- 2>&-; exit 4", "failed", 4, None),
    ],
)
def test_how_a_command_ends(kernel, tmp_path, command, status, exit_code, signal_name):
    outcome, _ = run(command, tmp_path)
    assert (outcome.status, outcome.exit_code, outcome.signal) == (status, exit_code, signal_name)


def test_output_of_both_streams_is_numbered_as_it_came(kernel, tmp_path):
    outcome, events = run("echo a; echo b >&2; read x; echo c", tmp_path)
    chunks = [event for event in events if isinstance(event, ExecChunk)]
    assert [chunk.sequence for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert "".join(chunk.data for chunk in chunks if chunk.stream == "stdout") == "a\nc\n" == outcome.stdout
    assert "".join(chunk.data for chunk in chunks if chunk.stream == "stderr") == "b\n" == outcome.stderr
    assert outcome.frames == len(chunks) + 2


def test_a_timeout_ends_the_whole_tree(kernel, tmp_path):
    outcome, _ = run("(echo $$ > child; sleep 60) & sleep 60", tmp_path, timeout_seconds=0.3)
    assert (outcome.status, outcome.exit_code, outcome.timeout_seconds) == ("timeout", 143, 0.3)


def test_a_daemon_that_keeps_the_pipe_is_left_and_named(kernel, tmp_path):
    environ = {"CODEX_TEST_MARK": tmp_path.name}
    outcome, _ = run("sleep 60 & echo started", tmp_path, environ=environ)
    left = find_left(f"CODEX_TEST_MARK={tmp_path.name}")
    signal_left(left, signal.SIGKILL)
    assert outcome.status == "succeeded"
    assert outcome.stdout == "started\n"
    assert [process.command for process in left] == ["sleep 60"]


def test_what_descendants_write_after_the_shell_is_drained(kernel, tmp_path):
    outcome, _ = run("(trap '' HUP; echo late) & exit 0", tmp_path)
    assert outcome.stdout == "late\n"


def test_a_descendant_that_never_stops_writing_hangs_nothing(kernel, tmp_path):
    # Each of its lines is ready before the one before it is read.
    environ = {"CODEX_TEST_MARK": tmp_path.name}
    outcome, _ = run("yes & exit 3", tmp_path, environ=environ, sink=lambda event: None)
    signal_left(find_left(f"CODEX_TEST_MARK={tmp_path.name}"), signal.SIGKILL)
    assert (outcome.status, outcome.exit_code) == ("failed", 3)
    assert outcome.stdout_truncated or set(outcome.stdout.split()) <= {"y"}


def test_a_cancelled_command_is_ended_by_the_same_signal(kernel, tmp_path):
    cancellation = Cancellation()
    seen = []

    def sink(event):
        seen.append(event)
        if isinstance(event, ExecChunk) and not cancellation.requested:
            cancellation.request(signal.SIGINT)

    outcome, _ = run(
        "trap 'echo bye; exit 0' INT; echo up; sleep 60 & wait",
        tmp_path,
        sink=sink,
        cancellation=cancellation,
    )
    assert (outcome.status, outcome.cancelled_by, outcome.exit_code) == ("cancelled", "SIGINT", 0)
    assert outcome.stdout == "up\nbye\n"


def test_a_second_request_kills_at_once(kernel, tmp_path):
    cancellation = Cancellation()

    def sink(event):
        if isinstance(event, ExecChunk):
            cancellation.request(signal.SIGTERM)

    command = "trap 'echo no' TERM; echo up; while :; do sleep 0.05; done"
    outcome, _ = run(command, tmp_path, sink=sink, cancellation=cancellation)
    assert (outcome.status, outcome.signal) == ("cancelled", "SIGKILL")


def test_a_sink_that_fails_leaves_no_process_behind(kernel, tmp_path):
    class Broken(Exception):
        pass

    def sink(event):
        if isinstance(event, ExecChunk):
            raise Broken

    environ = {"CODEX_TEST_MARK": tmp_path.name}
    with pytest.raises(Broken):
        run("echo up; exec sleep 60", tmp_path, sink=sink, environ=environ)
    # The kernel may still be at work on the one that was just killed.
    for _ in range(200):
        if not find_left(f"CODEX_TEST_MARK={tmp_path.name}"):
            break
        os.sched_yield()
    assert find_left(f"CODEX_TEST_MARK={tmp_path.name}") == []


@pytest.mark.parametrize(
    ("keywords", "exit_code", "said"),
    [
        ({"environ": {"BAD": "nul\0byte"}}, 126, "null byte"),
    ],
)
def test_what_cannot_be_started_says_why(tmp_path, keywords, exit_code, said):
    outcome, events = run("true", tmp_path, **keywords)
    assert (outcome.status, outcome.exit_code) == ("failed", exit_code)
    assert said in outcome.cause
    assert [event.type for event in events] == ["exec:begin", "exec:end", "command:end"]


def test_a_missing_folder_cannot_be_started_in(tmp_path):
    outcome, _ = run("true", tmp_path / "nowhere")
    assert (outcome.exit_code, outcome.cause) == (127, f"No such file or directory: {tmp_path / 'nowhere'}")


def test_a_missing_tool_is_named(tmp_path):
    with pytest.raises(ToolMissing, match="no-such-tool"):
        run_tool(["no-such-tool"], cwd=tmp_path, environ={"PATH": "/usr/bin"}, timeout_seconds=5)


@pytest.mark.parametrize("given", [b"", b"text\0" * 100_000])
def test_a_tool_reads_what_it_is_given_and_no_more(tmp_path, given):
    environ = {"PATH": os.environ["PATH"]}
    result = run_tool(["cat"], cwd=tmp_path, environ=environ, timeout_seconds=60, given=given)
    assert (result.exit_code, result.stdout) == (0, given)


def test_a_tool_that_hangs_is_given_up(tmp_path):
    with pytest.raises(OrchestratorError, match="did not end within"):
        run_tool(["sleep", "60"], cwd=tmp_path, environ={"PATH": os.environ["PATH"]}, timeout_seconds=0.2)


def test_a_tool_in_a_missing_folder_is_not_a_missing_tool(tmp_path):
    missing = Path(tmp_path / "nowhere")
    with pytest.raises(OrchestratorError, match="is not a folder"):
        run_tool(["true"], cwd=missing, environ={"PATH": os.environ["PATH"]}, timeout_seconds=5)
