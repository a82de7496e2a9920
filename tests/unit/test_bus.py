"""The event bus by itself: which hooks an event calls, with what, and what becomes of those that raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from codex_orchestrator.engine.halt import Halt
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UsageError
from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.model.events import Event, RunStarted, StageCompleted
from codex_orchestrator.model.exec_events import CommandStart, ExecChunk
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.privacy.policy import PrivacyPolicy
from codex_orchestrator.rules import recorder
from pytest_codex import newhooks
from pytest_codex.bus import EventBus, chunks_kept
from pytest_codex.leaving import leave
from tests.support.builders import NOW, opened_run, pipeline_of

PIPELINE = pipeline_of(CommandStage(kind="command", id="a", title="A", command="true"))
RUN_STARTED = RunStarted(run_id="r", pipeline_id="p", stages=("a",), timestamp=NOW)
STARTED = CommandStart(command="true", timestamp=NOW, index=1)
ENDED = StageCompleted(
    stage_id="a",
    status="succeeded",
    exit_code=0,
    summary="done",
    reason=None,
    error_file=None,
    correlation_id=None,
    frames=0,
    timestamp=NOW,
    index=1,
)


def chunk(sequence: int) -> ExecChunk:
    return ExecChunk(
        correlation_id="c",
        attempt=1,
        stream="stdout",
        sequence=sequence,
        bytes=1,
        data="x",
        timestamp=NOW,
        index=1,
    )


@dataclass
class Config:
    """As much of pytest's configuration as the bus needs."""

    pluginmanager: pytest.PytestPluginManager


class Told:
    """A bus with plugins, and a run whose events it is told of."""

    def __init__(self, *plugins: object, kept: int = 0) -> None:
        manager = pytest.PytestPluginManager()
        manager.add_hookspecs(newhooks)
        for number, plugin in enumerate(plugins, start=1):
            manager.register(plugin, f"plugin-{number}")
        self.halt = Halt(leave)
        guard = PrivacyGuard(PrivacyPolicy("enforce", (), ("kelp-harbour",)))
        self.bus = EventBus(Config(manager), self.halt, guard=guard, chunks_kept=kept)
        self.manifest = opened_run(PIPELINE)

    def of(self, *events: Event) -> None:
        for event in events:
            before = self.manifest
            self.manifest = recorder.apply(before, event)
            self.bus.observe("p", before, event, self.manifest)


class Listener:
    """Hears everything that happens to a run."""

    def __init__(self) -> None:
        self.heard: list[tuple] = []

    def pytest_codex_run_started(self, manifest, nodeid):
        self.heard.append(("run_started", nodeid))

    def pytest_codex_stage_started(self, entry, nodeid):
        self.heard.append(("stage_started", nodeid, entry.status))

    def pytest_codex_event(self, event, nodeid):
        self.heard.append((event.type, nodeid))

    def pytest_codex_stage_completed(self, entry, nodeid, chunks):
        self.heard.append(("stage_completed", nodeid, entry.status, [each.sequence for each in chunks]))


def hook(name: str, act: Callable[[], object]) -> object:
    """A plugin with one hook, which takes no arguments."""

    class Plugin:
        pass

    setattr(Plugin, f"pytest_codex_{name}", lambda self: act())
    return Plugin()


def broken() -> None:
    raise ValueError("broken")


def test_what_begins_is_told_before_its_event_and_what_ends_after():
    listener = Listener()
    Told(listener).of(RUN_STARTED, STARTED, chunk(1), ENDED)
    assert listener.heard == [
        ("run_started", "p"),
        ("run:started", "p"),
        ("stage_started", "p::a", "running"),
        ("command:start", "p::a"),
        ("exec:chunk", "p::a"),
        ("stage:completed", "p::a"),
        ("stage_completed", "p::a", "succeeded", []),
    ]


