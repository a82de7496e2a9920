"""What an engine is, and what the session is to it: the two sides between which a `Dispatcher` stands.

An engine runs commands somewhere; it knows nothing of pytest. It tells the dispatcher what happens to each
command, on the main thread (docs/explanation/architecture.md, "Stages at once").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from codex_orchestrator.rules.stage import StageOutcome, StageRequest

from .jobs import Executed, Place
from .runs import PipelineRun

if TYPE_CHECKING:
    from .dispatcher import Dispatcher


class Engine(Protocol):
    """Runs commands elsewhere than on the main thread, and says of them what a `Dispatcher` hears."""

    @property
    def size(self) -> int:
        """How many commands it runs at once, at most."""
        ...

    def free(self, nodeid: str) -> bool:
        """Whether it can be given this command too."""
        ...

    def start(self, nodeid: str, request: StageRequest, run: PipelineRun) -> Place:
        """Run a command; the answer is where."""
        ...

    def cancel(self, number: int, by: str) -> None:
        """End all that it runs, with a signal."""
        ...


class DrivenEngine(Engine, Protocol):
    """An engine that hears by itself what its commands say."""

    def drive(self, dispatcher: Dispatcher) -> None:
        """Run everything: tell the dispatcher what happens until nothing runs and nothing will.

        Whatever breaks the session is raised, when all commands have ended.
        """
        ...


class SessionStages(Protocol):
    """The stages of a session, by their node ids, as a `Dispatcher` has them run and reported."""

    def has_command(self, nodeid: str) -> bool:
        """Whether there is a command to run; what need not run, or is decided on, is done with elsewhere."""
        ...

    def set_up(self, nodeid: str) -> bool:
        """Get ready for the command; False where somebody does not let it run, which `report` then says."""
        ...

    def report(self, nodeid: str) -> None:
        """Have a stage without a command, or one that may not run it, done with and reported."""
        ...

    def take_up(self, nodeid: str, executed: Executed) -> None:
        """Have a stage reported with what came of its command."""
        ...

    def write_down(self, nodeid: str, outcome: StageOutcome, broken_by: BaseException) -> None:
        """Record how a command ended after something has broken the session: nobody is told."""
        ...

    def stop(self) -> str | None:
        """What ends the session early, as in ``-x``; None while it goes on.

        Asked again when what runs has been ended because of it, which is no further reason.
        """
        ...

    def warn(self, text: str) -> None:
        """Have the summaries of the session's runs say something."""
        ...

    def run_of(self, nodeid: str) -> PipelineRun:
        """The run that a stage belongs to."""
        ...
