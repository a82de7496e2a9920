"""What is recorded of the guard (docs/reference/privacy.md, "What is recorded").

Annotations are real types here, as `codec` reads them.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import STRICT, Bounds

_Name = Annotated[str, Bounds(min_length=1)]
_Natural = Annotated[int, Bounds(ge=0)]


@dataclass(frozen=True)
class PrivacyDecision:
    """A secret that the guard found: in which part of whose output, by which rule; never what it is."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    handle_id: _Name
    sequence: _Natural
    action: Literal["allow", "redact", "block"]
    rule: str | None
    reason: str | None
    timestamp: _Name
    stage_id: str | None


@dataclass(frozen=True)
class PrivacyTotals:
    """The frames of all handles, by what became of them."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    total_frames: _Natural
    redacted_frames: _Natural
    blocked_frames: _Natural
    allowed_frames: _Natural


@dataclass(frozen=True)
class Privacy:
    """What the privacy guard did in a run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    mode: Literal["shadow", "enforce"]
    decisions: tuple[PrivacyDecision, ...]
    totals: PrivacyTotals
    log_path: str | None


def empty_record(mode: Literal["shadow", "enforce"]) -> Privacy:
    """The record of a run in which nothing was found yet."""
    return Privacy(mode, (), PrivacyTotals(0, 0, 0, 0), None)


def with_decision(
    privacy: Privacy, decision: PrivacyDecision, places: Mapping[str | None, int], *, log_path: str
) -> Privacy:
    """The record with one more decision; what it has already changes nothing.

    Args:
        privacy: The record.
        decision: The decision.
        places: By stage id, the stage's place: independent stages may say theirs in any order.
        log_path: The log that the decision is in, too.
    """

    def key(known: PrivacyDecision) -> tuple[int, str, str, int, str]:
        return (
            places.get(known.stage_id, 0),
            known.timestamp,
            known.handle_id,
            known.sequence,
            known.rule or "",
        )

    place = bisect_left(privacy.decisions, key(decision), key=key)
    if decision in privacy.decisions[place : place + 1]:
        return privacy
    decisions = (*privacy.decisions[:place], decision, *privacy.decisions[place:])
    return replace(privacy, decisions=decisions, log_path=log_path)


def with_totals(privacy: Privacy, frames: int, closed: Iterable[str]) -> Privacy:
    """The record with its totals.

    What is open is counted when it is closed, so that the totals are the same in whichever order stages end.

    Args:
        privacy: The record.
        frames: How many frames the handles have that are closed.
        closed: The ids of these.
    """
    actions: dict[tuple[str, int], str] = {}
    ids = set(closed) if privacy.decisions else ()
    for decision in privacy.decisions:
        frame = (decision.handle_id, decision.sequence)
        if decision.handle_id in ids and actions.get(frame) != "block":
            actions[frame] = decision.action
    redacted, blocked = (list(actions.values()).count(action) for action in ("redact", "block"))
    # A handle whose process died knows of fewer frames than the decisions do.
    total = max(frames, redacted + blocked)
    return replace(privacy, totals=PrivacyTotals(total, redacted, blocked, total - redacted - blocked))
