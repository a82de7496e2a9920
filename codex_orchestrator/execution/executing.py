"""One attempt's command as a process of this machine: started, read from, waited for, and what it leaves.

An `Executor` is where commands are executed. `CommandBuilder` has one, and knows nothing of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.execution.leftovers import end_left
from codex_orchestrator.execution.process import SpawnError, StageProcess
from codex_orchestrator.execution.reading import Capture, Output, OutputReader, Reader, StreamName
from codex_orchestrator.execution.signals import Cancellation
from codex_orchestrator.execution.watch import Ending, Nested, ProcessWatch
from codex_orchestrator.model.scheduler import LossCause
from codex_orchestrator.rules.stage import StageRequest


@dataclass(frozen=True)
class Executed:
    """How an attempt's command ended.

    Attributes:
        ending: The exit status, and what made it end.
        duration_ms: From spawn to end, monotonic.
        cause: Why it could not be started, or None.
        left: What it left running can still be read from, or None.
        end_left: Ends all that it left running; None where that cannot be asked for.
    """

    ending: Ending
    duration_ms: int
    cause: str | None = None
    left: Reader | None = None
    end_left: Callable[[], None] | None = None


class ExecutionLost(Exception):
    """Nobody will say how an attempt ends, or it was never begun.

    Attributes:
        cause: What became of whatever ran it, as a sentence without its stop.
        reason: ``missed-heartbeat`` where silence is all that is known.
    """

    def __init__(self, cause: str, reason: LossCause = "auto") -> None:
        super().__init__(cause)
        self.cause = cause
        self.reason: LossCause = reason


class Execution(Protocol):
    """A command that is about to be executed."""

    def run(self, captures: Mapping[StreamName, Capture], output: Output) -> Executed:
        """Execute it to its end.

        Args:
            captures: What turns the bytes of each stream into chunks.
            output: Takes the chunks.

        Raises:
            ExecutionLost: It has no end that anybody knows.
        """
        ...


class Executor(Protocol):
    """Where commands are executed."""

    def prepare(self, request: StageRequest) -> Execution:
        """Get ready for an attempt, which begins when this returns; it may have to wait for its turn.

        Raises:
            ExecutionLost: It did not come to that.
        """
        ...


class LocalExecutor:
    """Executes commands as processes of this machine."""

    def __init__(
        self,
        clock: Clock,
        cancellation: Cancellation,
        guardian: Guardian,
        nested: Nested = frozenset,
    ) -> None:
        """Nothing is executed yet.

        Args:
            clock: Time.
            cancellation: Ends commands.
            guardian: Told of the processes.
            nested: Tells of runs that stages have started; these take longer to end.
        """
        self.clock = clock
        self.cancellation = cancellation
        self.guardian = guardian
        self.nested = nested

    def prepare(self, request: StageRequest) -> Execution:
        """Nothing has to be waited for."""
        return _LocalExecution(self, request)


class _LocalExecution:
    """One process."""

    def __init__(self, executor: LocalExecutor, request: StageRequest) -> None:
        self._here = executor
        self._request = request

    def run(self, captures: Mapping[StreamName, Capture], output: Output) -> Executed:
        request, clock = self._request, self._here.clock
        started = clock.monotonic()
        try:
            process = StageProcess(request.command, cwd=request.cwd, environ=request.environ)
        except SpawnError as error:
            ending = Ending(error.exit_code, timed_out=False, cancelled=False)
            return Executed(ending, self._since(started), error.cause)
        reader = OutputReader(process.take_pipes(), captures, output, clock=clock)
        ending = self._wait(process, reader)
        left = reader if reader.is_open else None
        return Executed(
            ending, self._since(started), left=left, end_left=lambda: self._end_left(process.pid, reader)
        )

    def _wait(self, process: StageProcess, reader: OutputReader) -> Ending:
        here = self._here
        here.guardian.watch(process.pid)
        try:
            ending = ProcessWatch(
                process,
                reader,
                clock=here.clock,
                cancellation=here.cancellation,
                timeout_seconds=self._request.timeout_seconds,
                nested=here.nested,
            ).wait()
            if self._leaves_nothing(ending):
                self._end_left(process.pid, reader)
            return ending
        finally:
            here.guardian.forget_empty()

    def _leaves_nothing(self, ending: Ending) -> bool:
        """Whether what the attempt left running must go: its time is up, or another one follows it."""
        fails = ending.exit_status != 0 and not ending.cancelled
        return ending.timed_out or (fails and self._request.retries > 0)

    def _end_left(self, group: int, reader: OutputReader) -> None:
        """End all that the attempt left running, in whatever group and session."""
        run_dir = self._request.run_dir
        end_left(
            self._request.mark,
            {group},
            clock=self._here.clock,
            patient=self._here.nested(),
            folder=Path(run_dir) if run_dir else None,
        )
        reader.end()

    def _since(self, started: float) -> int:
        return round((self._here.clock.monotonic() - started) * 1000)
