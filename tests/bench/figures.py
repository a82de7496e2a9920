"""Pure statistics of the benchmarks: from samples of two tools to ratios and verdicts."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Measure(StrEnum):
    """What is measured of one process; the value is the measure's key in the JSON output."""

    WALL = "wall_seconds"
    MEMORY = "peak_memory_bytes"


class Verdict(StrEnum):
    """How a ratio stands to its target."""

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
    """One measure of one case; ``node`` and the ratios (ours divided by Node's) are None if only ours ran.

    ``verdict`` judges ``ratio``; it is None without a ratio or without a ``target``.
    """

    measure: Measure
    ours: Spread
    node: Spread | None
    ratio: float | None
    pairwise_ratio: float | None
    target: float | None
    verdict: Verdict | None


def ratio_of_medians(ours: Spread, node: Spread) -> float:
    """Our median divided by Node's; raises ValueError where Node's is not positive."""
    if node.median <= 0:
        raise ValueError("a ratio needs a positive median to divide by")
    return ours.median / node.median


def median_of_pairwise_ratios(ours: Spread, node: Spread) -> float:
    """The median of the ratios within each alternating pair, which a slow drift of the machine cannot shift.

    Raises ValueError where the two do not pair up or a value of Node's is not positive.
    """
    if len(ours.values) != len(node.values):
        raise ValueError(f"{len(ours.values)} runs of ours do not pair with {len(node.values)} of Node's")
    if min(node.values) <= 0:
        raise ValueError("a ratio needs positive values to divide by")
    return statistics.median(mine / theirs for mine, theirs in zip(ours.values, node.values, strict=True))


def judge(ratio: float | None, target: float | None) -> Verdict | None:
    """``MET`` where the ratio is at most the target, else ``MISSED``; None where either is unknown.

    The unrounded ratio is judged, so a ratio printed equal to its target may still have missed it.
    """
    if ratio is None or target is None:
        return None
    return Verdict.MET if ratio <= target else Verdict.MISSED


def spread(samples: Sequence[Sample], measure: Measure) -> Spread:
    """The values of ``measure`` in ``samples``; raises ValueError where there are none."""
    if not samples:
        raise ValueError("no samples were taken")
    return Spread(tuple(sample.value(measure) for sample in samples))


def compare(
    ours: Sequence[Sample], node: Sequence[Sample] | None, targets: Mapping[Measure, float]
) -> tuple[Comparison, ...]:
    """One comparison per measure, in the order of ``Measure``; ``node`` is None where only ours ran."""
    return tuple(_compare_measure(measure, ours, node, targets.get(measure)) for measure in Measure)


def _compare_measure(
    measure: Measure, ours: Sequence[Sample], node: Sequence[Sample] | None, target: float | None
) -> Comparison:
    mine = spread(ours, measure)
    if node is None:
        return Comparison(measure, mine, None, None, None, target, None)
    theirs = spread(node, measure)
    ratio = ratio_of_medians(mine, theirs)
    return Comparison(
        measure, mine, theirs, ratio, median_of_pairwise_ratios(mine, theirs), target, judge(ratio, target)
    )
