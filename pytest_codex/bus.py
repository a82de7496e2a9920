"""The event bus: what was recorded, told to plugins by their ``pytest_codex_*`` hooks."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from codex_orchestrator.pipelines.model import Pipeline
from codex_orchestrator.run.events import (
    Event,
    ExecChunk,
    RunCompleted,
    RunResumed,
    RunStarted,
    StageCompleted,
)
from codex_orchestrator.run.shapes import Manifest


class EventBus:
    """Calls the hooks of each plugin by itself, so that one that raises keeps nobody else from hearing."""

    def __init__(self, config: pytest.Config, *, chunks_kept: int) -> None:
        """Nothing is told yet.

        Args:
            config: The session's.
            chunks_kept: How many of a stage's last chunks to hand on when it has ended.
        """
        self._config = config
        self._chunks_kept = chunks_kept
        self._chunks: dict[str, deque[ExecChunk]] = {}
        self._callers: dict[str, list[tuple[str, Callable[..., Any]]]] = {}
        self._warned: set[tuple[str, str]] = set()

    def modified(self, pipeline: Pipeline) -> Pipeline:
        """What plugins make of a pipeline; what is no pipeline is left out, with a warning."""
        for plugin, call in self._plugins("pytest_codex_modify_pipeline"):
            for answer in self._guarded(plugin, "pytest_codex_modify_pipeline", call, {"pipeline": pipeline}):
                if isinstance(answer, Pipeline):
                    pipeline = answer
                else:
                    self._warn(plugin, "pytest_codex_modify_pipeline", f"answered {type(answer).__name__}")
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
            for _ in self._guarded(plugin, hook, call, values):
                pass

    def _guarded(
        self, plugin: str, hook: str, call: Callable[..., Any], values: dict[str, Any]
    ) -> Iterator[Any]:
        """What a plugin answers; one that raises is a warning, not a lost run."""
        try:
            yield from call(config=self._config, **values)
        except Exception as error:  # noqa: BLE001 - other people's code; it is told of
            self._warn(plugin, hook, f"raised {type(error).__name__}: {error}")

    def _warn(self, plugin: str, hook: str, what: str) -> None:
        if (plugin, hook) in self._warned:
            return
        self._warned.add((plugin, hook))
        # Where nobody listens any more there is nobody to be warned.
        with suppress(OSError):
            sys.stderr.write(f"codex-orchestrator: plugin {plugin}: {hook} {what}\n")

    def _plugins(self, hook: str) -> list[tuple[str, Callable[..., Any]]]:
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