@pytest.mark.parametrize(
    ("kept", "expected"), [(0, []), (1, [4]), (3, [2, 3, 4]), (9, [1, 2, 3, 4])], ids=str
)
def test_the_last_chunks_are_kept_until_a_stage_has_ended(kept, expected):
    listener = Listener()
    told = Told(listener, kept=kept)
    told.of(STARTED, *map(chunk, (1, 2, 3, 4)), ENDED)
    assert listener.heard[-1] == ("stage_completed", "p::a", "succeeded", expected)
    # A stage that is tried again in the same session begins anew.
    told.of(ENDED)
    assert listener.heard[-1] == ("stage_completed", "p::a", "succeeded", [])


@pytest.mark.parametrize(
    ("asked", "number"),
    [(None, 0), ("", 0), ("0", 0), ("3", 3), ("007", 7), ("9999999", 9_999_999)],
    ids=repr,
)
def test_a_number_of_chunks(asked, number):
    assert chunks_kept(environment(asked)) == number


NO_NUMBERS = ["many", "-1", "+1", "1.5", "1e3", " 1", "\u0661", "\u00b2", "10000000", "9" * 5000]


@pytest.mark.parametrize("asked", NO_NUMBERS, ids=[ascii(asked)[:12] for asked in NO_NUMBERS])
def test_what_is_no_number_of_chunks(asked):
    with pytest.raises(UsageError, match="is not a number of chunks"):
        chunks_kept(environment(asked))


def environment(asked: str | None) -> Environment:
    variables = {} if asked is None else {"CODEX_ORCHESTRATOR_EXEC_EVENT_MAX_CHUNKS": asked}
    root = Path("/repo")
    return Environment(root, root / ".runs", root / "out", root, variables)


def test_a_plugin_that_raises_is_told_of_once_and_keeps_nobody_from_hearing(capsys):
    first, last = Listener(), Listener()
    told = Told(first, hook("event", broken), hook("stage_started", broken), last)
    told.of(RUN_STARTED, STARTED, chunk(1), ENDED)
    assert first.heard == last.heard
    assert len(first.heard) == 7
    assert capsys.readouterr().err == (
        "codex-orchestrator: plugin plugin-2: pytest_codex_event raised ValueError: broken\n"
        "codex-orchestrator: plugin plugin-3: pytest_codex_stage_started raised ValueError: broken\n"
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), pytest.exit.Exception("enough")], ids=repr)
def test_what_ends_the_session_is_raised_once_everything_is_written_down(capsys, error):
    def leave() -> None:
        raise error

    first, last = Listener(), Listener()
    told = Told(first, hook("event", leave), last)
    with pytest.raises(type(error)) as raised, told.halt.recording():
        told.of(RUN_STARTED, STARTED)
    assert raised.value is error
    assert first.heard == last.heard
    assert [name for name, *_ in last.heard] == [
        "run_started",
        "run:started",
        "stage_started",
        "command:start",
    ]
    with told.halt.recording():
        pass  # It is raised once.
    assert capsys.readouterr().err == ""


def test_each_plugin_is_given_the_last_ones_answer_in_pytests_order():
    class Titled:
        def __init__(self, word: str) -> None:
            self._word = word

        def pytest_codex_modify_pipeline(self, pipeline):
            return replace(pipeline, title=f"{pipeline.title} {self._word}")

    class First(Titled):
        @pytest.hookimpl(tryfirst=True)
        def pytest_codex_modify_pipeline(self, pipeline):
            return super().pytest_codex_modify_pipeline(pipeline)

    told = Told(
        Titled("registered first"),
        First("tried first"),
        hook("modify_pipeline", lambda: None),
        Titled("last"),
    )
    assert told.bus.modified(PIPELINE).title == "P tried first last registered first"


def test_lists_become_the_tuples_that_they_stand_for():
    stages = list(PIPELINE.stages)
    told = Told(hook("modify_pipeline", lambda: replace(PIPELINE, stages=stages, tags=["x"])))
    assert told.bus.modified(PIPELINE) == replace(PIPELINE, tags=("x",))
