"""The items of a session as a dispatcher has them run and reported (`engine.protocol.SessionStages`)."""

from __future__ import annotations

import pytest

from codex_orchestrator.engine.jobs import Executed
from codex_orchestrator.engine.runs import PipelineRun
from codex_orchestrator.rules.stage import StageOutcome

from .nodes import StageItem
from .stages import Stages


class ItemStages:
    """Speaks of items by their node ids, and of pytest's wish to stop in one word."""

    def __init__(self, session: pytest.Session, stages: Stages) -> None:
        """Args: the session, with its items, and what these ask."""
        self._session = session
        self._stages = stages
        self._items = {item.nodeid: item for item in session.items if isinstance(item, StageItem)}
        self._why: str | None = None
        self._seen_enough: bool | str = False

    def has_command(self, nodeid: str) -> bool:
        """Whether there is a command to run."""
        return self._stages.is_for_an_engine(self._items[nodeid])

    def set_up(self, nodeid: str) -> bool:
        """Call the setup hooks of plugins; False where one of them does not let the stage run."""
        return self._items[nodeid].set_up_early()

    def report(self, nodeid: str) -> None:
        """Have an item go through pytest's protocol."""
        self._stages.report(self._items[nodeid])

    def take_up(self, nodeid: str, executed: Executed) -> None:
        """The same, with what came of its command."""
        self._stages.take_up(self._items[nodeid], executed)

    def write_down(self, nodeid: str, outcome: StageOutcome, broken_by: BaseException) -> None:
        """Record how a command ended, without any hook."""
        self._stages.write_down(self._items[nodeid], outcome, broken_by)

    def stop(self) -> str | None:
        """The option, or whatever else, that has pytest stop; None while it goes on."""
        session = self._session
        if self._why is None and (session.shouldfail or session.shouldstop):
            self._seen_enough, self._why = session.shouldfail, self._option_that_stops()
        if self._seen_enough:
            # What is ended because of it is no further reason.
            session.shouldfail = self._seen_enough
        return self._why

    def warn(self, text: str) -> None:
        """Have the summaries of the session's runs say something."""
        for root in self._stages.runs.roots:
            root.warnings.append(text)

    def run_of(self, nodeid: str) -> PipelineRun:
        """The run that a stage belongs to."""
        return self._stages.runs.of(nodeid)

    def _option_that_stops(self) -> str:
        option = self._session.config.getoption
        if self._session.shouldfail and option("maxfail", 0):
            return "-x" if option("maxfail") == 1 else f"--maxfail={option('maxfail')}"
        return "--stepwise" if option("stepwise", False) else "a plugin that stops the session"
