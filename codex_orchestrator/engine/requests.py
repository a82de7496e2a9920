"""What execution is told of a stage, wherever it runs it: command, folder, variables, bounds."""

from __future__ import annotations

import os
from pathlib import Path

from codex_orchestrator.engine.lifecycle import LiveRun, mark_of
from codex_orchestrator.environment import Environment, as_utf8, stage_variables
from codex_orchestrator.model.definitions import CommandStage, Limits, Session
from codex_orchestrator.model.events import Event
from codex_orchestrator.model.exec_events import ExecBegin
from codex_orchestrator.rules.stage import Expected, StageRequest


class StageRequests:
    """Makes the requests of one run."""

    def __init__(self, environment: Environment, pipeline_id: str, live: LiveRun, *, limits: Limits) -> None:
        """Know the run.

        Args:
            environment: Where things are.
            pipeline_id: What the run runs.
            live: The run.
            limits: Bounds on memory and error files.
        """
        self._environment = environment
        self._pipeline_id = pipeline_id
        self._live = live
        self._limits = limits
        self._persisted_session = live.persisted_session

    def of(self, stage: CommandStage, index: int) -> StageRequest:
        """The request for a stage; ``index`` is its place in the pipeline, from 1 on."""
        layout = self._live.layout
        return StageRequest(
            index=index,
            stage_id=stage.id,
            command=stage.command,
            cwd=str(Path(as_utf8(str(self._environment.root))) / (stage.cwd or "")),
            environ=stage_variables(
                self._environment,
                task_id=layout.task.task_id,
                run_id=layout.run_id,
                pipeline_id=self._pipeline_id,
                stage_id=stage.id,
                run_dir=layout.folder,
                owner_pid=os.getpid(),
                own=stage.env or {},
            ),
            timeout_seconds=stage.timeout_seconds,
            stream_bytes=self._limits.stream_bytes,
            attempt=1 + self._live.attempts.get(index, 0),
            retries=stage.retries,
            session_id=self._session_id(stage.session or Session()),
            persisted=bool(stage.session and stage.session.persist),
            privacy=self._live.recording.guard.policy,
            mark=mark_of(layout, stage.id),
            run_dir=str(layout.folder),
            expected=self._expected(stage),
        )

    def _expected(self, stage: CommandStage) -> Expected | None:
        expect, environment = stage.expect, self._environment
        if expect is None:
            return None
        return Expected(
            root=str(environment.root),
            closed=(str(environment.runs_dir), str(self._live.layout.task.out_dir)),
            junit=expect.junit,
            tests=expect.tests or 1,
            pattern=expect.pattern,
            files=expect.files or (),
        )

    def note(self, event: Event) -> None:
        """Later stages may go on in the session that one has left for them."""
        if isinstance(event, ExecBegin) and event.persisted:
            self._persisted_session = event.session_id

    def _session_id(self, session: Session) -> str | None:
        """The label that a stage asks for; None where it gets one of its own."""
        label = session.id or (self._persisted_session if session.reuse else None)
        return label and self._live.recording.guard.scrub(label)
