"""The limit on each stage's output in the logs (docs/reference/configuration.md, "limits").

A stage's log is the beginning of its output: from the first chunk on that would go past the limit, nothing
more of it is taken, and the bytes are counted.
"""

from __future__ import annotations

from codex_orchestrator.model.events import OutputLeftOut, StageCompleted
from codex_orchestrator.model.exec_events import ExecChunk

_NAMED_STAGES = 3


class LogLimit:
    """Bounds the output that each stage of a run has in the logs, all its attempts together."""

    def __init__(self, most_bytes: int | None) -> None:
        """Nothing was printed yet.

        Args:
            most_bytes: The limit of each stage, in bytes as printed; None for no limit.
        """
        self._most = most_bytes
        self._taken: dict[int, int] = {}
        # By stage index: how much was left out since that was last told, once there was any.
        self._left_out: dict[int, int] = {}
        self._names: dict[int, str] = {}
        self._told: dict[str, int] = {}

    def takes(self, chunk: ExecChunk) -> bool:
        """Whether a chunk goes into the logs; one that does not is counted."""
        if self._most is None:
            return True
        taken = self._taken.get(chunk.index, 0) + chunk.bytes
        if chunk.index not in self._left_out and taken <= self._most:
            self._taken[chunk.index] = taken
            return True
        self._left_out[chunk.index] = self._left_out.get(chunk.index, 0) + chunk.bytes
        return False

    def statement(self, completed: StageCompleted) -> OutputLeftOut | None:
        """The event that says how much of an ended stage's output was left out; None where nothing was."""
        self._names[completed.index] = completed.stage_id
        return self._statement(completed.index, completed.timestamp)

    def last_statements(self, timestamp: str) -> list[OutputLeftOut]:
        """The same events at the run's end, for output of processes that outlived their stages."""
        statements = [self._statement(index, timestamp) for index in sorted(self._names)]
        return [statement for statement in statements if statement is not None]

    def _statement(self, index: int, timestamp: str) -> OutputLeftOut | None:
        left_out = self._left_out.get(index, 0)
        if self._most is None or not left_out:
            return None
        # What comes later is behind a gap, and is left out too.
        self._left_out[index] = 0
        stage_id = self._names[index]
        self._told[stage_id] = self._told.get(stage_id, 0) + left_out
        return OutputLeftOut(
            stage_id=stage_id,
            left_out_bytes=left_out,
            limit_bytes=self._most,
            timestamp=timestamp,
            index=index,
        )

    @property
    def warning(self) -> str | None:
        """The line of the run's summary about output left out; None where nothing was."""
        if not self._told:
            return None
        named = [f"{count} bytes of stage '{name}'" for name, count in self._told.items()]
        others = len(named) - _NAMED_STAGES
        if others > 0:
            rest = sum(list(self._told.values())[_NAMED_STAGES:])
            named[_NAMED_STAGES:] = [f"{rest} bytes of {others} more"]
        return f"Logs incomplete by limits.logBytes ({self._most}): left out {', '.join(named)}."
