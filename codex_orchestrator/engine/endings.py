"""StageEndings: a stage's last word, its error file included, and that of an attempt before the last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.evidence.recording import RunRecording
from codex_orchestrator.model.definitions import Limits
from codex_orchestrator.model.events import AttemptFailed, StageCompleted
from codex_orchestrator.model.manifest import Reason
from codex_orchestrator.rules.stage import StageOutcome
from codex_orchestrator.rules.verdict import Verdict


class StageEndings:
    """Writes how stages end.

    Attributes:
        lines: By stage index, what the run's summary says of a failure where it is not the exit code.
        interrupted: The indexes of stages that were ended, and did not fail by themselves.
    """

    def __init__(
        self, recording: RunRecording, index: Mapping[str, int], *, limits: Limits, clock: Clock
    ) -> None:
        """Nothing is written yet.

        Args:
            recording: What writes the run.
            index: By stage id, the stage's 1-based place.
            limits: Bounds on error files.
            clock: Time.
        """
        self.lines: dict[int, str] = {}
        self.interrupted: set[int] = set()
        self._recording = recording
        self._layout = recording.layout
        self._index = index
        self._limits = limits
        self._clock = clock

    def end(self, stage_id: str, verdict: Verdict, outcome: StageOutcome) -> None:
        """Give a stage its final entry.

        Raises:
            StorageError: The manifest cannot be written.
        """
        index = self._index[stage_id]
        if verdict.line is not None:
            self.lines[index] = self._recording.guard.scrub(verdict.line)
        if verdict.reason == "command-cancelled":
            self.interrupted.add(index)
        error_file = None
        if verdict.reason is not None:
            path = self._layout.error_file(index, stage_id)
            error_file = self._write_error(path, index, verdict.reason, outcome)
        completed = StageCompleted(
            stage_id=stage_id,
            status=verdict.status,
            exit_code=outcome.exit_code,
            summary=verdict.summary,
            reason=verdict.reason,
            error_file=error_file,
            correlation_id=outcome.correlation_id,
            frames=outcome.frames,
            detail=verdict.detail,
            timestamp=self._now(),
            index=index,
        )
        self._recording.record(completed)
        self._recording.close_stage(index)

    def fail_attempt(self, stage_id: str, reason: Reason, outcome: StageOutcome) -> None:
        """Keep how an attempt failed that another one follows.

        Raises:
            StorageError: The manifest cannot be written.
        """
        index = self._index[stage_id]
        path = self._layout.attempt_error_file(index, stage_id, outcome.attempt)
        failed = AttemptFailed(
            stage_id=stage_id,
            attempt=outcome.attempt,
            reason=reason,
            error_file=self._write_error(path, index, reason, outcome),
            correlation_id=outcome.correlation_id or "",
            frames=outcome.frames,
            timestamp=self._now(),
            index=index,
        )
        self._recording.record(failed)

    def _write_error(self, path: Path, index: int, reason: Reason, outcome: StageOutcome) -> str | None:
        from codex_orchestrator.rules.error_file import render_error

        manifest = self._recording.manifest
        entry = manifest.entry(index)
        body = render_error(manifest, entry, reason, outcome, created_at=self._now(), limits=self._limits)
        return self._recording.write_error(path, body)

    def _now(self) -> str:
        return timestamp(self._clock.now())
