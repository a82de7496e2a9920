"""Whether a run shows that a pipeline holds on a tree (docs/reference/command-line.md, "gate"). Pure."""

from __future__ import annotations

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.manifest import TERMINAL


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A run of the pipeline.

    Attributes:
        run_id: The run.
        status: As its seal or its manifest has it.
        partial: Whether a selection left stages out.
        pending: The ids of the stages that never ended.
        failed: The ids of those that failed.
        start_tree: The work tree before its first command, or None.
        end_tree: The same after its last.
        completed_at: When it ended, as epoch seconds; None where it has not.
        sealed: Whether it has a seal.
        waits: Whether it waits for a decision.
        approved: Whether its own review approves of it; None where that was not looked at.
        doubt: What its review says where it does not.
    """

    run_id: str
    status: str
    partial: bool = False
    pending: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    start_tree: str | None
    end_tree: str | None
    completed_at: float | None = None
    sealed: bool = True
    waits: bool = False
    approved: bool | None = None
    doubt: str | None = None


@dataclass(frozen=True)
class Reason:
    """Why a run is no evidence.

    Attributes:
        weight: The more, the further away it is.
        text: In words.
        trees: The two trees that are not the same, where that is why.
    """

    weight: int
    text: str
    trees: tuple[str, str] | None = None


def reasons_against(run: Candidate, tree: str, *, now: float, max_age_seconds: float | None) -> list[Reason]:
    """Why a run does not show that its pipeline holds on a tree; nothing where it does.

    Args:
        run: The run.
        tree: The tree that is asked about.
        now: The moment, as epoch seconds.
        max_age_seconds: How old it may be, by its end; None for any age.
    """
    found = [*_of_the_end(run), *_of_the_tree(run, tree)]
    if max_age_seconds is not None and run.completed_at is not None:
        age = now - run.completed_at
        if age > max_age_seconds:
            found.append(Reason(1, f"it is {in_words(age)} old, over {in_words(max_age_seconds)}"))
    return found


def _of_the_end(run: Candidate) -> list[Reason]:
    if run.waits:
        return [Reason(2, "it waits for an approval")]
    if run.status not in TERMINAL:
        return [Reason(3, "it has not ended")]
    found = []
    if run.status != "succeeded":
        which = f": {', '.join(run.failed)}" if run.failed else ""
        found.append(Reason(3, f"it has {'failed' if run.status == 'failed' else 'been cancelled'}{which}"))
    if run.partial:
        which = f": {', '.join(run.pending)}" if run.pending else ""
        found.append(Reason(2, f"stages were left out{which}"))
    if not run.sealed:
        found.append(Reason(2, "it is not sealed"))
    if run.approved is False and not found:
        found.append(Reason(2, f"its review does not approve: {run.doubt or 'no reason given'}"))
    return found


def _of_the_tree(run: Candidate, tree: str) -> list[Reason]:
    if run.start_tree is None or (run.end_tree is None and run.status in TERMINAL):
        return [Reason(4, "its source is not known")]
    end_tree = run.end_tree or run.start_tree
    if run.start_tree != end_tree:
        return [Reason(4, "the source changed while it ran", (run.start_tree, end_tree))]
    return [] if end_tree == tree else [Reason(4, "it is of another tree", (end_tree, tree))]


def in_words(seconds: float) -> str:
    """A length of time in its largest unit."""
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit:
            count = int(seconds // unit)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{int(seconds)} second{'' if int(seconds) == 1 else 's'}"
