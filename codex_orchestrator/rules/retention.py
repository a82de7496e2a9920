"""Which runs housekeeping removes, decided from facts alone (docs/reference/files.md, "Housekeeping").

A run and all runs that were started from within it are one family, which is kept or removed as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Literal, get_args

from codex_orchestrator.dataclass import dataclass

HoldReason = Literal["alive", "waiting", "unreadable"]
KeepReason = Literal["alive", "waiting", "unreadable", "family", "queued", "busy", "failed", "policy"]
KEEP_REASONS: tuple[KeepReason, ...] = get_args(KeepReason)
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
    hold: HoldReason | None
    status: str | None = None
    last_activity: float | None = None
    parent_run_id: str | None = None
    queued: bool = False


@dataclass(frozen=True)
class RetentionPolicy:
    """Which runs the user wants removed; a run goes only if it fits all conditions that are set.

    Attributes:
        keep: How many families stay, the newest; None where the number does not matter.
        older_than_seconds: What age every run of a family must exceed; None where the age does not matter.
    """

    keep: int | None = None
    older_than_seconds: float | None = None

    @property
    def has_conditions(self) -> bool:
        """Whether any condition is set; without one no run goes."""
        return self.keep is not None or self.older_than_seconds is not None


@dataclass(frozen=True)
class RetentionDecision:
    """A run, and why it is kept; None where it is removed."""

    run: RunFacts
    kept: KeepReason | None


def decide_retention(
    runs: Iterable[RunFacts], policy: RetentionPolicy, *, now: float, others: Iterable[RunFacts] = ()
) -> list[RetentionDecision]:
    """Decide for each run whether it is kept, oldest first.

    Args:
        runs: All runs of a task: the newest are counted among them.
        policy: What the user asked for.
        now: Epoch seconds.
        others: Runs of other tasks that may be parents of these; a family stays as long as one of them does.
    """
    ordered = sorted(runs, key=lambda run: run.run_id)
    known = {run.run_id: run for run in (*others, *ordered)}
    tops = {run_id: _top(run_id, known) for run_id in known}
    families: dict[str, list[RunFacts]] = {}
    for run_id, top in tops.items():
        families.setdefault(top, []).append(known[run_id])
    here = {run.run_id for run in ordered}
    newest = _newest([known[top] for top in families if top in here], policy.keep or 0)
    unwanted = {
        top
        for top, members in families.items()
        if policy.has_conditions and top not in newest and _is_old(members, policy, now=now)
    }
    held = {
        top
        for top, members in families.items()
        if top not in here or any(run.hold is not None or run.queued for run in members)
    }
    return [RetentionDecision(run, _kept(run, tops[run.run_id], held, unwanted)) for run in ordered]


def parse_age(text: str) -> float | None:
    """Seconds of an age such as ``45m``, ``12h``, ``30d`` or ``2w``; None where the text is none."""
    match = _AGE.fullmatch(text)
    return float(int(match[1]) * _UNITS[match[2]]) if match else None


def _kept(run: RunFacts, top: str, held: Container[str], unwanted: Container[str]) -> KeepReason | None:
    if run.hold is not None:
        return run.hold
    if run.queued:
        return "queued"
    if top in held:
        return "family"
    return None if top in unwanted else "policy"


def _top(run_id: str, known: Mapping[str, RunFacts]) -> str:
    """The run that a run's family is named after: the first of its parents that has none here itself."""
    trail = [run_id]
    while (parent := known[trail[-1]].parent_run_id) is not None and parent in known:
        if parent in trail:  # Nonsense, but it is on disk: those on the circle are one family.
            return min(trail[trail.index(parent) :])
        trail.append(parent)
    return trail[-1]


def _newest(tops: Iterable[RunFacts], number: int) -> frozenset[str]:
    """The newest of the runs without a parent, and as many of those whose parent is not here."""
    found = sorted((run for run in tops if run.hold != "unreadable"), key=lambda run: run.run_id)
    own = [run.run_id for run in found if run.parent_run_id is None]
    foreign = [run.run_id for run in found if run.parent_run_id is not None]
    return frozenset(own[max(0, len(own) - number) :] + foreign[max(0, len(foreign) - number) :])


def _is_old(members: Iterable[RunFacts], policy: RetentionPolicy, *, now: float) -> bool:
    limit = policy.older_than_seconds
    return limit is None or all(
        run.last_activity is not None and now - run.last_activity > limit for run in members
    )
