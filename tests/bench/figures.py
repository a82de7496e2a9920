"""Pure statistics of the benchmarks: from samples of ours and of a peer to ratios and verdicts."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Measure(StrEnum):
    """What is measured of one process; the value is the measure's key in the JSON output."""

    WALL = "wall_seconds"
    MEMORY = "peak_memory_bytes"


class Limit(StrEnum):
    """What a target limits: ours divided by the peer's, ours less the peer's, or ours itself."""

    RATIO = "ratio"
    GROWTH = "growth"
    VALUE = "value"


@dataclass(frozen=True)
class Target:
    """The highest value that counts as met; other than that of a ratio, it has its measure's unit."""

    highest: float
    limit: Limit = Limit.RATIO


class Verdict(StrEnum):
    """How a comparison stands to its target."""

    MET = "met"
    MISSED = "missed"


@dataclass(frozen=True)
class Sample:
    """One finished process: wall-clock time in seconds and peak resident memory in bytes."""

    wall_seconds: float
    peak_memory_bytes: int

    def value(self, measure: Measure) -> float:
        """The sample's value of ``measure``, in that measure's unit."""
        match measure:
            case Measure.WALL:
                return self.wall_seconds
            case Measure.MEMORY:
                return float(self.peak_memory_bytes)


@dataclass(frozen=True)
class Spread:
    """The values of one measure in the order they were taken; never empty."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value; of an even count, the mean of the two in the middle."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Comparison:
    """One measure of one case; without a peer, all that needs one is None.

    ``ratio`` is ours divided by the peer's and ``growth`` ours less the peer's, of the medians; ``verdict``
    judges what ``target`` limits.
    """

    measure: Measure
    ours: Spread
    peer: Spread | None = None
    ratio: float | None = None
    pairwise_ratio: float | None = None
    growth: float | None = None
    target: Target | None = None
    verdict: Verdict | None = None


def ratio_of_medians(ours: Spread, peer: Spread) -> float:
    """Our median divided by the peer's; raises ValueError where the peer's is not positive."""
    if peer.median <= 0:
        raise ValueError("a ratio needs a positive median to divide by")
    return ours.median / peer.median


def median_of_pairwise_ratios(ours: Spread, peer: Spread) -> float:
    """The median of the ratios within each alternating pair, which a slow drift of the machine cannot shift.

    Raises ValueError where the two do not pair up or a value of the peer's is not positive.
    """
    if len(ours.values) != len(peer.values):
        raise ValueError(f"{len(ours.values)} runs of ours do not pair with {len(peer.values)} of the peer's")
    if min(peer.values) <= 0:
        raise ValueError("a ratio needs positive values to divide by")
    return statistics.median(mine / theirs for mine, theirs in zip(ours.values, peer.values, strict=True))


def judge(value: float, target: Target | None) -> Verdict | None:
    """``MET`` where the value is at most the target's, else ``MISSED``; None without a target.

    The unrounded value is judged, so one printed equal to its target may still have missed it.
    """
    if target is None:
        return None
    return Verdict.MET if value <= target.highest else Verdict.MISSED


def spread(samples: Sequence[Sample], measure: Measure) -> Spread:
    """The values of ``measure`` in ``samples``; raises ValueError where there are none."""
    if not samples:
        raise ValueError("no samples were taken")
    return Spread(tuple(sample.value(measure) for sample in samples))


def compare(
    ours: Sequence[Sample], peer: Sequence[Sample] | None, targets: Mapping[Measure, Target]
) -> tuple[Comparison, ...]:
    """One comparison per measure, in the order of ``Measure``; ``peer`` is None where only ours ran."""
    return tuple(_compare_measure(measure, ours, peer, targets.get(measure)) for measure in Measure)


def _compare_measure(
    measure: Measure, ours: Sequence[Sample], peer: Sequence[Sample] | None, target: Target | None
) -> Comparison:
    mine = spread(ours, measure)
    if peer is None:
        alone = target is not None and target.limit is Limit.VALUE
        verdict = judge(mine.median, target) if alone else None
        return Comparison(measure, mine, target=target, verdict=verdict)
    theirs = spread(peer, measure)
    ratio, growth = ratio_of_medians(mine, theirs), mine.median - theirs.median
    limit = Limit.RATIO if target is None else target.limit
    judged = {Limit.RATIO: ratio, Limit.GROWTH: growth, Limit.VALUE: mine.median}[limit]
    return Comparison(
        measure,
        mine,
        theirs,
        ratio,
        median_of_pairwise_ratios(mine, theirs),
        growth,
        target,
        judge(judged, target),
    )
