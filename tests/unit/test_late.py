"""What goes on to write when its stage has ended."""

from __future__ import annotations

import os

import pytest

from codex_orchestrator.clock import SystemClock
from codex_orchestrator.execution import late as late_module
from codex_orchestrator.execution.builder import CommandBuilder
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.execution.late import LateOutput
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.model.exec_events import ExecChunk, ExecEnd, PrivacyDecided
from codex_orchestrator.privacy.policy import PrivacyPolicy
from codex_orchestrator.rules.stage import StageRequest
from tests.support.processes import until

# Answers each line with itself, until there are no more.
SERVER = (
    "echo up; (while read line; do echo \"got $line\"; done; printf 'bye \\342\\202'; echo no >&2) < ask &"
)


class Stage:
    """A command that leaves a server, and all that is told of both."""

    def __init__(self, folder, command=SERVER, policy=None, late_sink=None) -> None:
        os.mkfifo(folder / "ask")
        self._asking = os.open(folder / "ask", os.O_RDWR)
        self.events = []
        self.late = LateOutput(late_sink or self.events.append, SystemClock())
        cancellation = Cancellation()
        builder = CommandBuilder(
            self.events.append, lambda *_: None, SystemClock(), cancellation, Guardian(), self.late
        )
        request = StageRequest(
            index=3,
            stage_id="serve",
            command=command,
            cwd=str(folder),
            environ={"PATH": os.environ["PATH"]},
            timeout_seconds=None,
            stream_bytes=65_536,
            attempt=2,
            privacy=policy or PrivacyPolicy(),
        )
        self.outcome = builder.run(request)
        cancellation.close()

    def ask(self, line: str) -> None:
        os.write(self._asking, f"{line}\n".encode())

    def send_home(self) -> None:
        os.close(self._asking)

    def printed(self) -> str:
        return "".join(event.data for event in self.events if isinstance(event, ExecChunk))


def test_a_server_is_read_on_and_its_numbers_go_on(tmp_path):
    stage = Stage(tmp_path)
    assert (stage.outcome.status, stage.outcome.stdout) == ("succeeded", "up\n")
    stage.ask("one")
    stage.late.read_on(3)
    until(lambda: "got one\n" in stage.printed(), "the first answer")
    stage.ask("two")
    until(lambda: "got two\n" in stage.printed(), "the second answer")
    stage.send_home()
    until(lambda: "no\n" in stage.printed(), "its farewell")
    stage.late.finish()
    chunks = [event for event in stage.events if isinstance(event, ExecChunk)]
    assert [chunk.sequence for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert {(chunk.correlation_id, chunk.attempt, chunk.index) for chunk in chunks} == {
        (stage.outcome.correlation_id, 2, 3)
    }
    assert sum(chunk.bytes for chunk in chunks) == len(b"up\ngot one\ngot two\nbye \xe2\x82no\n")
    # What the stage itself was is said at its own end.
    assert stage.outcome.frames == 3
    ended = [isinstance(event, ExecEnd) for event in stage.events].index(True)
    assert [event.data for event in stage.events[:ended] if isinstance(event, ExecChunk)] == ["up\n"]


def test_nothing_is_read_before_the_stages_end_is_recorded(tmp_path):
    stage = Stage(tmp_path)
    known = list(stage.events)
    stage.ask("one")
    stage.late.read_on(4)
    stage.send_home()
    assert stage.events == known
    stage.late.finish()
    assert stage.events[: len(known)] == known


def test_what_is_there_at_the_end_is_taken_up_whoever_still_holds_the_pipe(tmp_path):
    stage = Stage(
        tmp_path, "exec 3<ask; sleep 60 & echo $! > pid; echo up; (read l <&3; echo late; echo x > done) &"
    )
    stage.ask("one")
    until((tmp_path / "done").exists, "what is written late")
    stage.late.finish()
    stage.send_home()
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert stage.printed() == "up\nlate\n"


def test_secrets_are_kept_out_of_it(tmp_path):
    stage = Stage(tmp_path, policy=PrivacyPolicy("enforce", (), ("hunter2fish99",)))
    stage.late.read_on(3)
    stage.ask("hunter2fish99")
    until(lambda: "got" in stage.printed(), "the answer")
    stage.send_home()
    stage.late.finish()
    assert "hunter2" not in stage.printed()
    assert "[REDACTED]" in stage.printed()
    [decided] = [event for event in stage.events if isinstance(event, PrivacyDecided)]
    assert decided.sequence > stage.outcome.frames - 2


def test_an_error_of_who_takes_it_is_raised_at_the_end(tmp_path):
    refused = []

    def refuse(event):
        refused.append(event)
        raise RuntimeError("no room")

    stage = Stage(tmp_path, late_sink=refuse)
    stage.late.read_on(3)
    stage.ask("one")
    until(lambda: refused, "the answer")
    stage.send_home()
    with pytest.raises(RuntimeError, match="no room"):
        stage.late.finish()


def test_where_no_more_files_may_be_open_it_is_read_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(late_module, "has_room_above", lambda _descriptor: False)
    stage = Stage(tmp_path)
    stage.send_home()
    stage.late.read_on(3)
    stage.late.finish()
    assert stage.late.warnings == [
        "What stage 'serve' left running is not read any more: too many files are open."
    ]
