"""What housekeeping did, for people and programs (docs/reference/command-line.md, "gc")."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from codex_orchestrator.clock import timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.evidence.sweep import SweepResult
from codex_orchestrator.rules.retention import KEEP_REASONS, KeepReason, RunFacts
from codex_orchestrator.text import printable

_DAY = 86_400
_AGES = ((_DAY, "d"), (3_600, "h"), (60, "m"))
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")
_WHY: dict[KeepReason, str] = {
    "alive": "alive",
    "waiting": "waiting for an approval",
    "unreadable": "unreadable",
    "family": "with a run of theirs that stays",
    "queued": "not recorded yet",
    "busy": "in use just now",
    "failed": "that could not be removed",
    "policy": "not asked for",
}


@dataclass(frozen=True)
class RemovedRun:
    """A run that was removed, or (in a dry run) would be, and the bytes of its files."""

    task_id: str
    run: RunFacts
    bytes: int


@dataclass
class Cleanup:
    """The totals of a housekeeping pass over some tasks.

    Attributes:
        swept: Temporary files and half-made runs of dead processes.
        remains: Where the remains of earlier removals were, relative to the root.
        notices: What was met and left alone, a message each.
        failures: What could not be done, a message each.
    """

    task_ids: tuple[str, ...]
    dry_run: bool
    removed: list[RemovedRun] = field(default_factory=list)
    kept: dict[KeepReason, int] = field(default_factory=lambda: dict.fromkeys(KEEP_REASONS, 0))
    merged_records: int = 0
    swept: SweepResult = field(default_factory=SweepResult)
    remains: list[str] = field(default_factory=list)
    freed_bytes: int = 0
    notices: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The JSON answer of ``gc``."""
        return {
            "task_ids": list(self.task_ids),
            "dry_run": self.dry_run,
            "removed": [
                {
                    "run_id": one.run.run_id,
                    "task_id": one.task_id,
                    "status": one.run.status,
                    "last_activity_at": _moment(one.run.last_activity),
                    "bytes": one.bytes,
                }
                for one in self.removed
            ],
            "kept": self.kept,
            "merged_records": self.merged_records,
            "swept": {
                "temporaries": len(self.swept.temporaries),
                "folders": len(self.swept.folders),
                "paths": [*self.swept.temporaries, *self.swept.folders],
            },
            "remains": len(self.remains),
            "remains_paths": self.remains,
            "freed_bytes": self.freed_bytes,
            "notices": self.notices,
            "failures": self.failures,
        }

    def lines(self, *, now: float, has_conditions: bool) -> list[str]:
        """The same for people.

        Args:
            now: Epoch seconds.
            has_conditions: Whether the policy removes any run at all.
        """
        verb = "Would remove" if self.dry_run else "Removed"
        lines = [
            f"{verb} {one.run.run_id} of {one.task_id}: {one.run.status}, {_age(one.run.last_activity, now)}"
            for one in self.removed
        ]
        lines += [f"{verb} half-made run {printable(path)}" for path in self.swept.folders]
        lines += [f"{verb} temporary file {printable(path)}" for path in self.swept.temporaries]
        lines += [f"{verb} what is left of a run: {printable(path)}" for path in self.remains]
        if not has_conditions:
            lines.append("No run is removed without --keep or --older-than.")
        done = [f"{verb} {_count(len(self.removed), 'run')}", self._kept_words()]
        done.append(f"{'would free' if self.dry_run else 'freed'} {_size(self.freed_bytes)}")
        done.extend(self._tidied())
        return [*lines, f"{'; '.join(done)}."]

    def _kept_words(self) -> str:
        reasons = ", ".join(f"{number} {_WHY[why]}" for why, number in self.kept.items() if number)
        return f"kept {sum(self.kept.values())}" + (f" ({reasons})" if reasons else "")

    def _tidied(self) -> list[str]:
        """What else there was to do."""
        would = "would have " if self.dry_run else ""
        counts = (
            (self.merged_records, "merged", "queued record"),
            (len(self.swept.temporaries), "swept", "temporary file"),
            (len(self.swept.folders), "swept", "half-made run"),
            (len(self.remains), "finished", "earlier removal"),
        )
        return [f"{would}{verb} {_count(number, noun)}" for number, verb, noun in counts if number]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _age(moment: float | None, now: float) -> str:
    """How long ago, in the largest unit that fits."""
    if moment is None:
        return "of unknown age"
    seconds = max(0.0, now - moment)
    number, unit = next(((seconds / size, name) for size, name in _AGES if seconds >= size), (seconds, "s"))
    return f"{int(number)}{unit} old"


def _size(number: int) -> str:
    value = float(number)
    for unit in _SIZES:
        if value < 1024 or unit == _SIZES[-1]:
            return f"{number} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("the last unit takes any size")


def _moment(value: float | None) -> str | None:
    return None if value is None else timestamp(value)
