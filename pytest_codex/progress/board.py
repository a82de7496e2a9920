"""The state of all stages, as progress shows it, and which failure the others follow from.

The board is safe to read from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.text import printable

StageState = Literal["waiting", "running", "passed", "failed", "skipped"]

# All that is ever shown of running output is its last line, cut to a terminal's width.
_TAIL_LENGTH = 1_000
_NAMED = 10


@dataclass(frozen=True)
class StageEnd:
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
        """Headline and details of a failure."""
        return "\n".join((self.headline, *self.details))


@dataclass(frozen=True)
class StageProgress:
    """How a stage stands at one moment.

    Attributes:
        nodeid: Its node id.
        name: Its name in lines of progress.
        place: Number, total and name: ``[2/4] lint``.
        state: Whether it waits, runs, or how it ended.
        since: When it started, by the monotonic clock.
        tail: The end of its output so far.
        worker: The worker that runs it; None where that is this process, or not known yet.
        ended: How it ended; None before.
    """

    nodeid: str
    name: str
    place: str
    state: StageState = "waiting"
    since: float | None = None
    tail: str = ""
    worker: str | None = None
    ended: StageEnd | None = None


class Board:
    """All stages of a session in declared order."""

    def __init__(self) -> None:
        self._stages: dict[str, StageProgress] = {}
        self._tails: dict[str, str] = {}
        self._lock = threading.Lock()

    def declare(self, nodeids: Sequence[str], selected: Collection[str] | None = None) -> None:
        """Set the stages; their names leave the pipeline out where there is only one.

        Args:
            nodeids: All stages, in the order that they are numbered in.
            selected: Those that are to run, and are shown; None for all.
        """
        one = len({nodeid.partition("::")[0] for nodeid in nodeids}) == 1
        with self._lock:
            for place, nodeid in enumerate(nodeids, start=1):
                name = nodeid.partition("::")[2] if one else nodeid
                if selected is None or nodeid in selected:
                    self._stages[nodeid] = StageProgress(nodeid, name, f"[{place}/{len(nodeids)}] {name}")

    def __getitem__(self, nodeid: str) -> StageProgress:
        """A stage as it is now; one that nobody declared is called by its node id."""
        with self._lock:
            return self._now(nodeid)

    @property
    def stages(self) -> tuple[StageProgress, ...]:
        """All stages as they are now, in declared order."""
        with self._lock:
            return tuple(self._now(nodeid) for nodeid in self._stages)

    def start(self, nodeid: str, now: float) -> StageProgress | None:
        """Mark a stage as running; None for a stage that was not declared, as one that runs a pipeline."""
        with self._lock:
            if nodeid not in self._stages:
                return None
            self._stages[nodeid] = replace(self._stages[nodeid], state="running", since=now)
            return self._stages[nodeid]

    def place(self, nodeid: str, worker: str | None) -> None:
        """Say which worker runs a stage; None where that one runs it no more."""
        with self._lock:
            if nodeid in self._stages:
                self._stages[nodeid] = replace(self._stages[nodeid], worker=worker)

    def add_output(self, nodeid: str, text: str) -> None:
        """Keep the end of a stage's output; the cost does not grow with the output."""
        with self._lock:
            self._tails[nodeid] = (self._tails.get(nodeid, "") + text[-_TAIL_LENGTH:])[-_TAIL_LENGTH:]

    def end(self, nodeid: str, ended: StageEnd) -> StageProgress:
        """Mark a stage as ended; a later report replaces an earlier one."""
        with self._lock:
            stage = replace(self._now(nodeid), state=ended.state, ended=ended)
            self._stages[nodeid] = stage
            return stage

    def _now(self, nodeid: str) -> StageProgress:
        stage = self._stages.get(nodeid) or StageProgress(nodeid, nodeid, nodeid)
        return replace(stage, tail=self._tails.get(nodeid, ""))


