"""Which runs may go: decided from facts alone (docs/reference/files.md, "Housekeeping")."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, get_args

from codex_orchestrator.dataclass import dataclass

Hold = Literal["alive", "waiting", "unreadable"]
Kept = Literal["alive", "waiting", "unreadable", "child", "queued", "busy", "failed", "policy"]
KEPT: tuple[Kept, ...] = get_args(Kept)
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"([0-9]{1,6})([mhdw])")


@dataclass(frozen=True)
class RunFacts:
    """What is known of one run.

    Attributes:
        run_id: Its id; ids sort by time.
        hold: Why it must not be touched, whatever is asked for, or None.
        status: As its manifest says it; None where there is none.
        last_activity: Its last sign of life, as epoch seconds; None where it gave none.
        parent_run_id: The run that started it, or None.
        queued: Whether a record of it is not merged yet, so that its folder is still needed.
    """

    run_id: str
    hold: Hold | None
    status: str | None = None
    last_activity: float | None = None
    parent_run_id: str | None = None
    queued: bool = False


@dataclass(frozen=True)
class Policy:
    """Which runs the user wants to be rid of; a run goes only if all that is asked for agrees.

    Attributes:
        keep: How many runs stay, the newest; None where the number does not matter.
        older_than_seconds: What age a run must exceed; None where the age does not matter.
    """

    keep: int | None = None
    older_than_seconds: float | None = None

    @property
    def asks(self) -> bool:
        """Whether any run is to go at all."""
        return self.keep is not None or self.older_than_seconds is not None


@dataclass(frozen=True)
class Decision:
    """A run, and why it stays; None where it goes."""

    run: RunFacts
    kept: Kept | None


def decide(
    runs: Iterable[RunFacts], policy: Policy, *, now: float, others: Iterable[RunFacts] = ()
) -> list[Decision]:
    """What becomes of each run, oldest first.

    Args:
        runs: All runs of a task: the newest are counted among them.
        policy: What the user asked for.
        now: Epoch seconds.
        others: Runs of other tasks that may be parents of these.
    """
    ordered = sorted(runs, key=lambda run: run.run_id)
    known = {run.run_id: run for run in (*others, *ordered)}
    readable = [run.run_id for run in ordered if run.hold != "unreadable"]
    newest = frozenset(readable[max(0, len(readable) - (policy.keep or 0)) :])
    decisions = []
    for run in ordered:
        kept = _kept_for_safety(run, known)
        if kept is None and not _unwanted(run, policy, newest, now=now):
            kept = "policy"
        decisions.append(Decision(run, kept))
    return decisions


def parse_age(text: str) -> float | None:
    """Seconds of an age such as ``45m``, ``12h``, ``30d`` or ``2w``; None where the text is none."""
    match = _AGE.fullmatch(text)
    return float(int(match[1]) * _UNITS[match[2]]) if match else None


def _kept_for_safety(run: RunFacts, known: Mapping[str, RunFacts]) -> Kept | None:
    if run.hold is not None:
        return run.hold
    if any(ancestor.hold is not None for ancestor in _ancestors(run, known)):
        return "child"
    return "queued" if run.queued else None


def _ancestors(run: RunFacts, known: Mapping[str, RunFacts]) -> Iterator[RunFacts]:
    seen = {run.run_id}
    parent = run.parent_run_id
    while parent is not None and parent in known and parent not in seen:
        seen.add(parent)
        yield known[parent]
        parent = known[parent].parent_run_id


def _unwanted(run: RunFacts, policy: Policy, newest: frozenset[str], *, now: float) -> bool:
    if not policy.asks or run.run_id in newest:
        return False
    if policy.older_than_seconds is None:
        return True
    return run.last_activity is not None and now - run.last_activity > policy.older_than_seconds
