"""The state of all stages, as progress shows it: written by the main thread, read by others too."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from codex_orchestrator.dataclass import dataclass

State = Literal["waiting", "running", "passed", "failed", "skipped"]

# All that is ever shown of running output is its last line, cut to a terminal's width.
_TAIL_LENGTH = 1_000


@dataclass(frozen=True)
class Ended:
    """How a stage ended, as its report says.

    Attributes:
        state: Its outcome.
        seconds: How long it took.
        why: In a few words; empty where it ran and passed.
        headline: The first line of its failure; empty where it did not fail.
        details: The lines that follow.
        waits: Whether it did not fail, but waits for a decision.
        cancelled: Whether something else ended it.
        log_path: Its log, where it has one.
    """

    state: Literal["passed", "failed", "skipped"]
    seconds: float
    why: str = ""
    headline: str = ""
    details: tuple[str, ...] = ()
    waits: bool = False
    cancelled: bool = False
    log_path: str | None = None

    @property
    def text(self) -> str:
        """All of a failure."""
        return "\n".join((self.headline, *self.details))


@dataclass(frozen=True)
class Stage:
    """A stage at a moment.

    Attributes:
        nodeid: Its node id.
        name: What it is called in lines of progress.
        place: Its place among all: ``[2/4] lint``.
        state: Where it stands.
        since: When it started, by the monotonic clock.
        tail: The end of its output so far.
        ended: How it ended.
    """

    nodeid: str
    name: str
    place: str
    state: State = "waiting"
    since: float | None = None
    tail: str = ""
    ended: Ended | None = None


class Board:
    """All stages of a session in declared order."""

    def __init__(self) -> None:
        self._stages: dict[str, Stage] = {}
        self._tails: dict[str, str] = {}
        self._lock = threading.Lock()

    def declare(self, nodeids: Sequence[str], selected: Collection[str] | None = None) -> None:
        """Say which stages there are; of one pipeline, its name goes without saying.

        Args:
            nodeids: All of them, which is what places go by.
            selected: Those that are to run, and are shown; None for all.
        """
        one = len({nodeid.partition("::")[0] for nodeid in nodeids}) == 1
        with self._lock:
            for place, nodeid in enumerate(nodeids, start=1):
                name = nodeid.partition("::")[2] if one else nodeid
                if selected is None or nodeid in selected:
                    self._stages[nodeid] = Stage(nodeid, name, f"[{place}/{len(nodeids)}] {name}")

    def __getitem__(self, nodeid: str) -> Stage:
        """A stage as it is now; one that nobody declared is called by its node id."""
        with self._lock:
            return self._now(nodeid)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All of them as they are now."""
        with self._lock:
            return tuple(self._now(nodeid) for nodeid in self._stages)

    def start(self, nodeid: str, now: float) -> Stage | None:
        """A stage runs; None where it is none of ours, but the stage that runs a pipeline of them."""
        with self._lock:
            if nodeid not in self._stages:
                return None
            self._stages[nodeid] = replace(self._stages[nodeid], state="running", since=now)
            return self._stages[nodeid]

    def hear(self, nodeid: str, text: str) -> None:
        """A stage has printed something; costs the same however much it is."""
        with self._lock:
            self._tails[nodeid] = (self._tails.get(nodeid, "") + text[-_TAIL_LENGTH:])[-_TAIL_LENGTH:]

    def end(self, nodeid: str, ended: Ended) -> Stage:
        """A stage has ended; the last report of it counts."""
        with self._lock:
            stage = replace(self._now(nodeid), state=ended.state, ended=ended)
            self._stages[nodeid] = stage
            return stage

    def _now(self, nodeid: str) -> Stage:
        stage = self._stages.get(nodeid) or Stage(nodeid, nodeid, nodeid)
        return replace(stage, tail=self._tails.get(nodeid, ""))


@dataclass(frozen=True)
class View:
    """What of the board there is room for.

    Attributes:
        shown: The stages that get a line each.
        folded: How many of each state do not, in the order in which they are told.
    """

    shown: tuple[Stage, ...]
    folded: tuple[tuple[int, State], ...]


_ORDER: tuple[State, ...] = ("failed", "running", "waiting", "passed", "skipped")


def arrange(stages: Iterable[Stage], lines: int) -> View:
    """Choose for so many lines: what failed first, then what runs; the rest where there is room for all.

    What is left out takes one of the lines. Where even what failed and what runs are too many, each
    gets at least half of the room, as far as it needs it.
    """
    by_state = {state: stages_of(stages, state) for state in _ORDER}
    everything = [stage for state in _ORDER for stage in by_state[state]]
    if len(everything) <= lines:
        return View(tuple(everything), ())
    room = max(lines - 1, 0)
    failed, running = by_state["failed"], by_state["running"]
    for_running = min(len(running), max(room - len(failed), (room + 1) // 2))
    shown = (*failed[: room - for_running], *running[:for_running])
    folded = [
        (len(by_state[state]) - sum(stage.state == state for stage in shown), state) for state in _ORDER
    ]
    return View(shown, tuple((count, state) for count, state in folded if count))


def stages_of(stages: Iterable[Stage], state: State) -> list[Stage]:
    """Those in one state, in declared order."""
    return [stage for stage in stages if stage.state == state]