@dataclass(frozen=True)
class VisibleStages:
    """The stages that fit on the screen.

    Attributes:
        shown: The stages that get a line each.
        folded: How many stages of each state do not, in the order in which they are shown.
    """

    shown: tuple[StageProgress, ...]
    folded: tuple[tuple[int, StageState], ...]


_ORDER: tuple[StageState, ...] = ("failed", "running", "waiting", "passed", "skipped")


def arrange(stages: Iterable[StageProgress], lines: int) -> VisibleStages:
    """Choose what to show in so many lines: failures first, then what runs; the rest where all fits.

    What is left out takes one of the lines. Where even what failed and what runs are too many, each
    gets at least half of the room, as far as it needs it.
    """
    by_state = {state: stages_of(stages, state) for state in _ORDER}
    everything = [stage for state in _ORDER for stage in by_state[state]]
    if len(everything) <= lines:
        return VisibleStages(tuple(everything), ())
    room = max(lines - 1, 0)
    failed, running = by_state["failed"], by_state["running"]
    for_running = min(len(running), max(room - len(failed), (room + 1) // 2))
    shown = (*failed[: room - for_running], *running[:for_running])
    folded = [
        (len(by_state[state]) - sum(stage.state == state for stage in shown), state) for state in _ORDER
    ]
    return VisibleStages(shown, tuple((count, state) for count, state in folded if count))


def stages_of(stages: Iterable[StageProgress], state: StageState) -> list[StageProgress]:
    """The stages in one state, in declared order."""
    return [stage for stage in stages if stage.state == state]


def root_failure(stages: Sequence[StageProgress]) -> StageProgress | None:
    """The first failure in declared order that is not the consequence of another one.

    A stage that something else ended counts where no other failed, one that waits for a decision not at all.
    """
    failed = [stage for stage in failures(stages) if stage.ended and not stage.ended.waits]
    return next((stage for stage in failed if stage.ended and not stage.ended.cancelled), None) or next(
        iter(failed), None
    )


def failures(stages: Sequence[StageProgress]) -> list[StageProgress]:
    """The stages that pytest counts as failed; those that wait for a decision are among them."""
    return [stage for stage in stages if stage.state == "failed"]


def consequences(root: StageProgress, stages: Sequence[StageProgress], *, stopped: bool) -> str | None:
    """``2 stages did not run because of it: d, e.``, or None where nothing followed.

    Args:
        root: The failure.
        stages: All stages.
        stopped: Whether the session ended because of failures; then nothing began any more.
    """
    if root.ended is None or root.ended.cancelled:
        return None
    blocking = {f"blocked: {nodeid} failed" for nodeid in _with_those_above(root.nodeid)}
    blocked = [
        stage
        for stage in stages
        if (stage.ended is not None and stage.ended.why in blocking) or (stopped and stage.state == "waiting")
    ]
    # Where the session was not ended by failures, it is a signal that has cancelled them.
    cancelled = [stage for stage in stages if stopped and stage.ended and stage.ended.cancelled]
    parts = []
    if cancelled:
        were = "stage was" if len(cancelled) == 1 else "stages were"
        parts.append(f"{len(cancelled)} {were} cancelled because of it: {names(cancelled)}.")
    if blocked:
        word = "stage" if len(blocked) == 1 else "stages"
        parts.append(f"{len(blocked)} {word} did not run because of it: {names(blocked)}.")
    return " ".join(parts) or None


def names(stages: Sequence[StageProgress]) -> str:
    """The names of the first ten stages, and how many more there are."""
    shown = ", ".join(printable(stage.name) for stage in stages[:_NAMED])
    return shown if len(stages) <= _NAMED else f"{shown} … and {len(stages) - _NAMED} more"


def _with_those_above(nodeid: str) -> list[str]:
    """The node id of a stage, and those of all stages whose sub-pipelines it is part of."""
    parts = nodeid.split("::")
    return ["::".join(parts[:count]) for count in range(2, len(parts) + 1)]
