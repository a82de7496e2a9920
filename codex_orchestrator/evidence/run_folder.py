"""A run's own folder: its creation, its first files and its event logs (docs/reference/files.md, "Paths")."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.definitions.loader import pipeline_digest
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.lines import LogFile
from codex_orchestrator.evidence.owner import render_owner, this_process
from codex_orchestrator.identifiers import new_run_id
from codex_orchestrator.model.codec import dumps, dumps_line, to_json
from codex_orchestrator.model.definitions import ExecutionMode, Pipeline
from codex_orchestrator.model.events import Event, StageAssigned, StageCompleted, StageReleased, encode
from codex_orchestrator.model.exec_events import ExecChunk, PrivacyDecided
from codex_orchestrator.model.manifest import CommandEntry, PlanRecord, Pointer, ResumeToken
from codex_orchestrator.model.privacy_record import PrivacyDecision
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.log_limit import LogLimit

_POINTER_NOTE = "The run lives under cli/; this file is for tools that look in the old place."


def create_run_folder(task: TaskLayout, clock: Clock) -> RunLayout:
    """Make the folder of a new run; its name is the run id, and no other run can have it.

    Its marker comes first: from then on whatever the run leaves half done can be found and swept.

    Raises:
        StorageError: The disk refused.
    """
    runs, out = task.environment.runs_dir, task.environment.out_dir
    files.make_folder(runs, below=runs, ignored=True)
    files.make_folder(task.cli_dir, below=runs)
    files.make_folder(task.live_dir, below=runs)
    files.make_folder(task.out_dir, below=out, ignored=True)
    marker = render_owner(this_process())
    while True:
        layout = task.run(new_run_id(clock.now()))
        files.replace(layout.live_marker, marker, below=runs, durable=False)
        if files.make_new_folder(layout.folder, below=runs):
            files.make_folder(layout.folder / "commands", below=runs)
            return layout


def write_first_files(
    layout: RunLayout, pipeline: Pipeline, guard: PrivacyGuard, clock: Clock, *, mode: ExecutionMode | None
) -> str:
    """Write token, plan and pointers; returns what the manifest says of the token.

    Raises:
        StorageError: The disk refused.
    """
    now = timestamp(clock.now())
    token = ResumeToken(run_id=layout.run_id, token=os.urandom(32).hex(), created_at=now)
    files.replace(layout.resume_token, dumps(to_json(token)).encode(), below=layout.base, mode=files.PRIVATE)
    write_plan(layout, pipeline, guard, clock, mode=mode)
    pointer = Pointer(
        redirect_to=layout.relative(layout.folder),
        manifest=layout.relative(layout.manifest),
        created_at=now,
        note=_POINTER_NOTE,
    )
    for path in (layout.mcp_pointer, layout.compat_pointer):
        files.make_folder(path.parent, below=layout.base)
        files.replace(path, dumps(to_json(pointer)).encode(), below=layout.base, durable=False)
    return f"sha256:{sha256(token.token.encode()).hexdigest()}"


def write_plan(
    layout: RunLayout, pipeline: Pipeline, guard: PrivacyGuard, clock: Clock, *, mode: ExecutionMode | None
) -> None:
    """Write what is run, without its secrets, and the digest that receipts and later resumes are held to.

    Args:
        layout: The run.
        pipeline: What it runs.
        guard: Keeps secrets out.
        clock: Time.
        mode: Where stages run that do not say so, as asked for, or None.

    Raises:
        StorageError: The disk refused.
    """
    plan = PlanRecord(
        pipeline=guard.pipeline(pipeline),
        digest=pipeline_digest(pipeline),
        created_at=timestamp(clock.now()),
        execution_mode=mode,
    )
    files.replace(layout.plan, dumps(to_json(plan)).encode(), below=layout.base)


# Where a stage runs is no part of what it does: its log is the same wherever that is.
_RUNNER_ONLY = (StageAssigned, StageReleased, PrivacyDecided)


class EventLog:
    """``runner.ndjson`` and the log of each stage; both get the same bytes.

    A log that cannot be written does not change how a stage ends: it is a warning.
    """

    def __init__(
        self, layout: RunLayout, commands: tuple[CommandEntry, ...], *, most_bytes: int | None = None
    ) -> None:
        """Nothing is opened yet.

        Args:
            layout: The run.
            commands: Its stages.
            most_bytes: How much of each stage's output is logged, in bytes as printed; None for all of it.
        """
        self._layout = layout
        self._limit = LogLimit(most_bytes)
        # Other kinds of stages have no log of their own: what they do is another run, or a decision.
        self._ids = {entry.index: entry.id for entry in commands if entry.kind == "command"}
        self._runner: LogFile | None = None
        self._stages: dict[int, LogFile] = {}
        self._decisions: LogFile | None = None
        self._is_whole = True
        self._warnings: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        """Why the logs are not complete, a message each."""
        limited = self._limit.warning
        return [*self._warnings, *([limited] if limited else [])]

    def write(self, event: Event) -> None:
        """Append an event, but for output beyond the limit; that is counted, and told at the stage's end."""
        if isinstance(event, ExecChunk) and not self._limit.takes(event):
            return
        if isinstance(event, StageCompleted) and (left_out := self._limit.statement(event)):
            self._append(left_out)
        self._append(event)

    def is_durable(self) -> bool:
        """Wait until the disk has ``runner.ndjson``; whether it then has every event of this process."""
        with self._warned(of_runner=True):
            if self._runner is not None:
                self._runner.sync()
        return self._is_whole and self._runner is not None

    def _append(self, event: Event) -> None:
        line = encode(event)
        index = getattr(event, "index", None)
        with self._warned(of_runner=True):
            if self._runner is None:
                self._runner = LogFile(self._layout.runner_log, below=self._layout.base)
            self._runner.write(line)
        if index in self._ids and not isinstance(event, _RUNNER_ONLY):
            with self._warned():
                self._stage_log(index).write(line)

    def end_output(self, timestamp: str) -> None:
        """Log how much output was left out of what processes wrote after their stage had ended."""
        for statement in self._limit.last_statements(timestamp):
            self._append(statement)

    def decide(self, decision: PrivacyDecision) -> None:
        """Append to the log of the guard's decisions."""
        with self._warned():
            if self._decisions is None:
                self._decisions = LogFile(self._layout.privacy_log, below=self._layout.base)
            self._decisions.write(dumps_line(to_json(decision)).encode())

    def close_stage(self, index: int) -> None:
        """Close the log of a stage that has ended."""
        log = self._stages.pop(index, None)
        if log is not None:
            # The runner log holds the same lines and is what the disk is waited for.
            self._close(log, durable=False)

    def close(self) -> None:
        """Close all logs."""
        for index in list(self._stages):
            self.close_stage(index)
        for log in (self._decisions, self._runner):
            if log is not None:
                self._close(log, durable=True)

    def _stage_log(self, index: int) -> LogFile:
        if index not in self._stages:
            self._stages[index] = LogFile(
                self._layout.command_log(index, self._ids[index]), below=self._layout.base
            )
        return self._stages[index]

    def _close(self, log: LogFile, *, durable: bool) -> None:
        with self._warned():
            log.close(durable=durable)

    @contextmanager
    def _warned(self, *, of_runner: bool = False) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            self._is_whole = self._is_whole and not of_runner
            self._warnings[f"Log incomplete: {error.message}"] = None
