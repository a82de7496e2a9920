"""The two forms of the result: a table for people and a JSON document for later comparison."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .cases import Case
from .figures import Comparison, Limit, Measure, Spread, Target
from .tools import Tool

_HEADER = ("case", "", "measure", "ours", "beside", "", "ratio", "pairwise", "growth", "target", "")


@dataclass(frozen=True)
class CaseResult:
    """A case with one comparison per measure."""

    case: Case
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Machine:
    """What simple processes take here: peak memory of ``true`` in bytes, seconds of importing pytest."""

    memory_floor: int
    import_seconds: float


def table(results: Sequence[CaseResult]) -> str:
    """Medians, ratios, targets and verdicts, a line per case and measure, in aligned columns."""
    rows = [_HEADER, *(_row(result.case, item) for result in results for item in result.comparisons)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def document(
    results: Sequence[CaseResult],
    tools: Sequence[Tool],
    runs: int,
    machine: Machine,
    skipped: Mapping[str, str],
) -> dict[str, object]:
    """The JSON form: every sample, the medians and ratios, and the machine and versions they belong to.

    ``skipped`` says why a peer did not run, by its name.
    """
    return {
        "version": 3,
        "created_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "runs_per_tool": runs,
        "machine": {"platform": platform.platform(), "cpu_count": os.cpu_count()},
        "tools": {tool.name: tool.origin for tool in tools},
        "skipped": dict(skipped),
        "memory_floor_bytes": machine.memory_floor,
        "pytest_import_seconds": machine.import_seconds,
        "cases": [_case_document(result) for result in results],
    }


def _case_document(result: CaseResult) -> dict[str, object]:
    measures = {item.measure.value: _comparison_document(item) for item in result.comparisons}
    return {
        "key": result.case.key,
        "title": result.case.title,
        "peer": result.case.peer,
        "measures": measures,
    }


def _comparison_document(item: Comparison) -> Mapping[str, object]:
    target = item.target
    return {
        "ours": _spread_document(item.ours),
        "peer": _spread_document(item.peer) if item.peer else None,
        "ratio_of_medians": item.ratio,
        "median_of_pairwise_ratios": item.pairwise_ratio,
        "growth_of_medians": item.growth,
        "target": {"limit": target.limit.value, "highest": target.highest} if target else None,
        "verdict": item.verdict,
    }


def _spread_document(spread: Spread) -> Mapping[str, object]:
    return {"median": spread.median, "samples": list(spread.values)}


def _row(case: Case, item: Comparison) -> tuple[str, ...]:
    return (
        case.key,
        case.title,
        "wall" if item.measure is Measure.WALL else "peak memory",
        _quantity(item.measure, item.ours.median),
        case.peer,
        _quantity(item.measure, item.peer.median) if item.peer else "-",
        _ratio(item.ratio),
        _ratio(item.pairwise_ratio),
        _growth(item.measure, item.growth),
        _target(item.measure, item.target),
        item.verdict or "",
    )


def _quantity(measure: Measure, value: float) -> str:
    return f"{value * 1000:.0f} ms" if measure is Measure.WALL else f"{value / 2**20:.1f} MiB"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _growth(measure: Measure, value: float | None) -> str:
    return "-" if value is None else f"{'' if value < 0 else '+'}{_quantity(measure, value)}"


def _target(measure: Measure, target: Target | None) -> str:
    if target is None:
        return "-"
    highest = target.highest
    match target.limit:
        case Limit.RATIO:
            return f"<= {highest:.2f}"
        case Limit.GROWTH:
            return f"<= {_growth(measure, highest)}"
        case Limit.VALUE:
            return f"<= {_quantity(measure, highest)}"
