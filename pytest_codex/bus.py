"""The event bus: what was recorded, told to plugins by their ``pytest_codex_*`` hooks."""

from __future__ import annotations

import reprlib
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from codex_orchestrator.engine.halt import Halt
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UsageError
from codex_orchestrator.model.codec import Mismatch, from_json, to_json
from codex_orchestrator.model.definitions import Pipeline
from codex_orchestrator.model.events import Event, RunCompleted, RunResumed, RunStarted, StageCompleted
from codex_orchestrator.model.exec_events import ExecChunk
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.privacy.guard import PrivacyGuard
from pytest_codex.leaving import LEAVING
from pytest_codex.messages import tell

_CHUNKS = "CODEX_ORCHESTRATOR_EXEC_EVENT_MAX_CHUNKS"
# Each may be of 64 KiB, and they are kept for every stage that runs.
_MOST_CHUNKS = 9_999_999


def chunks_kept(environment: Environment) -> int:
    """How many of a stage's last chunks its completion is told with.

    Raises:
        UsageError: What the variable says is no such number.
    """
    asked = environment.setting(_CHUNKS) or "0"
    if not (asked.isascii() and asked.isdecimal() and len(asked) <= len(str(_MOST_CHUNKS))):
        raise UsageError(
            f'{_CHUNKS}: "{asked}" is not a number of chunks.',
            hint=f"Set it to 0 to {_MOST_CHUNKS}, or unset it for none.",
        )
    return int(asked)


class EventBus:
    """Calls the hooks of each plugin by itself, so that one that raises keeps nobody else from hearing."""

    def __init__(self, config: pytest.Config, halt: Halt, *, guard: PrivacyGuard, chunks_kept: int) -> None:
        """Nothing is told yet.

        Args:
            config: The session's.
            halt: Ends the session where a hook asks for that.
            guard: Keeps secrets out of what is said of plugins.
            chunks_kept: How many of a stage's last chunks to hand on when it has ended.
        """
        self._config = config
        self._chunks_kept = chunks_kept
        self._halt = halt
        self._guard = guard
        self._chunks: dict[str, deque[ExecChunk]] = {}
        self._callers: dict[str, list[tuple[str, Callable[..., list[Any]]]]] = {}
        self._warned: set[tuple[str, str]] = set()

    def modified(self, pipeline: Pipeline) -> Pipeline:
        """What plugins make of a pipeline; what is no pipeline is left out, with a warning."""
        hook = "pytest_codex_modify_pipeline"
        for plugin, call in self._plugins(hook):
            for answer in self._answers(plugin, hook, call, {"pipeline": pipeline}):
                try:
                    pipeline = _well_shaped(answer)
                except (Mismatch, TypeError):
                    self._warn(plugin, hook, f"answered no well-formed Pipeline: {reprlib.repr(answer)}")
        return pipeline

    def observe(self, run_nodeid: str, before: Manifest, event: Event, after: Manifest) -> None:
        """Tell of an event of the run that the collector ``run_nodeid`` stands for."""
        if isinstance(event, ExecChunk) and not self._wants_chunks():
            return  # Output comes in chunks by the thousand.
        index = getattr(event, "index", None)
        entry = after.entry(index) if index is not None else None
        nodeid = run_nodeid if entry is None else f"{run_nodeid}::{entry.id}"
        if isinstance(event, RunStarted | RunResumed):
            self._tell("pytest_codex_run_started", manifest=after, nodeid=nodeid)
        if entry and entry.status == "running" and before.entry(entry.index).status != "running":
            self._tell("pytest_codex_stage_started", manifest=after, entry=entry, nodeid=nodeid)
        if isinstance(event, ExecChunk) and self._chunks_kept:
            self._chunks.setdefault(nodeid, deque(maxlen=self._chunks_kept)).append(event)
        self._tell("pytest_codex_event", manifest=after, event=event, nodeid=nodeid)
        if isinstance(event, StageCompleted):
            chunks = tuple(self._chunks.pop(nodeid, ()))
            self._tell(
                "pytest_codex_stage_completed", manifest=after, entry=entry, nodeid=nodeid, chunks=chunks
            )
        if isinstance(event, RunCompleted):
            self._tell("pytest_codex_run_completed", manifest=after, nodeid=nodeid)

    def _wants_chunks(self) -> bool:
        return bool(self._chunks_kept or self._plugins("pytest_codex_event"))

    def _tell(self, hook: str, **values: object) -> None:
        for plugin, call in self._plugins(hook):
            self._halt.telling = True
            try:
                self._answers(plugin, hook, call, values)
            except LEAVING as error:
                # Not from here: whoever tells is in the middle of writing things down.
                self._halt.leave(error)
            finally:
                self._halt.telling = False

    def _answers(
        self, plugin: str, hook: str, call: Callable[..., list[Any]], values: dict[str, Any]
    ) -> list[Any]:
        """What a plugin answers; one that raises is a warning, not a lost run."""
        try:
            return call(config=self._config, **values)
        except LEAVING:
            raise
        except BaseException as error:  # noqa: BLE001 - other people's code; it is told of
            self._warn(plugin, hook, f"raised {type(error).__name__}: {error}")
            return []

    def _warn(self, plugin: str, hook: str, what: str) -> None:
        if (plugin, hook) in self._warned:
            return
        self._warned.add((plugin, hook))
        line = self._guard.line(f"codex-orchestrator: plugin {plugin}: {hook} {what}")
        # Where nobody listens any more there is nobody to be warned.
        with _uncaptured(self._config):
            tell(line)

    def _plugins(self, hook: str) -> list[tuple[str, Callable[..., list[Any]]]]:
        """By plugin that implements a hook, a way to call it alone; those there are at the first call."""
        if hook not in self._callers:
            manager = self._config.pluginmanager
            implementing = [item.plugin for item in getattr(manager.hook, hook).get_hookimpls()]
            self._callers[hook] = [
                (
                    manager.get_name(plugin) or repr(plugin),
                    manager.subset_hook_caller(
                        hook, [other for other in implementing if other is not plugin]
                    ),
                )
                for plugin in reversed(implementing)
            ]
        return self._callers[hook]


def _well_shaped(answer: object) -> Pipeline:
    """A pipeline as if it had been read: tuples where a plugin has left lists.

    Raises:
        Mismatch: It is none, or has values that no definition can have.
        TypeError: It holds what is no value of JSON.
    """
    if not isinstance(answer, Pipeline):
        raise Mismatch
    return from_json(Pipeline, to_json(answer))


def _uncaptured(config: pytest.Config) -> AbstractContextManager[None]:
    """While a stage's item runs, pytest keeps what is printed for the stage's report."""
    manager = config.pluginmanager.get_plugin("capturemanager")
    uncaptured: AbstractContextManager[None] = (
        manager.global_and_fixture_disabled() if manager else nullcontext()
    )
    return uncaptured
