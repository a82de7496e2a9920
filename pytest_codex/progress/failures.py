"""The end of the output: the first failure, and the stages that did not run because of it."""

from __future__ import annotations

from collections.abc import Sequence

from codex_orchestrator.text import printable
from pytest_codex.progress.board import StageProgress

_NAMED = 10


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
